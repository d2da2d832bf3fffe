//! `helm-guard policy forecast`: what mode Deny would have denied, and which exemptions would allow it.
//!
//! It reads the `ConfigMap` that the guards write in the modes Warn and Audit, or audit lines. It only
//! reports the past, so the exit code does not depend on the findings.

mod needs;
pub(in crate::cli) mod show;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Parser;
use helm_guard_core::{api::Span, text::counted};
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration,
    core::v1::{ConfigMap, Namespace},
};
use kube::{Api, Client};

use self::show::{ForecastFormat, ForecastReport, Source};
use crate::{
    cli::{
        output::print,
        policy::base::{BaseArgs, BasePolicy},
        process,
        target::{self, TargetArgs},
    },
    cluster::{
        ApiFailure,
        client::{self, KubeconfigSelection},
    },
    record::forecast::{
        DAYS, day_of,
        document::{Document, NAME},
        lines::Read,
        publisher,
    },
    webhook::registration::{CONFIGURATION_NAME, installation::Installation},
};

/// Where deploy/ installs the guard.
const DEFAULT_NAMESPACE: &str = "helm-guard";

/// A guard that counts is at most this much behind: it writes every minute, and a write may be slow.
const LAG: SignedDuration = SignedDuration::from_mins(3);

/// Show what mode Deny would have denied, and which exemptions would allow it
///
/// In the modes Warn and Audit the guards count the requests that Deny would deny, for 30 days, in the
/// ConfigMap helm-guard-forecast of their own namespace. Their audit lines can be read instead.
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 success, 1 error.")]
#[command(mut_group("TargetArgs", |group| group.conflicts_with("audit_log")))]
pub(crate) struct ForecastArgs {
    /// How far to look back, in days (7d) or hours (36h); by whole days, UTC, today included
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = days)]
    pub(crate) since: i64,
    /// Only releases of this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// All namespaces, also if HELM_GUARD_NAMESPACE names one
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// The policy that -o yaml extends.
    #[command(flatten)]
    pub(crate) base: BaseArgs,
    /// Output format; yaml is the policy in force with these exemptions
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: ForecastFormat,
    /// Read audit lines instead, also among other log lines; - is standard input (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log: Vec<PathBuf>,
    /// The guard's own namespace; default: that of the guard that is registered, else helm-guard
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "audit_log")]
    pub(crate) guard_namespace: Option<String>,
    /// The cluster.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Runs the subcommand.
