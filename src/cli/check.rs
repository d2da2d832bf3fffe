//! `helm-guard check`: evaluates recorded reviews, against records from files, a manifest, or the
//! cluster, as the webhook does.

#![allow(
    clippy::doc_markdown,
    reason = "comments on arguments are what --help prints"
)]

pub(super) mod report;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::{ArgGroup, Parser};
use helm_guard_core::{guard::Request, helm::ReleaseName};

use self::report::{CheckReport, CheckedReview};
use super::{
    documents::Source,
    files::CollectedFiles,
    in_force::{InForce, PolicyArgs},
    output::{self, Format, print},
    process,
    reviewing::{self, Cluster, strictest},
    target::{StorageArgs, TargetArgs},
};
use crate::{
    cluster::client::{self, KubeconfigSelection},
    review::{Entry, Reviewer, Sources, recorded::RecordedSources},
    webhook::envelope,
};

/// Evaluate recorded AdmissionReviews: what would the webhook answer?
///
/// Without --releases and --manifest, the releases and the policy in force are read from the cluster. With
/// them, no cluster is needed, and the default policy applies.
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 all allowed, 2 at least one denied, 1 error.")]
#[command(group = ArgGroup::new("offline").args(["releases", "manifest"]).multiple(true)
    .conflicts_with("TargetArgs"))]
pub(crate) struct CheckArgs {
    /// AdmissionReviews, one or many: JSON, JSON lines or YAML; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) reviews: Vec<PathBuf>,
    /// The policy.
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Release records: Secrets or ConfigMaps as kubectl get -o json or -o yaml shows them
    /// (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) releases: Vec<PathBuf>,
    /// Manifest of a deployed release, as helm get manifest or helm template prints it
    #[arg(long, value_name = "FILE", requires = "release")]
    pub(crate) manifest: Option<PathBuf>,
    /// The release that the manifest belongs to
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "manifest")]
    pub(crate) release: Option<String>,
    /// CustomResourceDefinitions, for the list types of custom resources (repeatable)
    #[arg(long, value_name = "FILE", requires = "offline")]
    pub(crate) definitions: Vec<PathBuf>,
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

/// Evaluates and prints.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut texts = Vec::new();
    for file in &args.reviews {
        texts.extend(reviews(&Source::of(file))?);
    }
    let report = process::runtime()?.block_on(async {
        let (policy, reviews) = if args.releases.is_empty() && args.manifest.is_none() {
            let client = client::connect(&KubeconfigSelection::from(&args.target)).await?;
            let policy = InForce::read(&client, &args.policy).await?;
            let cluster = Cluster::read(client, &[], &args.storage.storage_drivers).await?;
            let reviewer = cluster.reviewer(policy.policy.clone())?;
            (policy, reports(&reviewer, &texts).await?)
        } else {
            let policy = InForce::offline(&args.policy)?;
            let reviewer = reviewing::reviewer(offline(args)?, policy.policy.clone())?;
            (policy, reports(&reviewer, &texts).await?)
        };
        anyhow::Ok(CheckReport::new(policy.applied(), reviews))
    })?;
    let text = match output::encode(args.output, &report)? {
        Some(text) => text,
        None => report::table(&report),
    };
    print(text.as_bytes())?;
    let is_denied = report.reviews.iter().any(CheckedReview::is_denied);
    Ok(if is_denied {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

/// A review as it would come in a body, and where it is from.
struct RecordedReview {
    file: String,
    /// From 1 within the file.
    number: usize,
    body: Vec<u8>,
}

fn reviews(source: &Source) -> anyhow::Result<Vec<RecordedReview>> {
    let documents = source.documents()?;
    if documents.is_empty() {
        bail!("{} has no AdmissionReview", source.name());
    }
    let reviews = documents.iter().enumerate().map(|(n, document)| {
        Ok(RecordedReview {
            file: source.name(),
            number: n + 1,
            body: serde_json::to_vec(document)?,
        })
    });
    reviews.collect()
}

async fn reports<S: Sources>(
    reviewer: &Reviewer<S>,
    reviews: &[RecordedReview],
) -> anyhow::Result<Vec<CheckedReview>> {
    let mut reports = Vec::with_capacity(reviews.len());
    for review in reviews {
        let request = envelope::parse(&review.body)
            .with_context(|| format!("review {} of {}", review.number, review.file))?;
        let Some(review) = strictest(reviewer, &request, entries(&request)).await else {
            continue;
        };
        reports.push(CheckedReview::of(&request, &review, &reviewer.redactor));
    }
    Ok(reports)
}

/// A recorded review does not print_note through which entry it came. What releases depend on has entries of its own.
fn entries(request: &Request<'_>) -> Vec<Entry> {
    let is_infrastructure = matches!(
        (&*request.resource.group, &*request.resource.resource),
        ("", "secrets" | "configmaps" | "namespaces")
            | ("apiextensions.k8s.io", "customresourcedefinitions")
    );
    let first = is_infrastructure.then_some(Entry::ReleaseInfrastructure);
    first.into_iter().chain([Entry::AsRequested]).collect()
}

fn offline(args: &CheckArgs) -> anyhow::Result<RecordedSources> {
    let mut files = CollectedFiles::default();
    files.add_record_files(&args.releases)?;
    if let (Some(path), Some(release)) = (&args.manifest, &args.release) {
        files.add_manifest(release_name(release)?, &Source::of(path).text()?);
    }
    for path in &args.definitions {
        files.add_crds(&Source::of(path).documents()?)?;
    }
    Ok(files.sources())
}

fn release_name(given: &str) -> anyhow::Result<ReleaseName> {
    match given.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(ReleaseName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        _ => bail!("invalid release {given:?}: expected NAMESPACE/NAME"),
    }
}
