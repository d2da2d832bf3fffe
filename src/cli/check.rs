//! `helm-guard check`: evaluates recorded reviews, against records from files, a manifest, or the
//! cluster, as the webhook does.

#![allow(
    clippy::doc_markdown,
    reason = "comments on arguments are what --help prints"
)]

mod files;
mod report;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{ArgGroup, Parser};
use helm_guard_core::{helm::ReleaseName, policy::Policy};

use self::{files::CollectedFiles, report::ReviewReport};
use super::{
    documents::{self, Source},
    output::{self, Format, print},
    process,
    reviewing::{self, Cluster},
    target::{StorageDriver, TargetArgs},
};
use crate::{
    cluster::client::KubeconfigSelection,
    review::{Entry, Reviewer, Sources, recorded::RecordedSources},
    webhook::envelope,
};

/// Long enough for a slow cluster, because no API server waits for the answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Evaluate recorded AdmissionReviews: what would the webhook have answered in Deny mode?
///
/// Without --releases and --manifest, the releases are read from the cluster. With them, no cluster
/// is needed.
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 all allowed, 2 at least one denied, 1 error.")]
#[command(group = ArgGroup::new("offline").args(["releases", "manifest"]).multiple(true)
    .conflicts_with("TargetArgs"))]
pub struct CheckArgs {
    /// AdmissionReviews, one or many: JSON, JSON lines or YAML; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub reviews: Vec<PathBuf>,
    /// Policy file (GuardPolicy) to use instead of the default policy
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Release records: Secrets or ConfigMaps as kubectl get -o json or -o yaml shows them
    /// (repeatable)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub releases: Vec<PathBuf>,
    /// Manifest of a deployed release, as helm get manifest or helm template prints it
    #[arg(long, value_name = "FILE", requires = "release")]
    pub manifest: Option<PathBuf>,
    /// The release that the manifest belongs to
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "manifest")]
    pub release: Option<String>,
    /// CustomResourceDefinitions, for the list types of custom resources (repeatable)
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "offline")]
    pub definitions: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// Storage drivers of Helm (`HELM_DRIVER`), separated by commas
    #[arg(
        long,
        value_name = "DRIVER",
        value_delimiter = ',',
        default_value = "secrets"
    )]
    pub storage_drivers: Vec<StorageDriver>,
    /// The cluster.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// The end of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The last review.
    Nothing,
    /// The number of reviews for each verdict.
    Summary,
}

/// Evaluates the reviews and prints the results.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    run_with(args, Ending::Nothing)
}

/// As [`run`].
pub(super) fn run_with(args: &CheckArgs, ending: Ending) -> anyhow::Result<ExitCode> {
    let policy = match &args.policy {
        Some(file) => documents::policy(file)?,
        None => Policy::default(),
    };
    let mut texts = Vec::new();
    for file in &args.reviews {
        texts.extend(reviews(&Source::of(file))?);
    }
    let reports = process::runtime()?.block_on(async {
        if args.releases.is_empty() && args.manifest.is_none() {
            let target = KubeconfigSelection::from(&args.target);
            let cluster = Cluster::connect(&target, &[], &args.storage_drivers).await?;
            reports(&cluster.reviewer(policy)?, &texts).await
        } else {
            reports(&reviewing::reviewer(offline(args)?, policy)?, &texts).await
        }
    })?;
    let text = match output::encode(args.output, &reports)? {
        Some(text) => text,
        None if ending == Ending::Summary => report::table(&reports) + &report::summary(&reports),
        None => report::table(&reports),
    };
    print(text.as_bytes())?;
    let is_denied = reports.iter().any(ReviewReport::is_denied);
    Ok(if is_denied {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

/// The reviews as JSON text, like request bodies.
fn reviews(source: &Source) -> anyhow::Result<Vec<Vec<u8>>> {
    let documents = source.documents()?;
    if documents.is_empty() {
        bail!("failed to find an AdmissionReview in {}", source.name());
    }
    let texts = documents.iter().map(serde_json::to_vec);
    Ok(texts.collect::<Result<_, _>>()?)
}

async fn reports<S: Sources>(
    reviewer: &Reviewer<S>,
    reviews: &[Vec<u8>],
) -> anyhow::Result<Vec<ReviewReport>> {
    let mut reports = Vec::with_capacity(reviews.len());
    for (n, review) in reviews.iter().enumerate() {
        let request = envelope::parse(review).with_context(|| format!("review {}", n + 1))?;
        let deadline = Instant::now() + DEADLINE;
        let review = reviewer
            .review(&request, Entry::AsRequested, deadline)
            .await;
        reports.push(ReviewReport::of(&request, &review, &reviewer.redactor));
    }
    Ok(reports)
}

fn offline(args: &CheckArgs) -> anyhow::Result<RecordedSources> {
    let mut files = CollectedFiles::default();
    for path in &args.releases {
        let source = Source::of(path);
        let found = files.add_records(&source.documents()?)?;
        if found == 0 {
            bail!("failed to find a release record in {}", source.name());
        }
    }
    if let (Some(path), Some(release)) = (&args.manifest, &args.release) {
        files.add_manifest(release_name(release)?, &Source::of(path).text()?);
    }
    for path in &args.definitions {
        files.add_crds(&Source::of(path).documents()?)?;
    }
    for warning in &files.warnings {
        // An error of stderr cannot be reported anywhere.
        let _ = writeln!(io::stderr().lock(), "warning: {warning}");
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
