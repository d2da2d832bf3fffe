//! `helm-guard scan`: the drift that is there, whoever made it and whenever. It needs no guard, and only reads.
//!
//! Exit codes: 0 clean, 2 findings, 1 something could not be looked at. The last one wins, because a scan that is not
//! complete cannot say that there is nothing.

#![allow(
    clippy::doc_markdown,
    reason = "comments on arguments are what --help prints"
)]

mod baseline;
mod diff;
mod group;
mod junit;
mod markdown;
mod patch;
#[cfg(test)]
mod sample;
mod sarif;
mod summary;
mod table;
mod visible;
mod xml;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use helm_guard_core::{
    compare::redact::Redactor,
    scan::{DriftFinding, FindingClass, FindingSeverity, ScanReport},
    text::{counted, suggest::did_you_mean},
};
use kube::{Client, config::Kubeconfig};
use serde::Serialize;

use self::{baseline::Baseline, group::GroupBy};
use super::{
    in_force::{InForce, PolicyArgs},
    output::{self, Format, Screen, print, print_note},
    process,
    target::{self, StorageArgs, StorageDriver, TargetArgs},
};
use crate::{
    cluster::client::{self, KubeconfigSelection},
    scanner::{self, ListCost, ScanRequest},
};

/// Find drift: declared fields and objects that differ in the cluster, lost records, stuck operations
///
/// It compares the manifests in Helm's records with the live objects, as the webhook does, and says who wrote each
/// difference and what the next upgrade does about it. No guard is needed, and nothing but get and list.
#[derive(Debug, Parser)]
#[command(
    after_help = "Exit codes: 0 no drift, 2 findings, 1 something could not be read, or other error."
)]
pub(crate) struct Scan {
    /// Releases to scan, as NAME or NAMESPACE/NAME; default: all of the namespace
    #[arg(value_name = "RELEASE")]
    pub(crate) releases: Vec<String>,
    /// Namespace of the releases; default: that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Only releases of this chart
    #[arg(long, value_name = "NAME")]
    pub(crate) chart: Option<String>,
    /// Only findings about objects of this kind (repeatable)
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Vec<String>,
    /// Only findings of this class, such as Changed or Missing (repeatable)
    #[arg(long, value_name = "CLASS", value_parser = class)]
    pub(crate) class: Vec<FindingClass>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: ScanFormat,
    /// Group the findings of a table or of Markdown
    #[arg(long, value_name = "BY")]
    pub(crate) group_by: Option<GroupBy>,
    /// Accept the findings that a baseline names: they are not printed and do not count
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// Write what is found to a baseline, and accept it
    #[arg(long, value_name = "FILE", conflicts_with = "baseline")]
    pub(crate) write_baseline: Option<PathBuf>,
    /// Exit with 2 only for findings of these classes (repeatable); default: all but those for information
    #[arg(long, value_name = "CLASS", value_parser = class)]
    pub(crate) fail_on: Vec<FindingClass>,
    /// Exit with 0 also if there are findings
    #[arg(long)]
    pub(crate) exit_zero: bool,
    /// Print how long it took, and how many calls it made
    #[arg(long)]
    pub(crate) timing: bool,
    /// The policy.
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Where the release records are.
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// The cluster.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Output format of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScanFormat {
    /// For people; long cells are cut to fit the terminal
    Table,
    /// A table with all columns, and nothing cut
    Wide,
    /// A unified diff of declared against live, object by object
    Diff,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
    /// JUnit XML for a CI: a suite for each release
    Junit,
    /// A comment on a pull request
    Markdown,
    /// SARIF 2.1.0 for code scanning
    Sarif,
    /// A script of kubectl patch commands that restore what is declared
    Patch,
}

impl ScanFormat {
    /// Whether it needs whole values: reports have only the beginning of long ones.
    fn needs_values(self) -> bool {
        matches!(self, Self::Diff | Self::Patch)
    }

    fn has_groups(self) -> bool {
        matches!(self, Self::Table | Self::Wide | Self::Markdown)
    }
}

fn class(word: &str) -> Result<FindingClass, String> {
    word.parse().map_err(|error| {
        let known = FindingClass::ALL.map(FindingClass::as_str);
        format!("{error}{}", did_you_mean(word, known))
    })
}

/// Runs the subcommand.
pub(super) fn run(args: &Scan) -> anyhow::Result<ExitCode> {
    if args.group_by.is_some() && !args.output.has_groups() {
        bail!("--group-by is for -o table, wide and markdown");
    }
    let accepted = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let started = Instant::now();
    let (mut report, cost) = process::runtime()?.block_on(scan(args))?;
    let took = started.elapsed();
    retain(&mut report, |finding| args.wants(finding));
    if let Some(file) = &args.write_baseline {
        let baseline = Baseline::of(&report);
        baseline.write(file)?;
        print_note(&format!(
            "{} written to {}",
            counted(baseline.len(), "finding"),
            file.display()
        ));
        retain(&mut report, DriftFinding::is_error);
    }
    if let Some(accepted) = &accepted {
        retain(&mut report, |finding| !accepted.has(finding));
    }
    show(args, &report)?;
    if args.timing {
        let ListCost {
            calls,
            bytes,
            objects,
        } = cost;
        print_note(&format!(
            "{objects} objects in {} and {} KiB, {:.1} s",
            counted(calls, "call"),
            bytes / 1024,
            took.as_secs_f64()
        ));
    }
    Ok(args.exit_code(&report))
}

