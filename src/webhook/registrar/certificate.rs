//! The serving certificate: read or issued, and replaced before it expires.

use std::time::{Duration, SystemTime};

use backon::{ExponentialBuilder, Retryable};
use kube::Client;
use thiserror::Error;
use tokio::time::{sleep, timeout};

use super::{
    API_TIMEOUT, Registrar,
    register::{Announced, ReconcileOutcome, register},
};
use crate::{
    cluster::failure::ApiFailure,
    webhook::{
        certificates::{self, IssueError, secret, secret::SecretError},
        endpoint::Endpoint,
        paths::PathKey,
        tls::{
            self, Pair, TlsError,
            files::{self, FileError, Files},
        },
    },
};

/// The longest backoff between attempts to get the first certificate.
const MAX_DELAY: Duration = Duration::from_secs(15);

/// Where the serving certificate comes from.
#[derive(Clone)]
pub enum CertificateSource {
    /// Files that are renewed by other means (`--tls-cert`, `--tls-key`).
    Files(Files),
    /// Issued here, only for this process (`--register-url`).
    Memory,
    /// Issued here, shared with the other replicas in a Secret (`--register-service`).
    Secret {
        /// Client that may read and write the Secret.
        client: Client,
        /// The namespace that the guard runs in.
        namespace: String,
    },
}

impl CertificateSource {
    /// For log lines and errors.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Files(Files { certificate, .. }) => certificate.display().to_string(),
            Self::Memory => "memory".to_owned(),
            Self::Secret { namespace, .. } => format!("Secret {namespace}/{}", secret::SECRET_NAME),
        }
    }
}

/// There is no certificate to serve.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// `--tls-cert` and its key cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The Secret of the replicas cannot be read or written.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Issued here.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The certificate cannot be served.
    #[error("failed to serve the certificate from {from}: {source}")]
    Tls {
        /// Its source.
        from: String,
        /// Why.
        source: TlsError,
    },
    /// A certificate must be issued, but no flag says for which name.
    #[error(
        "failed to issue a serving certificate: neither --register-url nor --register-service is set"
    )]
    NoEndpoint,
}

impl CertificateError {
    /// Whether a retry may succeed: the API server did not answer, or had an internal error.
    fn is_temporary(&self) -> bool {
        match self {
            Self::Secret(SecretError::Unanswered { .. } | SecretError::Contended { .. }) => true,
            Self::Secret(SecretError::Api { source, .. }) => {
                !ApiFailure::from(source.as_ref()).is_final()
            }
            _ => false,
        }
    }
}

/// The first pair. Temporary errors are retried forever, so that the guard is not in crash loop backoff when
/// the control plane comes back. A denial by the API server is final.
pub(super) async fn first(registrar: &Registrar) -> Result<Pair, CertificateError> {
    let backoff = ExponentialBuilder::new()
        .with_min_delay(registrar.intervals.after_a_change)
        .with_max_delay(MAX_DELAY)
        .without_max_times();
    let mut last_logged = None;
    (async || current(registrar, None, SystemTime::now()).await)
        .retry(backoff)
        .sleep(sleep)
        .when(CertificateError::is_temporary)
        .notify(|error, _| {
            let error = error.to_string();
            if last_logged.as_ref() != Some(&error) {
                tracing::warn!(error, "waiting for the API server");
                last_logged = Some(error);
            }
        })
        .await
}

/// Serves a pair from now on.
pub(super) fn install(
    registrar: &Registrar,
    pair: &Pair,
    now: SystemTime,
) -> Result<(), CertificateError> {
    let names = registrar.endpoint.as_ref().map(Endpoint::names);
    let installed = registrar
        .serving
        .install(pair, &names.unwrap_or_default(), now);
    installed.map_err(|source| CertificateError::Tls {
        from: registrar.source.describe(),
        source,
    })
}

