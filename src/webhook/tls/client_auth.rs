//! Which clients may complete a TLS handshake, if client certificates are required.
//!
//! An API server presents a certificate to webhooks if its `--admission-control-config-file` names one
//! for the webhook's host (Kubernetes documentation, "Authenticate API servers"). Managed clusters
//! have no such file, so this is optional; every installation has the secret paths of the
//! registration.
//!
//! Invariants
//! - A CA file that cannot be read or used is an error at startup. Later, the last good one is used.
//! - A subject is matched completely, never by prefix.
//!
//! Start at [`ClientAuth::read`].

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::provider;

/// How often the CA file is read again. A mounted Secret takes about a minute to arrive anyway.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// Which client certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM of the CAs that sign them.
    pub ca_file: PathBuf,
    /// The accepted common names; any if empty.
    pub subjects: Vec<String>,
}

/// The CA file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to use the CAs of clients in {}: {why}", path.display())]
pub struct ClientAuthError {
    path: PathBuf,
    why: String,
}

/// Verifies client certificates by a CA file that may change.
#[derive(Debug)]
pub struct ClientAuth {
    accepted: ClientCertificates,
    verifier: ArcSwap<Arc<dyn ClientCertVerifier>>,
    /// The input of the verifier.
    pem: Mutex<Vec<u8>>,
}

impl ClientAuth {
    /// Reads the CA file.
    ///
    /// # Errors
    /// When it cannot be read, or has no usable certificate.
    pub fn read(accepted: ClientCertificates) -> Result<Arc<Self>, ClientAuthError> {
        let pem = read(&accepted.ca_file)?;
        let verifier = verifier(&accepted.ca_file, &pem)?;
        Ok(Arc::new(Self {
            accepted,
            verifier: ArcSwap::from_pointee(verifier),
            pem: Mutex::new(pem),
        }))
    }

    /// Reads the CA file periodically. Compared by content: a kubelet replaces a mounted Secret by
    /// swapping a symlink.
    pub async fn follow(&self) {
        let mut is_failing = false;
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            match self.reload() {
                Ok(false) => is_failing = false,
                Ok(true) => {
                    is_failing = false;
                    tracing::info!("reloaded the client CAs");
                }
                Err(error) if is_failing => {
                    tracing::debug!(%error, "failed to reload the client CAs, using the previous ones");
                }
                Err(error) => {
                    is_failing = true;
                    tracing::warn!(%error, "failed to reload the client CAs, using the previous ones");
                }
            }
        }
    }

    /// Applies the current CA file; returns whether it changed.
    fn reload(&self) -> Result<bool, ClientAuthError> {
        let path = &self.accepted.ca_file;
        let pem = read(path)?;
        let mut known = self.pem.lock();
        if *known == pem {
            return Ok(false);
        }
        self.verifier.store(Arc::new(verifier(path, &pem)?));
        *known = pem;
        Ok(true)
    }

    fn accepts(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let subjects = &self.accepted.subjects;
        if subjects.is_empty() {
            return Ok(());
        }
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let mut names = parsed.subject().iter_common_name();
        if names.any(|name| {
            name.as_str()
                .is_ok_and(|name| subjects.iter().any(|accepted| accepted == name))
        }) {
            return Ok(());
        }
        let error = CertificateError::ApplicationVerificationFailure;
        Err(Error::InvalidCertificate(error))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ClientAuthError> {
    std::fs::read(path).map_err(|error| ClientAuthError {
        path: path.to_owned(),
        why: error.to_string(),
    })
}

fn verifier(path: &Path, pem: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, ClientAuthError> {
    let failed = |why: String| ClientAuthError {
        path: path.to_owned(),
        why,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| failed(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| match error {
            VerifierBuilderError::NoRootAnchors => failed("it has no certificate".to_owned()),
            other => failed(other.to_string()),
        })
}

impl ClientCertVerifier for ClientAuth {
    /// Hints are for users who choose among certificates.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let by_ca = self.verifier.load();
        let verified = by_ca.verify_client_cert(end_entity, intermediates, now)?;
        self.accepts(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = self.verifier.load();
        verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = self.verifier.load();
        verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.load().supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    use rstest::rstest;

    use super::*;

    struct Ca {
        issuer: Issuer<'static, KeyPair>,
        pem: String,
    }

    fn ca() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Ca {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn client(ca: &Ca, name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &ca.issuer).unwrap().der().clone()
    }

    fn auth(
        folder: &Path,
        pem: &str,
        subjects: &[&str],
    ) -> Result<Arc<ClientAuth>, ClientAuthError> {
        let ca_file = folder.join("clients.crt");
        std::fs::write(&ca_file, pem).unwrap();
        ClientAuth::read(ClientCertificates {
            ca_file,
            subjects: subjects.iter().map(|&name| name.to_owned()).collect(),
        })
    }

    fn is_accepted(auth: &ClientAuth, certificate: &CertificateDer<'_>) -> bool {
        let verified = auth.verify_client_cert(certificate, &[], UnixTime::now());
        verified.is_ok()
    }

    #[rstest]
    #[case::any_subject(&[], "anyone", true)]
    #[case::the_subject(&["kube-apiserver"], "kube-apiserver", true)]
    #[case::one_of_two(&["a", "kube-apiserver"], "kube-apiserver", true)]
    #[case::another(&["kube-apiserver"], "system:node:a", false)]
    #[case::a_longer_one(&["kube-apiserver"], "kube-apiserver-2", false)]
    #[case::a_shorter_one(&["kube-apiserver"], "kube", false)]
    fn a_client_certificate_is_accepted_by_its_ca_and_subject(
        #[case] subjects: &[&str],
        #[case] name: &str,
        #[case] expected: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (ca(), ca());
        let auth = auth(folder.path(), &ours.pem, subjects).unwrap();
        assert_eq!(is_accepted(&auth, &client(&ours, name)), expected);
        assert!(!is_accepted(&auth, &client(&theirs, name)));
    }

    #[test]
    fn a_new_ca_is_accepted_once_in_the_file_and_a_broken_file_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (ca(), ca());
        let auth = auth(folder.path(), &old.pem, &[]).unwrap();
        assert!(!auth.reload().unwrap());
        let file = folder.path().join("clients.crt");
        std::fs::write(&file, "nothing").unwrap();
        auth.reload().unwrap_err();
        assert!(is_accepted(&auth, &client(&old, "a")));
        std::fs::write(&file, &new.pem).unwrap();
        assert!(auth.reload().unwrap());
        assert!(is_accepted(&auth, &client(&new, "a")));
        assert!(!is_accepted(&auth, &client(&old, "a")));
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_pem("hello")]
    #[case::no_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    fn a_file_without_a_usable_certificate_is_an_error(#[case] pem: &str) {
        let folder = tempfile::tempdir().unwrap();
        let error = auth(folder.path(), pem, &[]).unwrap_err().to_string();
        assert!(error.contains("clients.crt"), "{error}");
    }
}
