//! The validated configuration of `helm-guard serve`, from [`super::args`].

mod error;
mod values;

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use helm_guard_core::{
    guard::{KnownBy, Own},
    helm::storage::Driver,
    names,
    policy::Policy,
};

pub(crate) use self::error::ConfigError;
pub(in crate::cli) use self::values::own_namespace;
use self::values::{
    MAX_DRAIN_DELAY, MAX_POLICY_GRACE, MAX_SCAN_INTERVAL, MIN_SCAN_INTERVAL, duration, filter,
    own_release, policy, worker_threads,
};
use super::args::{ForeignHandling, LogFormat, Serve};
use crate::{
    cli::target::StorageDriver,
    cluster::client::KubeconfigSelection,
    record::audit::file::Retention,
    webhook::{
        endpoint::Endpoint,
        registration::{
            closed::FailClosed,
            foreign::{ForeignRequirements, Handling, ToleratedLabels},
            installation::Takeover,
        },
        tls::{client_auth::ClientCertificates, files::Files},
    },
};

/// The configuration of `helm-guard serve`.
#[derive(Debug)]
pub(crate) struct Config {
    /// Address of the webhook.
    pub(crate) listen: SocketAddr,
    /// Address of the probes and metrics.
    pub(crate) admin_listen: SocketAddr,
    /// The policy from the flags.
    pub(crate) policy: Policy,
    /// The policy file, which overrides it.
    pub(crate) policy_file: Option<PathBuf>,
    /// How long a policy object must have been absent before the flags apply again.
    pub(crate) policy_grace: Duration,
    /// Whether a policy object is required.
    pub(crate) policy_need: PolicyNeed,
    /// The registration that the guard writes; `None` if it is applied by other means.
    pub(crate) registration: Option<RegistrationConfig>,
    /// The namespaces that fail closed.
    pub(crate) fail_closed: Option<FailClosed>,
    /// The certificate files; without them, a certificate is generated.
    pub(crate) tls_files: Option<Files>,
    /// The accepted client certificates.
    pub(crate) clients: Option<ClientCertificates>,
    /// The cluster.
    pub(crate) target: KubeconfigSelection,
    /// The namespaces with release records; empty for all.
    pub(crate) namespaces: Vec<String>,
    /// The storage drivers of release records.
    pub(crate) drivers: Vec<Driver>,
    /// The time between two full scans for drift; `None` if there are none.
    pub(crate) scan_interval: Option<Duration>,
    /// Memory for declared objects, in bytes.
    pub(crate) index_bytes: usize,
    /// The guard's own namespace, with the leader's Lease and the Secrets of alert sinks.
    pub(crate) guard_namespace: String,
    /// The guard's own namespace, if the flags set it.
    pub(crate) own_namespace: Option<String>,
    /// The release that installs the guard, if the flags set it.
    pub(crate) own_release: Option<Own>,
    /// The target of audit lines.
    pub(crate) audit: AuditTarget,
    pub(crate) logging: Logging,
    /// How long a process that is shutting down keeps accepting requests.
    pub(crate) drain_delay: Duration,
    /// Threads of the runtime.
    pub(crate) worker_threads: NonZeroUsize,
}

/// Whether a policy object is required.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PolicyNeed {
    /// Without one, the flags apply.
    #[default]
    Optional,
    /// The guard is not ready without one, and keeps the last valid one when the object is gone.
    Required,
}

/// The registration that this process writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistrationConfig {
    /// The address that the API server calls.
    pub(crate) endpoint: Endpoint,
    /// What happens to it at exit.
    pub(crate) at_exit: AtExit,
    /// Whether it replaces the registration of another installation.
    pub(crate) takeover: Takeover,
    /// The ClusterRole that owns it.
    pub(crate) owner: Option<String>,
    /// The foreign requirements that stay in it.
    pub(crate) foreign: ForeignRequirements,
}

/// What happens to the registration when the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtExit {
    /// Keep it, for the other replicas and the next start.
    Keep,
    /// Remove it, because no other process serves it.
    Remove,
}

impl AtExit {
    fn of(args: &Serve) -> Self {
        if args.unregister_on_exit {
            Self::Remove
        } else {
            Self::Keep
        }
    }
}

fn owner(given: Option<String>) -> Result<Option<String>, ConfigError> {
    match given {
        Some(name) if !names::is_path_segment(&name) => Err(ConfigError::OwnerClusterRole(name)),
        given => Ok(given),
    }
}

fn foreign(args: &Serve) -> Result<ForeignRequirements, ConfigError> {
    let labels = args.tolerate_namespace_requirements.iter();
    let tolerated = match &*args.tolerate_namespace_requirements {
        [nothing] if nothing.is_empty() => ToleratedLabels::parse([]),
        _ => ToleratedLabels::parse(labels.map(String::as_str)),
    };
    Ok(ForeignRequirements {
        tolerated: tolerated.map_err(ConfigError::ToleratedLabel)?,
        handling: match args.foreign_requirements {
            ForeignHandling::Correct => Handling::Correct,
            ForeignHandling::Report => Handling::Report,
        },
    })
}

