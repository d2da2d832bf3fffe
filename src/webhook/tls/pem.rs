//! Certificates as PEM.

use pem::{EncodeConfig, LineEnding, Pem};
use rustls_pki_types::CertificateDer;

/// RFC 7468, with the line ends that a shell and kubectl expect.
pub(crate) fn to_pem(der: &CertificateDer<'_>) -> String {
    let block = Pem::new("CERTIFICATE", der.as_ref());
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&block, config)
}
