//! The arguments as they are written: what `--help` shows. Nothing but [`super::config`] reads
//! them.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgGroup, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::{break_glass::BreakGlass, check::Check, explain::Explain, policy::PolicyCommand};
use crate::{helm::storage::Driver, policy::Mode};

/// Keeps a cluster as Helm says it is: a validating admission webhook that compares every change
/// of a Helm-managed object with the release's own manifest.
#[derive(Debug, Parser)]
#[command(
    name = "helm-guard",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the admission webhook
    Serve(Box<Serve>),
    /// Judge recorded admission reviews
    Check(Box<Check>),
    /// Break the glass: grants, tokens, and what was changed under them
    BreakGlass(Box<BreakGlass>),
    /// Explain which release declares an object or a field
    Explain(Box<Explain>),
    /// Check policies, import rules, list presets
    Policy(Box<PolicyCommand>),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// What release records are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StorageDriver {
    /// Secrets, as Helm does unless told otherwise
    Secrets,
    /// `ConfigMaps`: whoever may write one of the right name writes a record
    #[value(name = "configmaps")]
    ConfigMaps,
}

impl StorageDriver {
    /// As the index has them.
    pub fn drivers(given: &[Self]) -> Vec<Driver> {
        let mut drivers: Vec<Driver> = given
            .iter()
            .map(|driver| match driver {
                Self::Secrets => Driver::Secret,
                Self::ConfigMaps => Driver::ConfigMap,
            })
            .collect();
        drivers.sort_unstable();
        drivers.dedup();
        drivers
    }
}

/// `helm-guard serve`
#[derive(Debug, Parser)]
#[command(group = ArgGroup::new("endpoint").args(["register_url", "register_service"]))]
pub struct Serve {
    /// Address of the webhook (HTTPS)
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics (plain HTTP)
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,
    /// Policy in a file (YAML or JSON), read again when it changes; a policy in the cluster then counts
    /// for nothing
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["mode", "break_glass_users", "break_glass_groups", "runbook_url"]
    )]
    pub policy: Option<PathBuf>,
    /// Enforcement mode while no policy is in force: Deny, Warn or Audit
    #[arg(long, value_name = "MODE", default_value = "Deny")]
    pub mode: Mode,
    /// How long a policy object that was in force must have been absent before the flags count again: 5m, 90s
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        conflicts_with = "policy"
    )]
    pub policy_grace: String,
    /// Be ready only with a policy object, and keep the last good one for as long as it is absent
    #[arg(long, conflicts_with = "policy")]
    pub require_policy: bool,
    /// User whose violations pass and are recorded; NAMESPACE/NAME is a service account
    /// (repeatable, matched exactly)
    #[arg(long = "break-glass-user", value_name = "NAME")]
    pub break_glass_users: Vec<String>,
    /// Group whose violations pass and are recorded (repeatable, matched exactly)
    #[arg(long = "break-glass-group", value_name = "NAME")]
    pub break_glass_groups: Vec<String>,
    /// Page to name in denials: what to do in an emergency
    #[arg(long, value_name = "URL")]
    pub runbook_url: Option<String>,
    /// Register the webhook in the cluster, to be called at this https URL
    #[arg(long, value_name = "URL")]
    pub register_url: Option<String>,
    /// Register the webhook in the cluster, to be called through this Service
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub register_service: Option<String>,
    /// Remove the registration when the process ends
    #[arg(long, requires = "endpoint")]
    pub unregister_on_exit: bool,
    /// Label of namespaces where a write that no replica evaluates is refused instead of allowed:
    /// KEY=VALUE, KEY, or KEY in (A,B); never for cluster-scoped objects, kube-system or the guard's
    /// own namespace
    #[arg(long, value_name = "LABEL", requires = "endpoint")]
    pub fail_closed_namespaces: Option<String>,
    /// Certificate chain (PEM) to serve with, instead of one made at start; a ca.crt beside it
    /// goes into the registration
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// CAs (PEM) of the certificates that API servers present; without it, none are asked for
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,
    /// Common name of a client certificate to accept (repeatable, matched exactly); any unless given
    #[arg(
        long = "client-subject",
        value_name = "NAME",
        requires = "client_ca_file"
    )]
    pub client_subjects: Vec<String>,
    /// Kubeconfig of the cluster to guard; else $KUBECONFIG, ~/.kube/config, or the Pod's own
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace to read release records in (repeatable); all unless given
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    pub watch_namespaces: Vec<String>,
    /// What Helm stores its records in (`HELM_DRIVER`), separated by commas
    #[arg(
        long,
        value_name = "DRIVER",
        value_delimiter = ',',
        default_value = "secrets"
    )]
    pub storage_drivers: Vec<StorageDriver>,
    /// Memory, in MiB, that may be kept of what releases declare; releases beyond it are read anew for each
    /// request
    #[arg(long, value_name = "MIB", default_value_t = 160, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub index_memory: u32,
    /// Namespace of the guard itself: of the Lease by which one of several replicas is chosen to follow
    /// emergency changes, of the Secrets that alert sinks name, and of the ConfigMap with the forecast;
    /// that of --register-service unless given, else "default", and then there is a forecast only in a Pod
    #[arg(long, value_name = "NAMESPACE")]
    pub guard_namespace: Option<String>,
    /// Release that the guard is installed by: what it declares in its namespace is not judged, so that
    /// the guard never stands in the way of its own repair; without it, the release in the guard's
    /// namespace that declares the Service of --register-service or, with --register-url, has the
    /// chart helm-guard
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub own_release: Option<String>,
    /// File to write audit lines to, one JSON object each; - is standard output, and without it they are on
    /// standard error, beside the log
    #[arg(long, value_name = "FILE")]
    pub audit_log_path: Option<PathBuf>,
    /// Size, in MiB, at which that file is renamed and a new one begun
    #[arg(long, value_name = "MIB", default_value_t = 100, requires = "audit_log_path",
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub audit_log_maxsize: u64,
    /// Renamed files to keep; 0 keeps all
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        requires = "audit_log_path"
    )]
    pub audit_log_maxbackup: usize,
    /// Format of log lines; audit lines are always JSON
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Log lines of this level and above: error, warn, info, debug, trace, or a filter such as
    /// `warn,helm_guard=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// After a SIGTERM, go on accepting requests this long, until the API server has learnt that
    /// this replica goes: 5s, 500ms
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub drain_delay: String,
    /// Threads that answer requests; as many as there are CPUs unless given
    #[arg(long, value_name = "N")]
    pub worker_threads: Option<usize>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}
