//! The served certificate, and its replacement while connections stay open.
//!
//! Start at [`ServingCertificate`]: one for the process, read by every handshake, written by
//! [`super::registrar`] alone. A [`Pair`] is checked before it is installed: it must parse, its key
//! must belong to its certificate, and it must be valid now; otherwise the previous one stays.
//!
//! ```text
//! let serving = ServingCertificate::new();
//! let protocol = accept::Protocol::Tls(tls::server_config(&serving, options)?);
//! serving.install(&pair, &endpoint.names(), SystemTime::now())?;
//! ```

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwapOption;
use rustls::{
    RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use self::client_auth::ClientAuth;
use super::endpoint::Endpoint;

pub(crate) mod client_auth;
pub mod files;
pub mod pem;
#[cfg(test)]
mod tests;

/// A certificate with its key, as files and Secrets hold them.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// PEM, the leaf first.
    pub chain: String,
    /// PEM of the leaf's private key.
    pub key: String,
    /// PEM of the CAs that clients must trust, the leaf's own first; `None` if the API server's own
    /// trust store applies.
    pub ca_bundle: Option<String>,
}

/// Without the key.
impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("chain", &self.chain)
            .field("ca_bundle", &self.ca_bundle)
            .finish_non_exhaustive()
    }
}

/// Why a certificate cannot be served. No variant contains any text of a file or Secret.
#[derive(Debug, Error)]
pub enum TlsError {
    /// No certificate in the PEM text, or one that does not parse.
    #[error("failed to read the serving certificate: {0}")]
    Certificate(&'static str),
    /// No private key in the PEM text.
    #[error("failed to read the serving certificate's private key: no usable PEM key")]
    Key,
    /// The key is of an unknown kind, or does not belong to the certificate.
    #[error("failed to use the private key with the serving certificate: {0}")]
    Mismatch(#[source] rustls::Error),
    /// It has expired.
    #[error("failed to accept the serving certificate: it expired at {not_after} (Unix time)")]
    Expired {
        /// Unix time in seconds.
        not_after: i64,
    },
    /// Its `notBefore` is in the future.
    #[error("failed to accept the serving certificate: it is valid from {not_before} (Unix time)")]
    NotYetValid {
        /// Unix time in seconds.
        not_before: i64,
    },
    /// Clients that only trust the bundle would reject it.
    #[error("failed to verify the serving certificate for {name} with its CA: {source}")]
    Untrusted {
        /// The name that was checked.
        name: String,
        /// The error of a client.
        source: rustls::Error,
    },
    /// TLS 1.2 and 1.3 are not both available.
    #[error("failed to set up TLS: {0}")]
    Protocol(#[source] rustls::Error),
}

/// The validity of a certificate, in seconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub(crate) not_before: i64,
    /// Last second.
    pub not_after: i64,
}

impl Validity {
    /// Whether the last third of its lifetime has started: the time to renew it.
    pub(crate) fn is_ending(self, now: SystemTime) -> bool {
        let life = self.not_after.saturating_sub(self.not_before);
        self.not_after.saturating_sub(unix_seconds(now)) < life / 3
    }

    fn check(self, now: SystemTime) -> Result<(), TlsError> {
        let now = unix_seconds(now);
        if now > self.not_after {
            return Err(TlsError::Expired {
                not_after: self.not_after,
            });
        }
        if now < self.not_before {
            return Err(TlsError::NotYetValid {
                not_before: self.not_before,
            });
        }
        Ok(())
    }
}

fn unix_seconds(time: SystemTime) -> i64 {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// A checked pair.
#[derive(Debug)]
pub struct Checked {
    key: Arc<CertifiedKey>,
    /// The leaf's lifetime.
    pub leaf: Validity,
    /// The lifetime of the CA that issued the leaf, if it is in the bundle.
    pub ca: Option<Validity>,
    cas: Vec<CertificateDer<'static>>,
}

/// Parses a pair and checks everything that does not depend on the client.
pub fn check(pair: &Pair, now: SystemTime) -> Result<Checked, TlsError> {
    let chain = certificates(&pair.chain)?;
    let cas = pair
        .ca_bundle
        .as_deref()
        .map(certificates)
        .transpose()?
        .unwrap_or_default();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|_| TlsError::Key)?;
    let first = chain
        .first()
        .ok_or(TlsError::Certificate("no certificate in the PEM text"))?;
    let (leaf, issuer) = {
        let leaf = parse(first)?;
        (validity(&leaf), leaf.issuer().as_raw().to_vec())
    };
    leaf.check(now)?;
    let mut ca = None;
    for der in &cas {
        let parsed = parse(der)?;
        if parsed.subject().as_raw() == issuer {
            ca = Some(validity(&parsed));
            break;
        }
    }
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Mismatch)?;
    Ok(Checked {
        key: Arc::new(key),
        leaf,
        ca,
        cas,
    })
}

impl Checked {
    /// Checks it as the API server does: chain, names and time, trusting only its bundle. Without a
    /// bundle it cannot be checked here.
    pub fn verify(&self, names: &[String], now: SystemTime) -> Result<(), TlsError> {
        if self.cas.is_empty() {
            return Ok(());
        }
        let untrusted = |name: &str, source| TlsError::Untrusted {
            name: name.to_owned(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for ca in &self.cas {
            roots
                .add(ca.clone())
                .map_err(|source| untrusted("the CA", source))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| untrusted("the CA", rustls::Error::General(error.to_string())))?;
        let (leaf, intermediates) = self
            .key
            .cert
            .split_first()
            .ok_or(TlsError::Certificate("no certificate in the PEM text"))?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        for name in names {
            let server = ServerName::try_from(name.as_str())
                .map_err(|error| untrusted(name, rustls::Error::General(error.to_string())))?;
            let time = UnixTime::since_unix_epoch(now);
            verifier
                .verify_server_cert(leaf, intermediates, &server, &[], time)
                .map_err(|source| untrusted(name, source))?;
        }
        Ok(())
    }
}

/// The certificates of a PEM text, as DER.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Certificate("the PEM text is damaged"))?;
    if certificates.is_empty() {
        return Err(TlsError::Certificate("no certificate in the PEM text"));
    }
    Ok(certificates)
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TlsError> {
    let (_, parsed) = X509Certificate::from_der(der)
        .map_err(|_| TlsError::Certificate("it is not an X.509 certificate"))?;
    Ok(parsed)
}

fn validity(certificate: &X509Certificate<'_>) -> Validity {
    let validity = certificate.validity();
    Validity {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    }
}

/// Whether a CA of a PEM bundle, in DER, is still valid; one that does not parse is not.
fn is_valid(der: &CertificateDer<'_>, now: SystemTime) -> bool {
    parse(der).is_ok_and(|ca| validity(&ca).check(now).is_ok())
}

/// The currently valid part of a PEM bundle, at most `limit` certificates.
pub(crate) fn still_valid(
    bundle: &str,
    limit: usize,
    now: SystemTime,
) -> Vec<CertificateDer<'static>> {
    let mut valid = certificates(bundle).unwrap_or_default();
    valid.retain(|der| is_valid(der, now));
    valid.truncate(limit);
    valid
}

/// The crypto provider, explicit so that no handshake depends on an installed default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The HTTP versions offered to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersions {
    /// Only HTTP/1.1.
    Http1,
    /// HTTP/2 as well.
    Http1And2,
}

impl From<HttpVersions> for TlsOptions {
    /// Without client certificates.
    fn from(versions: HttpVersions) -> Self {
        Self {
            versions,
            clients: None,
        }
    }
}

impl HttpVersions {
    /// The protocol of API servers for this endpoint: HTTP/2 with a URL on its own host, HTTP/1.1
    /// with all others (`k8s.io/apiserver/pkg/util/webhook/client.go`, kubernetes#82090). Other
    /// clients are not offered HTTP/2, because of the cost of 250 requests on one connection.
    pub fn of(endpoint: Option<&Endpoint>) -> Self {
        match endpoint {
            Some(endpoint) if endpoint.is_loopback() => Self::Http1And2,
            _ => Self::Http1,
        }
    }
}

/// The TLS options for clients.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// The versions of HTTP that ALPN offers.
    pub versions: HttpVersions,
    /// The required client certificates, if any.
    pub clients: Option<Arc<ClientAuth>>,
}

