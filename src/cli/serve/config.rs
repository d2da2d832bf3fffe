//! The configuration of `helm-guard serve`, checked: what [`super::args`] mean.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use helm_guard_core::{
    api::{
        GuardPolicySpec, Scope, Subjects,
        policy::breakglass::{BreakGlass, EmergencyIdentity},
    },
    guard::{KnownBy, Own},
    helm::storage::Driver,
    names,
    policy::{Policy, PolicyError},
};
use jiff::SignedDuration;
use tracing_subscriber::EnvFilter;

use super::args::{LogFormat, Serve};
use crate::{
    cli::target::StorageDriver,
    cluster::client::Target,
    record::audit::file::Retention,
    webhook::{
        endpoint::{Endpoint, EndpointError},
        registration::{
            closed::{FailClosed, FailClosedError},
            installation::Takeover,
        },
        tls::{client_auth::ClientCertificates, files::Files},
    },
};

/// The longest drain delay: beyond it every orchestrator has long killed the process.
const MAX_DRAIN_DELAY: Duration = Duration::from_secs(600);

/// The longest that a vanished policy is kept without `--require-policy`.
const MAX_POLICY_GRACE: Duration = Duration::from_secs(24 * 3600);

/// The most worker threads: more than any machine has CPUs.
const MAX_WORKER_THREADS: usize = 1024;

/// A container without a CPU limit sees all cores of its node, and each worker takes memory.
const MOST_WORKERS_BY_DEFAULT: usize = 8;

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

/// `helm-guard serve`, ready to run.
#[derive(Debug)]
pub struct Config {
    /// Address of the webhook.
    pub listen: SocketAddr,
    /// Address of the probes and metrics.
    pub admin_listen: SocketAddr,
    /// The policy that the flags amount to.
    pub policy: Policy,
    /// The file that has the policy instead.
    pub policy_file: Option<PathBuf>,
    /// How long a policy object must have been absent before the flags count again.
    pub policy_grace: Duration,
    /// Whether the guard works without a policy object.
    pub policy_need: PolicyNeed,
    /// How the API server is told of the webhook; `None` where somebody else does it.
    pub registration: Option<Registration>,
    /// The namespaces where a write that nobody evaluates is refused.
    pub fail_closed: Option<FailClosed>,
    /// The certificate in files; made at start unless given.
    pub tls_files: Option<Files>,
    /// The client certificates that are asked for.
    pub clients: Option<ClientCertificates>,
    /// The cluster.
    pub target: Target,
    /// The namespaces with release records; empty for all.
    pub namespaces: Vec<String>,
    /// What they are stored in.
    pub drivers: Vec<Driver>,
    /// Bytes that may be kept of what releases declare.
    pub index_bytes: usize,
    /// The guard's own namespace: of the lease of the one who follows emergency changes, and of the
    /// Secrets of alert sinks.
    pub guard_namespace: String,
    /// The guard's own namespace, as far as the flags say.
    pub own_namespace: Option<String>,
    /// The release that the guard is installed by, as far as the flags say.
    pub own_release: Option<Own>,
    /// Where audit lines go.
    pub audit: AuditTarget,
    /// Log lines.
    pub logging: Logging,
    /// How long a process that is to end goes on accepting.
    pub drain_delay: Duration,
    /// Threads that answer.
    pub worker_threads: NonZeroUsize,
}

/// Whether the guard works without a policy object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PolicyNeed {
    /// The flags count where there is none.
    #[default]
    Optional,
    /// It is not ready without one, and a good one is kept when it vanishes.
    Required,
}

/// The registration that this process writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Where the API server calls.
    pub endpoint: Endpoint,
    /// What happens to it in the end.
    pub at_exit: AtExit,
    /// Whether it replaces that of another installation.
    pub takeover: Takeover,
}

/// What happens to the registration when the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtExit {
    /// It stays, for the other replicas and for the next start.
    Keep,
    /// It is removed.
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

fn takeover(args: &Serve) -> Takeover {
    if args.take_over {
        Takeover::Forced
    } else {
        Takeover::Never
    }
}

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// Beside the log.
    StandardError,
    /// Apart from the log.
    StandardOutput,
    /// Into a file, which is rotated.
    File(PathBuf, Retention),
}

