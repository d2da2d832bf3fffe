//! Flags whose value cannot be used.

use helm_guard_core::policy::PolicyError;

use crate::webhook::{
    endpoint::EndpointError,
    registration::{closed::FailClosedError, foreign::ToleratedLabelError},
};

/// The most worker threads: more than any machine has CPUs.
pub(super) const MAX_WORKER_THREADS: usize = 1024;

/// A flag with an invalid value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// `--break-glass-user`, `--break-glass-group` or `--runbook-url`
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// `--register-url` or `--register-service`
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// `--drain-delay`
    #[error("invalid --drain-delay {0:?}: expected a duration of at most 10m, e.g. 5s or 500ms")]
    DrainDelay(String),
    /// `--policy-grace`
    #[error("invalid --policy-grace {0:?}: expected a duration of at most 24h, e.g. 5m or 90s")]
    PolicyGrace(String),
    /// `--scan-interval`
    #[error("invalid --scan-interval {0:?}: expected a duration from 1m to 168h, e.g. 1h or 15m")]
    ScanInterval(String),
    /// `--worker-threads`
    #[error("invalid --worker-threads {0}: must be from 1 to {MAX_WORKER_THREADS}")]
    WorkerThreads(usize),
    /// `--log-level`
    #[error("invalid --log-level {0:?}: expected error, warn, info, debug, trace, or a filter")]
    LogLevel(String),
    /// `--watch-namespace`
    #[error("invalid --watch-namespace {0:?}: not a valid namespace name")]
    Namespace(String),
    /// `--owner-cluster-role`
    #[error("invalid --owner-cluster-role {0:?}: not a valid name of a ClusterRole")]
    OwnerClusterRole(String),
    /// `--tolerate-namespace-requirements`
    #[error("--tolerate-namespace-requirements: {0}")]
    ToleratedLabel(#[source] ToleratedLabelError),
    /// `--guard-namespace`
    #[error("invalid --guard-namespace {0:?}: not a valid namespace name")]
    GuardNamespace(String),
    /// `--own-release`
    #[error("invalid --own-release {0:?}: expected NAMESPACE/NAME")]
    OwnRelease(String),
    /// `--fail-closed-namespaces`
    #[error("--fail-closed-namespaces {0:?}: {1}")]
    FailClosed(String, #[source] FailClosedError),
    /// No flag says where the certificate comes from.
    #[error(
        "no certificate to serve with: use --register-url, --register-service, or --tls-cert and --tls-key"
    )]
    NoCertificate,
}
