//! Takes real charts through the life of a release, with the guard in mode Deny, and tries to
//! change every declared field: the scoreboard of `make corpus CHARTS=DIR`.
//!
//! For each chart and each Helm: install, upgrade, rollback, upgrade, uninstall; none may be denied.
//! After the install and before the uninstall an ordinary cluster-admin tries, by server-side dry run,
//! to delete every declared object and to change and remove every declared field, which must be
//! denied; and to make changes that touch nothing declared, which must be allowed. `helm-guard scan` must find nothing
//! after a step of Helm, and all that a break-glass user changed before the last upgrade; see [`scans`].
//!
//! Declared fields, their place in the live object and changes of them are determined here without
//! the guard's code: kubectl parses the manifest, [`leaves`] pairs it with the live object by
//! content, and the API server's own dry run says what a request would have done.
//!
//! Start at [`lifecycle::run_chart`], then [`checks::check`].

// The table goes to standard output, progress to standard error.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod checks;
mod cleanup;
mod drift;
mod environment;
mod harmless;
mod lifecycle;
mod log;
mod probe;
mod scans;
mod table;
mod tally;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use testbed::HelmVersion;
use trials::{api, candidates, charts, declared, leaves, remedies, semantics};

use crate::{environment::Environment, log::Log, table::Row};

/// Takes every chart of a directory through install, upgrade, rollback, upgrade and uninstall under
/// helm-guard, and tries to change every field that it declares.
#[derive(Debug, Parser)]
#[command(name = "corpus")]
struct Args {
    /// Directory with NAME.tgz, older/NAME.tgz, values/NAME.yaml and values/NAME.args
    charts: PathBuf,

    /// Only these charts (may be given several times, or as a list with commas)
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,

    /// Only this Helm
    #[arg(long, value_parser = ["3", "4"])]
    helm: Option<String>,

    /// Let Helm 4 apply client-side (--server-side=false)
    #[arg(long)]
    client_side: bool,

    /// Where every refusal, miss and false denial is written, a JSON object a line [default:
    /// corpus.log.jsonl next to the builds]
    #[arg(long)]
    log: Option<PathBuf>,

    /// Also log each changed field that the API server itself refused, with its reason (not from
    /// Secrets)
    #[arg(long)]
    log_refusals: bool,

    /// The helm-guard to test [default: the one built next to this program]
    #[arg(long)]
    guard: Option<PathBuf>,

    /// Seconds that the checks of one chart with one Helm may take; what is left is counted as not
    /// tried
    #[arg(long, default_value_t = 900)]
    chart_seconds: u64,

    /// How many declared fields of one object are tried at most, in no particular order; the others
    /// are counted as not tried [default: all]
    #[arg(long)]
    most_leaves: Option<usize>,
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("corpus: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let charts = charts::find(&args.charts, &args.only)?;
    let log_file = match &args.log {
        Some(file) => file.clone(),
        None => built(2, "corpus.log.jsonl")?,
    };
    let log = Log::create(&log_file)?;
    let guard = match &args.guard {
        Some(guard) => guard.clone(),
        None => sibling_binary()?,
    };
    let mut environment = Environment::start(guard)?;
    let mut rows = Vec::new();
    let ended = try_each(args, &charts, &log, &mut environment, &mut rows);
    // The findings are shown, however the run ended.
    print!("{}", table::render(&rows));
    eprintln!("corpus: details in {}", log_file.display());
    ended.map(|()| table::verdict(&rows))
}

fn try_each(
    args: &Args,
    charts: &[charts::Chart],
    log: &Log,
    environment: &mut Environment,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let wanted = |version: &HelmVersion| {
        let helm = args.helm.as_ref();
        helm.is_none_or(|helm| version.to_string().ends_with(helm))
    };
    for (number, chart) in charts.iter().enumerate() {
        let mut setup = remedies::Setup::default();
        for version in HelmVersion::ALL.into_iter().filter(wanted) {
            let config = lifecycle::RunConfig {
                chart,
                version,
                patience: Duration::from_secs(args.chart_seconds),
                most_leaves: args.most_leaves.unwrap_or(usize::MAX),
                position: (number + 1, charts.len()),
                log,
                refusals: args.log_refusals,
                is_client_side: args.client_side && version == HelmVersion::V4,
            };
            let row = run_or_report(environment, &config, &mut setup)?;
            eprintln!("{}", table::summary(&row));
            rows.push(row);
        }
    }
    Ok(())
}

/// An error of one chart must not end the run: the chart gets its row, and the next chart a new
/// environment.
fn run_or_report(
    environment: &mut Environment,
    config: &lifecycle::RunConfig<'_>,
    setup: &mut remedies::Setup,
) -> anyhow::Result<Row> {
    let run = AssertUnwindSafe(|| lifecycle::run_chart(environment, config, setup));
    let error = match catch_unwind(run) {
        Ok(Ok(row)) => return Ok(row),
        Ok(Err(error)) => format!("{error:#}"),
        Err(_panic) => "a command did not finish".to_owned(),
    };
    let mut row = Row::new(&config.chart.name, config.version);
    row.tally.errors += 1;
    row.notes.push(error);
    environment.renew()?;
    Ok(row)
}

/// `target/PROFILE/corpus` and `target/PROFILE/helm-guard` are of one build.
fn sibling_binary() -> anyhow::Result<PathBuf> {
    let guard = built(1, "helm-guard")?;
    anyhow::ensure!(
        guard.is_file(),
        "failed to find {}: build it first (cargo build), or give --guard",
        guard.display()
    );
    Ok(guard)
}

/// A file this many folders above this program.
fn built(above: usize, name: &str) -> anyhow::Result<PathBuf> {
    let us = std::env::current_exe().context("failed to find this program's own path")?;
    let dir = us.ancestors().nth(above);
    Ok(dir
        .context("failed to find the folder of builds")?
        .join(name))
}
