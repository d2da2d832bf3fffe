//! The arguments of `helm-guard serve`. Only [`super::config`] reads them.

use std::{net::SocketAddr, path::PathBuf};

use clap::{ArgGroup, Parser, ValueEnum};
use helm_guard_core::api::Mode;

use crate::{
    cli::target::{StorageArgs, TargetArgs, kubeconfig_help},
    webhook::registration::foreign::AKS_LABELS,
};

/// `helm-guard serve`
#[derive(Debug, Parser)]
#[command(group = ArgGroup::new("endpoint").args(["register_url", "register_service"]))]
#[command(mut_args(kubeconfig_help(
    "Kubeconfig of the cluster to guard; default: $KUBECONFIG, ~/.kube/config, or the Pod's own"
)))]
pub(crate) struct Serve {
    /// Address of the webhook (HTTPS)
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    pub(crate) listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics (plain HTTP)
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8080")]
    pub(crate) admin_listen: SocketAddr,
    /// Policy file (YAML or JSON), reloaded when it changes; overrides the policy in the cluster
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["mode", "break_glass_users", "break_glass_groups", "runbook_url"]
    )]
    pub(crate) policy: Option<PathBuf>,
    /// Enforcement mode while no policy is in force: Deny, Warn or Audit
    #[arg(long, value_name = "MODE", default_value = "Deny")]
    pub(crate) mode: Mode,
    /// How long a policy object must have been absent before the flags apply again: 5m, 90s
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        conflicts_with = "policy"
    )]
    pub(crate) policy_grace: String,
    /// Be ready only with a policy object, and keep the last valid one as long as the object is absent
    #[arg(long, conflicts_with = "policy")]
    pub(crate) require_policy: bool,
    /// User whose violations are allowed and recorded; NAMESPACE/NAME is a service account
    /// (repeatable, matched exactly)
    #[arg(long = "break-glass-user", value_name = "NAME")]
    pub(crate) break_glass_users: Vec<String>,
    /// Group whose violations are allowed and recorded (repeatable, matched exactly)
    #[arg(long = "break-glass-group", value_name = "NAME")]
    pub(crate) break_glass_groups: Vec<String>,
    /// Page with instructions for emergencies; shown in denials
    #[arg(long, value_name = "URL")]
    pub(crate) runbook_url: Option<String>,
    /// Register the webhook in the cluster, called at this https URL
    #[arg(long, value_name = "URL")]
    pub(crate) register_url: Option<String>,
    /// Register the webhook in the cluster, called through this Service
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) register_service: Option<String>,
    /// Remove the registration when the process ends
    #[arg(long, requires = "endpoint")]
    pub(crate) unregister_on_exit: bool,
    /// ClusterRole that owns the registration: when it is deleted, so is the registration
    #[arg(long, value_name = "NAME", requires = "endpoint")]
    pub(crate) owner_cluster_role: Option<String>,
    /// Replace the registration of another installation of the guard, even if that one runs
    #[arg(long, requires = "endpoint")]
    pub(crate) take_over: bool,
    /// Label of namespaces where a write that no replica evaluates is denied instead of allowed:
    /// KEY=VALUE, KEY, or KEY in (A,B); never for cluster-scoped objects, kube-system or the guard's
    /// own namespace
    #[arg(long, value_name = "LABEL", requires = "endpoint")]
    pub(crate) fail_closed_namespaces: Option<String>,
    /// Labels, separated by commas, by which others may exclude namespaces from the registration: KEY or
    /// KEY=VALUE; empty for none
    #[arg(
        long,
        value_name = "LABEL",
        value_delimiter = ',',
        default_values = AKS_LABELS,
        requires = "endpoint"
    )]
    pub(crate) tolerate_namespace_requirements: Vec<String>,
    /// What to do with other selector requirements and match conditions that somebody adds to the
    /// registration: correct or report
    #[arg(
        long,
        value_name = "HANDLING",
        default_value = "correct",
        requires = "endpoint"
    )]
    pub(crate) foreign_requirements: ForeignHandling,
    /// Certificate chain (PEM) to serve with, instead of a generated one; a ca.crt in the same folder
    /// goes into the registration
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// CAs (PEM) of client certificates of API servers; without it, no client certificate is requested
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca_file: Option<PathBuf>,
    /// Common name of a client certificate to accept (repeatable, matched exactly); default: any
    #[arg(
        long = "client-subject",
        value_name = "NAME",
        requires = "client_ca_file"
    )]
    pub(crate) client_subjects: Vec<String>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Namespace to read release records in (repeatable); default: all
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    pub(crate) watch_namespaces: Vec<String>,
    /// Where the release records are.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// Scan for drift on the leader: the time between two full passes, such as 1h; what changes in between is
    /// scanned at once. Needs the rights of deploy/options/scan.yaml. Default: no scans
    #[arg(long, value_name = "DURATION")]
    pub(crate) scan_interval: Option<String>,
    /// Memory for declared objects, in MiB; releases beyond it are read again for each request
    #[arg(long, value_name = "MIB", default_value_t = 160, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub(crate) index_memory: u32,
    /// Namespace of the guard itself, with the Lease of the leader, the Secrets of alert sinks, and the
    /// ConfigMap of the forecast; default: that of --register-service, else "default", where only a
    /// guard in a Pod keeps a forecast
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) guard_namespace: Option<String>,
    /// Release that installs the guard; its objects in its namespace are exempt, so that the guard never
    /// blocks its own repair; default: the release in the guard's namespace that declares the Service of
    /// --register-service or, with --register-url, has the chart helm-guard
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) own_release: Option<String>,
    /// File for audit lines, one JSON object each; - is standard output; default: standard error, with
    /// the log
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log_path: Option<PathBuf>,
    /// Size, in MiB, at which the audit log is rotated
    #[arg(long, value_name = "MIB", default_value_t = 100, requires = "audit_log_path",
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub(crate) audit_log_maxsize: u64,
    /// Rotated audit logs to keep; 0 keeps all
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        requires = "audit_log_path"
    )]
    pub(crate) audit_log_maxbackup: usize,
    /// Format of log lines; audit lines are always JSON
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Minimum level of log lines: error, warn, info, debug, trace, or a filter such as
    /// `warn,helm_guard=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: String,
    /// How long to accept requests after a SIGTERM, until the API server no longer calls this replica:
    /// 5s, 500ms
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub(crate) drain_delay: String,
    /// Threads that answer requests; default: one per CPU, from 2 to 8
    #[arg(long, value_name = "N")]
    pub(crate) worker_threads: Option<usize>,
}

/// Treatment of foreign requirements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForeignHandling {
    /// Remove them
    Correct,
    /// Leave them, and report them in /readyz, a metric and an alert
    Report,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object per line
    Json,
    /// For people
    Text,
}