pub(super) fn run(args: &ForecastArgs) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now();
    let from = first_day(now, args.since)?;
    let source = if args.audit_log.is_empty() {
        process::runtime()?.block_on(from_cluster(args, now))?
    } else {
        from_lines(&args.audit_log, from, args.namespace.as_deref())?
    };
    let base = match (args.output, &args.base.into) {
        (ForecastFormat::Yaml, Some(file)) => Some(BasePolicy::from_file(file)?),
        (ForecastFormat::Yaml, None) if args.audit_log.is_empty() => {
            let found = BasePolicy::find(&args.base, &args.target);
            Some(process::runtime()?.block_on(found)?)
        }
        (ForecastFormat::Yaml, None) => Some(BasePolicy::unknown(
            "audit lines do not have the policy in force",
        )),
        _ => None,
    };
    let namespace = target::namespace(args.namespace.as_deref()).filter(|_| !args.all_namespaces);
    let report = ForecastReport::of(&source, from, namespace.as_deref(), base);
    for warning in report.warnings() {
        // An error of stderr cannot be reported anywhere.
        let _ = writeln!(io::stderr().lock(), "warning: {warning}");
    }
    print(report.text(args.output, args.output.screen())?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A number of days, including today.
fn days(text: &str) -> Result<i64, String> {
    let days = match text.strip_suffix('d') {
        Some(days) => days.parse().ok(),
        None => text.parse::<Span>().ok().map(|span| {
            let hours = span.get().as_secs().saturating_add(3599) / 3600;
            (hours + 23) / 24
        }),
    };
    days.filter(|days| (1..=3650).contains(days))
        .ok_or_else(|| "expected days or hours, such as 7d or 36h".to_owned())
}

fn first_day(now: Timestamp, days: i64) -> anyhow::Result<Date> {
    day_of(now)
        .checked_sub((days - 1).days())
        .context("invalid --since: too long")
}

/// The namespace of the guard that wrote the registration, if it can be read and names one.
async fn guard_namespace(client: &Client) -> String {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let live = api.get_opt(CONFIGURATION_NAME).await.ok().flatten();
    let installation = live.as_ref().and_then(Installation::of);
    installation.map_or_else(
        || DEFAULT_NAMESPACE.to_owned(),
        |installation| installation.namespace().to_owned(),
    )
}

async fn from_cluster(args: &ForecastArgs, now: Timestamp) -> anyhow::Result<Source> {
    if args.since > DAYS {
        bail!(
            "failed to look back {} days: the guards count for {DAYS}; audit lines go back further \
             (--audit-log)",
            args.since
        );
    }
    let client = client::connect(&KubeconfigSelection::from(&args.target)).await?;
    let namespace = match &args.guard_namespace {
        Some(namespace) => namespace.clone(),
        None => guard_namespace(&client).await,
    };
    let namespace = namespace.as_str();
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = api
        .get_opt(NAME)
        .await
        .map_err(ApiFailure::from)
        .with_context(|| format!("failed to get the ConfigMap {NAME} in namespace {namespace}"))?;
    let Some(map) = map else {
        bail!(
            "failed to find the ConfigMap {NAME} in namespace {namespace}: no guard has that namespace \
             for its own (--guard-namespace here, --register-service or --guard-namespace there)"
        );
    };
    let document: Document = publisher::read(&map)
        .with_context(|| format!("failed to read the ConfigMap {NAME}: not a forecast"))?;
    let counted = document.forecast();
    let mut notes = Vec::new();
    if let Some(asked) = &args.namespace {
        let is_counted = counted.rows.keys().any(|row| row.namespace == *asked);
        if !is_counted {
            notes.extend(missing_namespace(&client, asked).await?);
        }
    }
    let until = document.counted_until();
    let is_current = |until: Timestamp| now.duration_since(until) <= LAG;
    if !until.is_some_and(is_current) {
        notes.push("no guard has counted in the last minutes: is one running?".to_owned());
    }
    Ok(Source {
        counted,
        since: Some(document.since),
        until,
        unreadable: 0,
        unknown: None,
        notes,
    })
}

/// Rejects a namespace that does not exist: that nothing was counted there says nothing. A note if that is
/// unknown.
async fn missing_namespace(client: &Client, namespace: &str) -> anyhow::Result<Option<String>> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = api.get_metadata_opt(namespace).await;
    match found.map_err(ApiFailure::from) {
        Ok(Some(_)) => Ok(None),
        Ok(None) => bail!("namespace {namespace:?} does not exist"),
        Err(failure) if failure.is_forbidden() => Ok(Some(format!(
            "you may not read namespace {namespace:?}: whether it exists is unknown"
        ))),
        Err(failure) => {
            Err(failure).with_context(|| format!("failed to read namespace {namespace:?}"))
        }
    }
}

fn from_lines(files: &[PathBuf], from: Date, namespace: Option<&str>) -> anyhow::Result<Source> {
    let from = from
        .to_zoned(TimeZone::UTC)
        .context("invalid --since: too long")?
        .timestamp();
    let mut read = Read::default();
    for file in files {
        let name = file.display();
        let lines: Box<dyn BufRead> = if file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(file).with_context(|| format!("failed to open {name}"))?;
            Box::new(BufReader::new(file))
        };
        read.lines(lines, from)
            .with_context(|| format!("failed to read {name}"))?;
    }
    if read.audit_lines == 0 {
        let names: Vec<String> = files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let unreadable = match read.unreadable {
            0 => String::new(),
            lines => format!(" ({} cannot be read)", counted(lines, "line")),
        };
        bail!(
            "no audit line in {}{unreadable}: nothing is known about any request",
            names.join(", ")
        );
    }
    let unknown = namespace
        .filter(|namespace| !read.is_about(namespace))
        .map(|namespace| format!("No audit line is about namespace {namespace:?}"));
    Ok(Source {
        counted: read.forecast,
        since: read.since,
        until: read.until,
        unreadable: read.unreadable,
        unknown,
        notes: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