impl Scan {
    fn wants(&self, finding: &DriftFinding) -> bool {
        let is_kind = |kind: &String| kind.eq_ignore_ascii_case(&finding.object.kind);
        // What could not be read is never filtered away.
        finding.is_error()
            || (self.class.is_empty() || self.class.contains(&finding.class))
                && (self.kind.is_empty() || self.kind.iter().any(is_kind))
    }

    /// Whether a finding makes the command fail.
    fn counts(&self, finding: &DriftFinding) -> bool {
        match &*self.fail_on {
            [] => finding.severity > FindingSeverity::Info,
            classes => classes.contains(&finding.class),
        }
    }

    fn exit_code(&self, report: &ScanReport) -> ExitCode {
        if !report.complete {
            ExitCode::FAILURE
        } else if !self.exit_zero && report.findings().any(|finding| self.counts(finding)) {
            ExitCode::from(2)
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// Removes findings, but not what the summary says about the releases.
fn retain(report: &mut ScanReport, is_kept: impl Fn(&DriftFinding) -> bool) {
    for release in &mut report.releases {
        release.findings.retain(&is_kept);
    }
    report.orphans.retain(|orphan| is_kept(&orphan.finding));
}

async fn scan(args: &Scan) -> anyhow::Result<(ScanReport, ListCost)> {
    let client = client::connect(&KubeconfigSelection::from(&args.target)).await?;
    let only = releases(&args.releases)?;
    let namespace = match target::namespace(args.namespace.as_deref()) {
        _ if args.all_namespaces => None,
        Some(namespace) => Some(namespace),
        // A release that names its namespace needs no other.
        None if !only.is_empty() && only.iter().all(|(namespace, _)| !namespace.is_empty()) => None,
        None => Some(client.default_namespace().to_owned()),
    };
    let policy = InForce::read(&client, &args.policy).await?;
    let mut redactor = Redactor::new(&process::key()?);
    if args.output.needs_values() {
        redactor = redactor.keeping_values();
    }
    let request = ScanRequest {
        cluster: cluster(args),
        namespace: namespace.as_deref(),
        only: &only,
        chart: args.chart.as_deref(),
        drivers: &StorageDriver::drivers(&args.storage.storage_drivers),
        policy: &policy.policy,
        redactor: &redactor,
    };
    let (report, cost) = scanner::scan(&client, &request).await?;
    found_all(&only, &report, namespace.as_deref())?;
    if report.releases.is_empty() && report.orphans.is_empty() && report.complete {
        check_namespace(&client, namespace.as_deref()).await?;
    }
    Ok((report, cost))
}

/// `NAME` or `NAMESPACE/NAME`.
fn releases(given: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let read = |text: &String| match text.split_once('/') {
        None if !text.is_empty() => Ok((String::new(), text.clone())),
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => bail!("{text:?} is not a release: expected NAME or NAMESPACE/NAME"),
    };
    given.iter().map(read).collect()
}

/// A release without a record is a mistake, not a clean release.
fn found_all(
    only: &[(String, String)],
    report: &ScanReport,
    namespace: Option<&str>,
) -> anyhow::Result<()> {
    for (of, name) in only {
        let is_it =
            |(namespace, found): (&str, &str)| *name == found && (of.is_empty() || of == namespace);
        let releases = report.releases.iter();
        let mut names = releases.map(|release| (&*release.namespace, &*release.name));
        if names.any(is_it) {
            continue;
        }
        let place = match (&**of, namespace) {
            ("", None) => "in any namespace".to_owned(),
            ("", Some(namespace)) => format!("in namespace {namespace}"),
            (of, _) => format!("in namespace {of}"),
        };
        bail!("there is no release {name:?} {place}");
    }
    Ok(())
}

/// That nothing was found in a namespace that does not exist says nothing. Who may not read namespaces gets no error.
async fn check_namespace(client: &Client, namespace: Option<&str>) -> anyhow::Result<()> {
    let Some(namespace) = namespace else {
        return Ok(());
    };
    let api: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(client.clone());
    match api.get_metadata_opt(namespace).await {
        Ok(None) => bail!("namespace {namespace:?} does not exist"),
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

/// The name of the cluster in the report: the context.
fn cluster(args: &Scan) -> String {
    let selection = KubeconfigSelection::from(&args.target);
    if let Some(context) = selection.context {
        return context;
    }
    let kubeconfig = match &selection.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let current = kubeconfig.ok().and_then(|config| config.current_context);
    current.unwrap_or_else(|| "in-cluster".to_owned())
}

fn show(args: &Scan, report: &ScanReport) -> anyhow::Result<()> {
    let screen = |format| Screen::of_stdout(format);
    let text = match args.output {
        ScanFormat::Table => table::table(report, args.group_by, screen(Format::Table)),
        ScanFormat::Wide => table::table(report, args.group_by, screen(Format::Wide)),
        ScanFormat::Diff => diff::diff(report),
        ScanFormat::Json => encoded(Format::Json, report)?,
        ScanFormat::Yaml => encoded(Format::Yaml, report)?,
        ScanFormat::Junit => junit::junit(report, |finding| args.counts(finding)),
        ScanFormat::Markdown => {
            markdown::markdown(report, args.group_by.unwrap_or(GroupBy::Release))
        }
        ScanFormat::Sarif => encoded(Format::Json, &sarif::sarif(report))?,
        ScanFormat::Patch => patch::patch(report),
    };
    print(text.as_bytes())
}

fn encoded(format: Format, document: &impl Serialize) -> anyhow::Result<String> {
    let text = output::encode(format, document)?;
    text.context("this output format is not a document")
}