/// The served pair.
pub(super) struct CertificateInUse {
    pair: Pair,
    /// The last error of the source. A lasting error is logged and counted once.
    last_error: Option<String>,
}

impl CertificateInUse {
    pub(super) fn new(pair: Pair) -> Self {
        Self {
            pair,
            last_error: None,
        }
    }

    pub(super) fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Serves the pair of the source, if it is new. Returns whether it was.
    pub(super) async fn renew(&mut self, registrar: &Registrar) -> bool {
        let now = SystemTime::now();
        let next = current(registrar, Some(&self.pair), now).await;
        // A pair that cannot be served must not change the CAs that the API server trusts.
        let checked = next.map_err(|error| error.to_string()).and_then(|next| {
            if next != self.pair {
                tls::check(&next, now).map_err(|error| error.to_string())?;
            }
            Ok(next)
        });
        match checked {
            Ok(next) if next == self.pair => {
                self.last_error = None;
                false
            }
            Ok(next) => self.replace(registrar, next, now).await,
            Err(error) => {
                self.report_failure(registrar, error);
                false
            }
        }
    }

    async fn replace(&mut self, registrar: &Registrar, next: Pair, now: SystemTime) -> bool {
        let (old_paths, new_paths) = (PathKey::of(&self.pair), PathKey::of(&next));
        // Another replica may register the new paths before this one serves the new certificate.
        registrar
            .paths
            .accept([old_paths.clone(), new_paths.clone()]);
        if registrar.client.is_some() && next.ca_bundle != self.pair.ca_bundle {
            let announced = Announced {
                ca_bundle: next.ca_bundle.clone(),
                paths: old_paths,
            };
            let outcome = register(registrar, announced, &registrar.conversions.needed()).await;
            if outcome != ReconcileOutcome::Failed {
                sleep(registrar.intervals.ca_propagation).await;
            } else if registrar.serving.serves_ok(now) {
                return false;
            }
        }
        if let Err(error) = install(registrar, &next, now) {
            tracing::error!(%error, "keeping the previous certificate");
            return false;
        }
        let not_after = registrar.serving.leaf_not_after();
        let from = registrar.source.describe();
        tracing::info!(from, not_after, "serving a new certificate");
        // The old paths stay accepted while they are in the registration.
        registrar.paths.accept([new_paths]);
        *self = Self::new(next);
        true
    }

    fn report_failure(&mut self, registrar: &Registrar, error: String) {
        if self.last_error.as_ref() == Some(&error) {
            return;
        }
        registrar.serving.count_failure();
        let from = registrar.source.describe();
        tracing::error!(error, from, "keeping the previous certificate");
        self.last_error = Some(error);
    }
}

/// The current pair of the source. Without storage, it is the served pair until that is due for renewal.
pub(super) async fn current(
    registrar: &Registrar,
    served: Option<&Pair>,
    now: SystemTime,
) -> Result<Pair, CertificateError> {
    let endpoint = || {
        let endpoint = registrar.endpoint.as_ref();
        endpoint.ok_or(CertificateError::NoEndpoint)
    };
    let bundle = || served.and_then(|pair| pair.ca_bundle.as_deref());
    match (&registrar.source, served) {
        (CertificateSource::Files(files), _) => Ok(files::read(files).await?),
        (CertificateSource::Secret { client, namespace }, _) => {
            let shared = secret::ensure(client, namespace, (endpoint()?, bundle()), now);
            let unanswered = || SecretError::Unanswered {
                namespace: namespace.clone(),
            };
            Ok(timeout(API_TIMEOUT, shared)
                .await
                .unwrap_or_else(|_| Err(unanswered()))?)
        }
        (CertificateSource::Memory, Some(pair))
            if certificates::will_do(pair, endpoint()?, now) =>
        {
            Ok(pair.clone())
        }
        (CertificateSource::Memory, _) => Ok(certificates::issue(endpoint()?, bundle(), now)?),
    }
}
