//! Certificates for loopback, and the TLS of callers.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::{Context, Result};
use helm_guard::webhook::{certificates, endpoint::Endpoint, tls::Pair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// A certificate for 127.0.0.1 with its key, also as files.
pub struct Identity {
    /// PEM.
    pub pair: Pair,
    /// The chain, in a file.
    pub certificate: PathBuf,
    /// The key, in a file.
    pub key: PathBuf,
}

impl Identity {
    /// Makes one (ECDSA P-256, as the guard's own) and writes it into a folder.
    pub fn issue(folder: &Path) -> Result<Self> {
        let endpoint = Endpoint::from_url("https://127.0.0.1")?;
        let pair = certificates::issue(&endpoint, None, SystemTime::now())?;
        let certificate = folder.join("tls.crt");
        let key = folder.join("tls.key");
        std::fs::write(&certificate, &pair.chain)?;
        std::fs::write(&key, &pair.key)?;
        Ok(Self {
            pair,
            certificate,
            key,
        })
    }

    /// PEM of the CA.
    pub fn ca(&self) -> &str {
        self.pair.ca_bundle.as_deref().unwrap_or_default()
    }

    /// TLS of a caller that trusts it alone and speaks HTTP/1.1, as API servers do.
    pub fn client(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(self.ca().as_bytes()) {
            let ca = ca.map_err(|error| anyhow::anyhow!("failed to read the CA: {error}"))?;
            roots.add(ca)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("failed to set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}
