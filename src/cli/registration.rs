//! `helm-guard registration`: prints the registration as a manifest, to apply it without the guard.
//!
//! The secret paths are derived from the private key of the serving certificate ([`crate::webhook::paths`]),
//! so a guard with the same key answers on them. Nothing is written to the cluster.

#![allow(
    clippy::doc_markdown,
    reason = "comments on arguments are what --help prints"
)]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, bail};
use clap::{ArgGroup, Parser};

use super::{
    documents,
    output::{self, print},
    process,
    serve::config::own_namespace,
    target::{TargetArgs, kubeconfig_help},
};
use crate::{
    cluster::client::{self, KubeconfigSelection},
    webhook::{
        certificates::secret,
        endpoint::Endpoint,
        paths::PathKey,
        registration::{
            Registration, closed::FailClosed, configuration, emergencies::Watched,
            foreign::ToleratedLabels,
        },
        tls::{
            self, Pair,
            files::{self, Files},
        },
    },
};

/// Print the registration as a manifest, to apply it yourself
///
/// For a guard that runs without --register-url and --register-service. The manifest contains the secret
/// paths, so anyone who can read it can call the guard. They change with the private key.
#[derive(Debug, Parser)]
#[command(group = ArgGroup::new("endpoint").args(["url", "service"]).required(true))]
#[command(mut_group("TargetArgs", |group| group.conflicts_with("tls_cert")))]
#[command(mut_args(kubeconfig_help("Kubeconfig of the cluster to read the Secret from")))]
pub(crate) struct RegistrationCommand {
    /// https URL that the API server calls
    #[arg(long, value_name = "URL", requires = "tls_cert")]
    pub(crate) url: Option<String>,
    /// Service that the API server calls
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) service: Option<String>,
    /// Certificate chain (PEM) that the guard serves with; default: the Secret helm-guard-tls in the
    /// namespace of the Service
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// CAs (PEM) that the API server trusts; default: ca.crt in the folder of the certificate or in the
    /// Secret, else the API server's own trust store
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Policy whose break-glass identities have all their requests recorded; print again when they change
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Label of namespaces that fail closed, as for helm-guard serve
    #[arg(long, value_name = "LABEL")]
    pub(crate) fail_closed_namespaces: Option<String>,
    /// Namespace of the guard, which never fails closed; default: that of --service
    #[arg(long, value_name = "NAMESPACE")]
    pub(crate) guard_namespace: Option<String>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Runs the subcommand.
pub(super) fn run(args: &RegistrationCommand) -> anyhow::Result<ExitCode> {
    let endpoint = match (&args.url, &args.service) {
        (Some(url), _) => Endpoint::from_url(url)?,
        (None, Some(service)) => Endpoint::from_service(service)?,
        (None, None) => bail!("either --url or --service is required"),
    };
    let mut pair = process::runtime()?.block_on(pair(args, &endpoint))?;
    if let Some(file) = &args.ca {
        pair.ca_bundle = Some(read(file)?);
    }
    let now = SystemTime::now();
    // The name that the API server connects to.
    let names: Vec<String> = endpoint.names().into_iter().take(1).collect();
    tls::check(&pair, now)?.verify(&names, now)?;
    let manifest = configuration(&registration(args, endpoint, &pair)?, &BTreeSet::new());
    print(output::yaml(&serde_json::to_value(manifest)?).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The registration of `serve` with the same flags.
fn registration(
    args: &RegistrationCommand,
    endpoint: Endpoint,
    pair: &Pair,
) -> anyhow::Result<Registration> {
    let own_namespace = own_namespace(args.guard_namespace.as_deref(), Some(&endpoint))?;
    let fail_closed = args
        .fail_closed_namespaces
        .as_deref()
        .map(|label| {
            FailClosed::new(label, own_namespace.as_deref(), &ToleratedLabels::default())
                .with_context(|| format!("--fail-closed-namespaces {label:?}"))
        })
        .transpose()?;
    let watched = match &args.policy {
        Some(file) => {
            let (users, groups) = documents::policy(file)?.emergencies().who();
            Watched { users, groups }
        }
        None => Watched::default(),
    };
    Ok(Registration {
        ca_bundle: pair.ca_bundle.clone(),
        watched,
        fail_closed,
        ..Registration::new(endpoint, PathKey::of(pair))
    })
}

/// The certificate and key of the guard.
async fn pair(args: &RegistrationCommand, endpoint: &Endpoint) -> anyhow::Result<Pair> {
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let files = Files {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        return Ok(files::read(&files).await?);
    }
    let Endpoint::Service { namespace, .. } = endpoint else {
        bail!("--url requires --tls-cert and --tls-key");
    };
    let client = client::connect(&KubeconfigSelection::from(&args.target)).await?;
    secret::read(&client, namespace).await?.with_context(|| {
        let name = secret::SECRET_NAME;
        format!("no certificate in the Secret {namespace}/{name}: use --tls-cert and --tls-key")
    })
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}
