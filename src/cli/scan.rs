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
mod progress;
#[cfg(test)]
mod sample;
mod sarif;
mod session;
mod summary;
mod table;
mod visible;
mod watch;
mod xml;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use helm_guard_core::{
    scan::{DriftFinding, FindingClass, FindingSeverity, ScanReport},
    text::{counted, suggest::did_you_mean},
};
use serde::Serialize;

use self::{baseline::Baseline, group::GroupBy, session::ScanSession, watch::Interval};
use super::{
    in_force::PolicyArgs,
    output::{self, Format, Screen, print, print_note},
    process,
    target::{StorageArgs, TargetArgs},
};
use crate::scanner::ListCost;

/// Find drift: declared fields and objects that differ in the cluster, lost records, stuck operations
///
/// It compares the manifests in Helm's records with the live objects, as the webhook does, and says who wrote each
/// difference and what the next upgrade does about it. No guard is needed, and nothing but get and list.
#[derive(Debug, Parser)]
#[command(
    after_help = "Exit codes: 0 no drift, 2 findings, 1 something could not be read, or other error."
)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
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
    /// Count how many objects of each namespace belong to a release: one more list of each declared kind
    #[arg(long, conflicts_with_all = ["releases", "chart"])]
    pub(crate) coverage: bool,
    /// Scan again and again until interrupted, and print what changes
    #[arg(
        short,
        long,
        value_name = "INTERVAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "10s",
        conflicts_with_all = ["baseline", "write_baseline", "timing"]
    )]
    pub(crate) watch: Option<Interval>,
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

    fn can_be_watched(self) -> bool {
        matches!(self, Self::Table | Self::Wide | Self::Json)
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
    if args.watch.is_some() && !args.output.can_be_watched() {
        bail!("--watch is for -o table, wide and json");
    }
    let accepted = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let runtime = process::runtime()?;
    let session = runtime.block_on(ScanSession::open(args))?;
    if let Some(interval) = args.watch {
        return runtime.block_on(watch::watch(&session, interval));
    }
    let started = Instant::now();
    let (mut report, cost) = runtime.block_on(session.scan())?;
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
