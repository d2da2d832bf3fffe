//! Flags whose value cannot be used.

use helm_guard_core::policy::PolicyError;

use crate::webhook::{
    endpoint::EndpointError,
    registration::{closed::FailClosedError, foreign::ToleratedLabelError},
};

/// The most worker threads: more than any machine has CPUs.
pub(super) const MAX_WORKER_THREADS: usize = 1024;

/// A flag with a value that can not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--break-glass-user`, `--break-glass-group` or `--runbook-url`
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// `--register-url` or `--register-service`
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// `--drain-delay`
    #[error("--drain-delay {0:?} is no duration of at most 10 minutes, such as 5s or 500ms")]
    DrainDelay(String),
    /// `--policy-grace`
    #[error("--policy-grace {0:?} is no duration of at most a day, such as 5m or 90s")]
    PolicyGrace(String),
    /// `--worker-threads`
    #[error("--worker-threads {0} is not between 1 and {MAX_WORKER_THREADS}")]
    WorkerThreads(usize),
    /// `--log-level`
    #[error("--log-level {0:?} is neither a level (error, warn, info, debug, trace) nor a filter")]
    LogLevel(String),
    /// `--watch-namespace`
    #[error("--watch-namespace {0:?} is no name of a namespace")]
    Namespace(String),
    /// `--owner-cluster-role`
    #[error("--owner-cluster-role {0:?} is not a valid name of a ClusterRole")]
    OwnerClusterRole(String),
    /// `--tolerate-namespace-requirements`
    #[error("--tolerate-namespace-requirements: {0}")]
    ToleratedLabel(#[source] ToleratedLabelError),
    /// `--guard-namespace`
    #[error("--guard-namespace {0:?} is no name of a namespace")]
    GuardNamespace(String),
    /// `--own-release`
    #[error("--own-release {0:?} is not NAMESPACE/NAME")]
    OwnRelease(String),
    /// `--fail-closed-namespaces`
    #[error("--fail-closed-namespaces {0:?}: {1}")]
    FailClosed(String, #[source] FailClosedError),
    /// Nothing says where the certificate comes from.
    #[error(
        "no certificate to serve with: give --register-url, --register-service, or --tls-cert and --tls-key"
    )]
    NoCertificate,
}