/// Log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Their look.
    pub format: LogFormat,
    /// Which of them: the directives of a valid `EnvFilter`.
    pub filter: String,
}

impl Config {
    /// Checks the arguments. Files are only read when the server starts.
    pub fn resolve(args: Serve) -> Result<Self, ConfigError> {
        let policy = policy(&args)?;
        let at_exit = AtExit::of(&args);
        let takeover = takeover(&args);
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
        let own_namespace = own_namespace(args.guard_namespace, endpoint.as_ref())?;
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
                FailClosed::new(&label, own_namespace.as_deref())
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
            registration: endpoint.map(|endpoint| Registration {
                endpoint,
                at_exit,
                takeover,
            }),
            tls_files,
            clients: args.client_ca_file.map(|ca_file| ClientCertificates {
                ca_file,
                subjects: args.client_subjects,
            }),
            target: Target::from(&args.target),
            namespaces: args.watch_namespaces,
            drivers: StorageDriver::drivers(&args.storage_drivers),
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

fn own_namespace(
    given: Option<String>,
    endpoint: Option<&Endpoint>,
) -> Result<Option<String>, ConfigError> {
    match (given, endpoint) {
        (Some(namespace), _) if !names::is_label(&namespace) => {
            Err(ConfigError::GuardNamespace(namespace))
        }
        (Some(namespace), _) => Ok(Some(namespace)),
        (None, Some(Endpoint::Service { namespace, .. })) => Ok(Some(namespace.clone())),
        (None, _) => Ok(None),
    }
}

/// From `NAMESPACE/NAME`.
fn own_release(given: &str) -> Result<Own, ConfigError> {
    match given.split_once('/') {
        Some((namespace, name)) if names::is_label(namespace) && !name.is_empty() => Ok(Own {
            namespace: namespace.to_owned(),
            known_by: KnownBy::Name(name.to_owned()),
        }),
        _ => Err(ConfigError::OwnRelease(given.to_owned())),
    }
}

/// The policy that the flags amount to.
fn policy(args: &Serve) -> Result<Policy, PolicyError> {
    let subjects = Subjects {
        users: args.break_glass_users.clone(),
        groups: args.break_glass_groups.clone(),
        service_accounts: Vec::new(),
    };
    let identity = EmergencyIdentity {
        subjects,
        scope: Scope::default(),
    };
    Policy::compile(&GuardPolicySpec {
        mode: args.mode,
        break_glass: BreakGlass {
            // Nobody named is nobody, and no identity that another policy lacks.
            identities: (identity.subjects != Subjects::default())
                .then_some(identity)
                .into_iter()
                .collect(),
            ..BreakGlass::default()
        },
        runbook_url: args.runbook_url.clone(),
        ..GuardPolicySpec::default()
    })
}

/// A bare level is about this program; its libraries only speak up from `warn`, since at `debug`
/// they would print requests.
fn filter(level: &str) -> Result<String, ConfigError> {
    let directives = match level.to_ascii_lowercase().as_str() {
        word @ ("error" | "warn" | "info" | "debug" | "trace") => {
            let others = if word == "error" { "error" } else { "warn" };
            format!("{others},helm_guard={word}")
        }
        _ if level.contains('=') => level.to_owned(),
        _ => return Err(ConfigError::LogLevel(level.to_owned())),
    };
    match EnvFilter::try_new(&directives) {
        Ok(_) => Ok(directives),
        Err(_) => Err(ConfigError::LogLevel(level.to_owned())),
    }
}

fn duration(text: &str, longest: Duration) -> Option<Duration> {
    let duration = text.parse::<SignedDuration>().ok()?;
    let duration = Duration::try_from(duration).ok()?;
    (duration <= longest).then_some(duration)
}

/// The default follows the CPU quota of a container (`std::thread::available_parallelism`). It is
/// never one, since a single thread would let one large object delay every other request, and never
/// more than [`MOST_WORKERS_BY_DEFAULT`].
fn worker_threads(asked: Option<usize>) -> Result<NonZeroUsize, ConfigError> {
    let threads = asked.unwrap_or_else(|| {
        std::thread::available_parallelism()
            .map_or(2, |cpus| cpus.get().clamp(2, MOST_WORKERS_BY_DEFAULT))
    });
    NonZeroUsize::new(threads)
        .filter(|threads| threads.get() <= MAX_WORKER_THREADS)
        .ok_or(ConfigError::WorkerThreads(threads))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use helm_guard_core::{api::Mode, policy::EmergencyHint};
    use rstest::rstest;

    use super::*;
    use crate::cli::args::{Args, Command};

    fn resolve(flags: &[&str]) -> Result<Config, String> {
        let words = ["helm-guard", "serve"].iter().chain(flags);
        let args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Serve(serve) = args.command else {
            panic!("serve was asked for");
        };
        Config::resolve(*serve).map_err(|error| error.to_string())
    }

    const URL: [&str; 2] = ["--register-url", "https://127.0.0.1:8443"];

    #[test]
    fn a_url_is_enough_to_begin_with() {
        let config = resolve(&URL).unwrap();
        assert_eq!(config.policy.default_mode(), Mode::Deny);
        assert_eq!(config.policy.emergency_hint(), EmergencyHint::None);
        assert_eq!(config.drain_delay, Duration::from_secs(5));
        assert_eq!(config.tls_files, None);
        assert!((2..=8).contains(&config.worker_threads.get()));
        assert_eq!(
            config.registration.map(|registration| registration.at_exit),
            Some(AtExit::Keep)
        );
    }

    #[rstest]
    #[case::unless_told_otherwise(&[], &[Driver::Secret])]
    #[case::config_maps(&["--storage-drivers", "configmaps"], &[Driver::ConfigMap])]
    #[case::both(&["--storage-drivers=configmaps,secrets"], &[Driver::Secret, Driver::ConfigMap])]
    fn records_are_read_from_what_the_flag_names(
        #[case] flags: &[&str],
        #[case] expected: &[Driver],
    ) {
        assert_eq!(
            resolve(&[&URL[..], flags].concat()).unwrap().drivers,
            expected
        );
    }

    #[test]
    fn files_are_enough_where_somebody_else_registers() {
        let config = resolve(&["--tls-cert", "tls.crt", "--tls-key", "tls.key"]).unwrap();
        assert_eq!(config.registration, None);
        assert!(config.tls_files.is_some());
    }

    #[test]
    fn a_denial_names_the_runbook_rather_than_the_identity() {
        let user = ["--break-glass-user", "ops/emergency"];
        let identity = resolve(&[&URL[..], &user].concat()).unwrap();
        assert_eq!(identity.policy.emergency_hint(), EmergencyHint::BreakGlass);
        let page = ["--runbook-url", "https://runbooks.example/helm"];
        let runbook = resolve(&[&URL[..], &user, &page].concat()).unwrap();
        assert_eq!(
            runbook.policy.emergency_hint(),
            EmergencyHint::Runbook("https://runbooks.example/helm")
        );
    }

    #[rstest]
    #[case::mode(&["--mode", "Denny"], "one of Deny, Warn, Audit")]
    #[case::no_number(&["--worker-threads", "many"], "invalid")]
    #[case::no_threads(&["--worker-threads", "0"], "--worker-threads 0")]
    #[case::drain_delay(&["--drain-delay", "soon"], "--drain-delay")]
    #[case::drain_delay_without_unit(&["--drain-delay", "5"], "--drain-delay")]
    #[case::endless_drain_delay(&["--drain-delay", "11m"], "--drain-delay")]
    #[case::negative_drain_delay(&["--drain-delay=-5s"], "--drain-delay")]
    #[case::policy_grace(&["--policy-grace", "soon"], "--policy-grace")]
    #[case::endless_policy_grace(&["--policy-grace", "25h"], "--policy-grace")]
    #[case::a_file_is_always_there(&["--policy", "x", "--require-policy"], "cannot be used with")]
    #[case::log_level(&["--log-level", "loud"], "--log-level")]
    #[case::log_filter(&["--log-level", "helm_guard=loud"], "--log-level")]
    #[case::log_format(&["--log-format", "xml"], "json, text")]
    #[case::namespace(&["--watch-namespace", "Shop"], "--watch-namespace")]
    #[case::own_release(&["--own-release", "guard"], "--own-release")]
    #[case::namespaces_without_a_label(&["--fail-closed-namespaces", "!a"], "one label")]
    #[case::labels(&["--fail-closed-namespaces", "a=b,c=d"], "one label")]
    #[case::storage_driver(&["--storage-drivers", "secrets,sql"], "secrets, configmaps")]
    #[case::runbook(&["--runbook-url", "see the wiki"], "runbookURL")]
    #[case::everyone(&["--break-glass-group", "system:authenticated"], "everyone")]
    #[case::key_without_certificate(&["--tls-key", "tls.key"], "--tls-cert")]
    #[case::both_ways_to_register(&["--register-service", "a/b"], "cannot be used with")]
    #[case::unknown_flag(&["--polizei", "x"], "--polizei")]
    #[case::no_audit_size(&["--audit-log-path", "a", "--audit-log-maxsize", "0"], "--audit-log-maxsize")]
    #[case::nothing_to_rotate(&["--audit-log-maxbackup", "2"], "--audit-log-path")]
    #[case::two_policies(&["--policy", "x", "--mode", "Warn"], "cannot be used with")]
    #[case::two_identities(&["--policy", "x", "--break-glass-user", "ada"], "cannot be used with")]
    fn a_wrong_flag_is_refused_by_name(#[case] flags: &[&str], #[case] says: &str) {
        let error = resolve(&[&URL[..], flags].concat()).unwrap_err();
        assert!(error.contains(says), "{error}");
    }

    #[rstest]
    #[case::nothing_to_serve_with(&[], "no certificate")]
    #[case::plain_http(&["--register-url", "http://127.0.0.1"], "https")]
    #[case::service_without_namespace(&["--register-service", "guard"], "NAMESPACE/NAME")]
    #[case::nothing_to_unregister(
        &["--tls-cert", "a", "--tls-key", "b", "--unregister-on-exit"],
        "--register-url"
    )]
    fn an_incomplete_command_line_is_refused(#[case] flags: &[&str], #[case] says: &str) {
        let error = resolve(flags).unwrap_err();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn audit_lines_go_where_the_flag_says() {
        let audit = |flags: &[&str]| resolve(&[&URL[..], flags].concat()).unwrap().audit;
        assert_eq!(audit(&[]), AuditTarget::StandardError);
        assert_eq!(
            audit(&["--audit-log-path", "-"]),
            AuditTarget::StandardOutput
        );
        let kept = Retention {
            max_bytes: 100 << 20,
            max_backups: 3,
        };
        assert_eq!(
            audit(&["--audit-log-path", "a.log", "--audit-log-maxbackup", "3"]),
            AuditTarget::File("a.log".into(), kept)
        );
    }

    #[test]
    fn the_guards_own_namespace_is_what_the_flags_say() {
        let own = |flags: &[&str]| {
            let config = resolve(flags).unwrap();
            (config.own_namespace, config.guard_namespace)
        };
        assert_eq!(own(&URL), (None, "default".to_owned()));
        let named = ["--guard-namespace", "ops"];
        let ops = (Some("ops".to_owned()), "ops".to_owned());
        assert_eq!(own(&[&URL[..], &named].concat()), ops);
        assert_eq!(own(&["--register-service", "ops/guard"]), ops);
    }

    #[test]
    fn the_own_release_is_named_or_known_by_the_service_or_by_its_chart() {
        let own = |flags: &[&str]| resolve(flags).unwrap().own_release;
        let in_ops = |known_by| {
            Some(Own {
                namespace: "ops".to_owned(),
                known_by,
            })
        };
        assert_eq!(own(&URL), None);
        let service = ["--register-service", "ops/guard"];
        let by_service = KnownBy::Service("guard".to_owned());
        assert_eq!(own(&service), in_ops(by_service));
        let url = [&URL[..], &["--guard-namespace", "ops"]].concat();
        assert_eq!(own(&url), in_ops(KnownBy::Chart));
        let named = ["--own-release", "ops/web"];
        let by_name = in_ops(KnownBy::Name("web".to_owned()));
        assert_eq!(own(&[&service[..], &named].concat()), by_name);
    }

    #[test]
    fn a_bare_level_keeps_the_libraries_quiet() {
        assert_eq!(filter("debug").unwrap(), "warn,helm_guard=debug");
        assert_eq!(filter("error").unwrap(), "error,helm_guard=error");
        assert!(filter("helm_guard=trace,kube=debug").is_ok());
    }
}