/// TLS 1.2 and 1.3.
pub fn server_config(
    serving: &Arc<ServingCertificate>,
    options: TlsOptions,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Protocol)?;
    let resumes = options.clients.is_none();
    let builder = match options.clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::clone(serving) as Arc<dyn ResolvesServerCert>);
    if !resumes {
        // A resumed session would not request the certificate again, even after a change of the CAs.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = match options.versions {
        HttpVersions::Http1 => vec![b"http/1.1".to_vec()],
        HttpVersions::Http1And2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Served {
    key: Arc<CertifiedKey>,
    leaf: Validity,
    ca: Option<Validity>,
    ca_bundle: Option<String>,
    distrust: Option<String>,
}

/// The certificate for handshakes. Until the first [`install`](Self::install) they fail.
#[derive(Debug, Default)]
pub struct ServingCertificate {
    served: ArcSwapOption<Served>,
    reloads: AtomicU64,
    failures: AtomicU64,
}

impl ServingCertificate {
    /// No certificate yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Serves `pair` from the next handshake on; existing connections keep theirs. On an error, the
    /// previous pair is still served. A pair that the API server would not trust under `names` is
    /// served for lack of a better one, and [`state`](Self::state) reports it.
    pub fn install(&self, pair: &Pair, names: &[String], now: SystemTime) -> Result<(), TlsError> {
        let checked = check(pair, now).inspect_err(|_| self.count_failure())?;
        let distrust = checked
            .verify(names, now)
            .err()
            .map(|error| error.to_string());
        let Checked { key, leaf, ca, .. } = checked;
        self.served.store(Some(Arc::new(Served {
            key,
            leaf,
            ca,
            ca_bundle: pair.ca_bundle.clone(),
            distrust,
        })));
        self.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a pair that could not be read.
    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the served certificate is usable at `now`.
    pub fn state(&self, now: SystemTime) -> CertificateState {
        let Some(served) = self.served.load_full() else {
            return CertificateState::Missing;
        };
        if let Err(error) = served.leaf.check(now) {
            return CertificateState::Unusable(error.to_string());
        }
        if let Some(Err(_)) = served.ca.map(|ca| ca.check(now)) {
            return CertificateState::Unusable(
                "the CA of the serving certificate expired".to_owned(),
            );
        }
        served
            .distrust
            .clone()
            .map_or(CertificateState::Serving, CertificateState::Unusable)
    }

    /// Whether clients accept the served certificate at `now`.
    pub(crate) fn serves_ok(&self, now: SystemTime) -> bool {
        self.state(now) == CertificateState::Serving
    }

    /// Last second of the leaf's life, in Unix time.
    pub(crate) fn leaf_not_after(&self) -> Option<i64> {
        self.served
            .load()
            .as_ref()
            .map(|served| served.leaf.not_after)
    }

    /// Last second of the lifetime of the leaf's CA, in Unix time, if known.
    pub(crate) fn ca_not_after(&self) -> Option<i64> {
        self.served.load().as_ref()?.ca.map(|ca| ca.not_after)
    }

    /// PEM of the CAs that clients must trust, as installed with the leaf.
    pub fn ca_bundle(&self) -> Option<String> {
        self.served.load().as_ref()?.ca_bundle.clone()
    }

    /// The number of installed certificates, including the first.
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// The number of certificates that could not be used.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// Whether there is a certificate to serve, for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateState {
    /// None has been installed.
    Missing,
    /// Clients refuse it, and why.
    Unusable(String),
    /// Clients accept it.
    Serving,
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.served
            .load()
            .as_ref()
            .map(|served| Arc::clone(&served.key))
    }
}