fn scan_interval(given: String) -> Result<Duration, ConfigError> {
    duration(&given, MAX_SCAN_INTERVAL)
        .filter(|interval| *interval >= MIN_SCAN_INTERVAL)
        .ok_or(ConfigError::ScanInterval(given))
}

fn takeover(args: &Serve) -> Takeover {
    if args.take_over {
        Takeover::Forced
    } else {
        Takeover::Never
    }
}

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuditTarget {
    /// Standard error, with the log.
    StandardError,
    /// Standard output, so that the lines can be collected apart from the log.
    StandardOutput,
    /// A file, which is rotated.
    File(PathBuf, Retention),
}

/// Log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logging {
    pub(crate) format: LogFormat,
    /// The directives of a valid `EnvFilter`.
    pub(crate) filter: String,
}

impl Config {
    /// Validates the arguments. Files are read later, when the server starts.
    pub(crate) fn resolve(args: Serve) -> Result<Self, ConfigError> {
        let policy = policy(&args)?;
        let at_exit = AtExit::of(&args);
        let takeover = takeover(&args);
        let foreign = foreign(&args)?;
        let owner = owner(args.owner_cluster_role)?;
        let endpoint = match (args.register_url, args.register_service) {
            (Some(url), _) => Some(Endpoint::from_url(&url)?),
            (None, Some(service)) => Some(Endpoint::from_service(&service)?),
            (None, None) => None,
        };
        let tls_files = args
            .tls_cert
            .zip(args.tls_key)
            .map(|(certificate, key)| Files { certificate, key });
        if endpoint.is_none() && tls_files.is_none() {
            return Err(ConfigError::NoCertificate);
        }
        if let Some(namespace) = args
            .watch_namespaces
            .iter()
            .find(|namespace| !names::is_label(namespace))
        {
            return Err(ConfigError::Namespace(namespace.clone()));
        }
        let own_namespace = own_namespace(args.guard_namespace.as_deref(), endpoint.as_ref())?;
        let own_release = match &args.own_release {
            Some(given) => Some(own_release(given)?),
            None => own_namespace.clone().map(|namespace| Own {
                namespace,
                known_by: match &endpoint {
                    Some(Endpoint::Service { name, .. }) => KnownBy::Service(name.clone()),
                    _ => KnownBy::Chart,
                },
            }),
        };
        let fail_closed = match args.fail_closed_namespaces {
            Some(label) => Some(
                FailClosed::new(&label, own_namespace.as_deref(), &foreign.tolerated)
                    .map_err(|error| ConfigError::FailClosed(label, error))?,
            ),
            None => None,
        };
        let retention = Retention {
            max_bytes: args.audit_log_maxsize * 1024 * 1024,
            max_backups: args.audit_log_maxbackup,
        };
        Ok(Self {
            guard_namespace: own_namespace
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
            own_namespace,
            own_release,
            audit: match args.audit_log_path {
                None => AuditTarget::StandardError,
                Some(path) if path == Path::new("-") => AuditTarget::StandardOutput,
                Some(path) => AuditTarget::File(path, retention),
            },
            listen: args.listen,
            admin_listen: args.admin_listen,
            policy,
            policy_file: args.policy,
            policy_grace: duration(&args.policy_grace, MAX_POLICY_GRACE)
                .ok_or(ConfigError::PolicyGrace(args.policy_grace))?,
            policy_need: if args.require_policy {
                PolicyNeed::Required
            } else {
                PolicyNeed::Optional
            },
            fail_closed,
            registration: endpoint.map(|endpoint| RegistrationConfig {
                endpoint,
                at_exit,
                takeover,
                owner,
                foreign,
            }),
            tls_files,
            clients: args.client_ca_file.map(|ca_file| ClientCertificates {
                ca_file,
                subjects: args.client_subjects,
            }),
            target: KubeconfigSelection::from(&args.target),
            namespaces: args.watch_namespaces,
            drivers: StorageDriver::drivers(&args.storage.storage_drivers),
            scan_interval: args.scan_interval.map(scan_interval).transpose()?,
            index_bytes: usize::try_from(args.index_memory)
                .unwrap_or(usize::MAX)
                .saturating_mul(1 << 20),
            logging: Logging {
                format: args.log_format,
                filter: filter(&args.log_level)?,
            },
            drain_delay: duration(&args.drain_delay, MAX_DRAIN_DELAY)
                .ok_or(ConfigError::DrainDelay(args.drain_delay))?,
            worker_threads: worker_threads(args.worker_threads)?,
        })
    }
}

#[cfg(test)]
mod tests;
