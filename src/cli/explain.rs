//! `helm-guard explain`: which release declares an object or a field of it, where, what of it differs in the
//! cluster, who wrote it, and what the webhook would answer to a change.
//!
//! The answers follow the policy, the mode and the entries in force in the cluster. A change is evaluated as the
//! webhook does.

#![allow(
    clippy::doc_markdown,
    reason = "comments on arguments are what --help prints"
)]

mod ask;
mod change;
mod declarations;
mod field_check;
mod line;
mod object;
pub(super) mod report;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use helm_guard_core::compare::path::FieldPath;

use self::{object::ObjectOnDisk, report::table};
use super::{
    documents::Source,
    in_force::{InForce, PolicyArgs},
    output::{self, Format, print},
    process, reviewing,
    target::{StorageArgs, TargetArgs, namespace},
};
use crate::cluster::client::KubeconfigSelection;

/// Explain an object or a field: which release and revision declare it, in which template and line, what
/// differs from the live object, who wrote it last, and what the webhook would answer if it were changed
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 explained, 1 an error.")]
#[command(mut_group("TargetArgs", |group| group.conflicts_with("releases")))]
pub(crate) struct Explain {
    /// The object, as for kubectl: deploy/web, hpa.autoscaling/web
    #[arg(value_name = "KIND/NAME", required_unless_present = "live")]
    pub(crate) object: Option<String>,
    /// A field of it: .spec.template.spec.containers[name=web].image, /spec/replicas
    #[arg(value_name = "FIELD")]
    pub(crate) field: Option<String>,
    /// Namespace; default: that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Release records from a file, instead of the cluster: Secrets or ConfigMaps as kubectl get -o yaml
    /// shows them (repeatable)
    #[arg(long, value_name = "FILE", requires = "live")]
    pub(crate) releases: Vec<PathBuf>,
    /// The live object from a file, as kubectl get -o yaml shows it; then KIND/NAME is not needed
    #[arg(
        long,
        value_name = "FILE",
        requires = "releases",
        conflicts_with = "field"
    )]
    pub(crate) live: Option<PathBuf>,
    /// The policy.
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    /// Where the release records are.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// The cluster.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Runs the subcommand.
pub(super) fn run(args: &Explain) -> anyhow::Result<ExitCode> {
    // With --live, the only argument is FIELD.
    let field = match &args.live {
        Some(_) => &args.object,
        None => &args.field,
    };
    let path = field
        .as_deref()
        .map(|field| {
            let path = field.parse::<FieldPath>();
            path.with_context(|| format!("{field:?} is not a path, such as .spec.replicas"))
        })
        .transpose()?;
    let explanation = process::runtime()?.block_on(async {
        match &args.live {
            Some(file) => offline(args, &Source::of(file), path.as_ref()).await,
            None => online(args, path.as_ref()).await,
        }
    })?;
    let text = match output::encode(args.output, &explanation)? {
        Some(text) => text,
        None => table(&explanation),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn online(args: &Explain, path: Option<&FieldPath>) -> anyhow::Result<report::Explanation> {
    let (kind, name) = kind_and_name(args.object.as_deref().unwrap_or_default())?;
    let namespace = namespace(args.namespace.as_deref());
    let asked = object::Asked {
        kind,
        name,
        namespace: namespace.as_deref(),
        path,
    };
    object::in_cluster(
        &KubeconfigSelection::from(&args.target),
        &args.storage.storage_drivers,
        &args.policy,
        &asked,
    )
    .await
}

async fn offline(
    args: &Explain,
    live: &Source,
    path: Option<&FieldPath>,
) -> anyhow::Result<report::Explanation> {
    let object = ObjectOnDisk::read(live, args.namespace.as_deref())?;
    let sources = reviewing::recorded(&args.releases)?;
    let policy = InForce::offline(&args.policy)?;
    object.explain(sources, policy, path).await
}

fn kind_and_name(object: &str) -> anyhow::Result<(&str, &str)> {
    match object.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok((kind, name)),
        _ => bail!("{object:?} is not an object: expected KIND/NAME, such as deploy/web"),
    }
}
