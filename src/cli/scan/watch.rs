//! `scan --watch`: what begins and what ends, scan by scan.
//!
//! Invariant: a failed or incomplete scan prints a warning, and no finding counts as gone meanwhile.

use std::{collections::BTreeMap, pin::pin, process::ExitCode, str::FromStr, time::Duration};

use anyhow::Context;
use helm_guard_core::scan::{DriftFinding, ScanReport};
use jiff::SignedDuration;
use tokio::{signal, time::sleep};

use super::{
    ScanFormat, encoded, retain, session::ScanSession, show, summary::failure, visible::one_line,
};
use crate::cli::output::{Format, Tone, print, print_note, toned};

/// The least time between two scans: each lists all declared kinds.
const LEAST: Duration = Duration::from_secs(1);

/// The time between two scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval(Duration);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let interval = text.parse::<SignedDuration>().ok();
        let interval = interval.and_then(|interval| Duration::try_from(interval).ok());
        match interval {
            None => Err("invalid duration: expected a value such as 30s or 5m".to_owned()),
            Some(interval) if interval < LEAST => Err("less than 1s".to_owned()),
            Some(interval) => Ok(Self(interval)),
        }
    }
}

/// The findings of a scan, as a line each.
type KnownFindings = BTreeMap<String, String>;

/// Scans until it is interrupted. The exit code is that of the last scan.
pub(super) async fn watch(
    session: &ScanSession<'_>,
    Interval(pause): Interval,
) -> anyhow::Result<ExitCode> {
    let mut interrupted = pin!(signal::ctrl_c());
    let mut known: Option<KnownFindings> = None;
    let mut exit_code = ExitCode::FAILURE;
    loop {
        let scanned = tokio::select! {
            scanned = session.scan() => scanned,
            ended = &mut interrupted => return ended.map(|()| exit_code).context(NO_SIGNAL),
        };
        match scanned {
            Ok((mut report, _)) => {
                retain(&mut report, |finding| session.args.wants(finding));
                exit_code = session.args.exit_code(&report);
                known = Some(shown(session, &report, known.take())?);
            }
            // A mistake in the command does not heal.
            Err(error) if known.is_none() => return Err(error),
            Err(error) => {
                exit_code = ExitCode::FAILURE;
                print_note(&format!("warning: failed to scan: {error:#}"));
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            ended = &mut interrupted => return ended.map(|()| exit_code).context(NO_SIGNAL),
        }
    }
}

const NO_SIGNAL: &str = "failed to wait for an interrupt";

/// Shows all of the first scan, and of later ones what is new or gone. Returns what is known now.
fn shown(
    session: &ScanSession<'_>,
    report: &ScanReport,
    known: Option<KnownFindings>,
) -> anyhow::Result<KnownFindings> {
    let now = lines(report);
    let Some(mut known) = known else {
        show(session.args, report)?;
        return Ok(now);
    };
    if !report.complete {
        for one in &report.errors {
            print_note(&format!("warning: not complete: {}", failure(one)));
        }
        // What was not looked at is not gone.
        let changes = NewAndGone::between(&known, &now);
        write(
            session,
            report,
            &NewAndGone {
                gone: Vec::new(),
                ..changes
            },
        )?;
        known.extend(now);
        return Ok(known);
    }
    write(session, report, &NewAndGone::between(&known, &now))?;
    Ok(now)
}

fn write(
    session: &ScanSession<'_>,
    report: &ScanReport,
    changes: &NewAndGone<'_>,
) -> anyhow::Result<()> {
    if changes.found.is_empty() && changes.gone.is_empty() {
        return Ok(());
    }
    let text = match session.args.output {
        ScanFormat::Json => encoded(Format::Json, report)?,
        _ => changes.text(&report.scanned_at),
    };
    print(text.as_bytes())
}

/// What differs between two scans.
#[derive(Debug, Default, PartialEq, Eq)]
struct NewAndGone<'k> {
    found: Vec<&'k str>,
    gone: Vec<&'k str>,
}

impl<'k> NewAndGone<'k> {
    fn between(before: &'k KnownFindings, after: &'k KnownFindings) -> Self {
        let missing = |of: &'k KnownFindings, among: &KnownFindings| {
            let missing = of.iter().filter(|(id, _)| !among.contains_key(*id));
            missing.map(|(_, line)| &**line).collect()
        };
        Self {
            found: missing(after, before),
            gone: missing(before, after),
        }
    }
}

impl NewAndGone<'_> {
    /// A line for each, with the time of the scan.
    fn text(&self, time: &str) -> String {
        let found = self.found.iter().map(|line| (Tone::Bad, "found", line));
        let gone = self.gone.iter().map(|line| (Tone::Good, "gone", line));
        let lines = found
            .chain(gone)
            .map(|(tone, word, line)| format!("{time} {} {line}\n", toned(tone, word)));
        lines.collect()
    }
}

fn lines(report: &ScanReport) -> KnownFindings {
    let of_releases = report.releases.iter().flat_map(|release| {
        let name = format!("{}/{}", release.namespace, release.name);
        release
            .findings
            .iter()
            .map(move |finding| (name.clone(), finding))
    });
    let orphans = report.orphans.iter().map(|orphan| {
        let name = format!("{}/{}", orphan.release_namespace, orphan.release_name);
        (name, &orphan.finding)
    });
    let all = of_releases.chain(orphans);
    all.map(|(release, finding)| (finding.id.clone(), line(&release, finding)))
        .collect()
}

/// `shop/web Deployment/web Changed .spec.replicas (next upgrade: Reverted; by kubectl)`
fn line(release: &str, finding: &DriftFinding) -> String {
    let object = &finding.object;
    let path = finding
        .path
        .as_deref()
        .map_or_else(String::new, |path| format!(" {path}"));
    let writer = finding.writer.as_ref();
    let writer = writer.map_or_else(String::new, |writer| format!("; by {}", writer.manager));
    let line = format!(
        "{release} {}/{} {}{path} (next upgrade: {}{writer})",
        object.kind,
        object.name,
        finding.class.as_str(),
        finding.consequence.as_str()
    );
    one_line(&line)
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;
    use crate::cli::scan::sample;

    #[test]
    fn what_begins_and_what_ends_is_a_line_each() {
        let mut report = sample::report();
        let before = lines(&report);
        let gone = report.releases[0].findings.remove(0);
        let after = lines(&report);
        assert_eq!(NewAndGone::between(&before, &before), NewAndGone::default());
        let text = |changes: NewAndGone<'_>| strip_str(&changes.text("03:12:09Z")).to_string();
        let ended = text(NewAndGone::between(&before, &after));
        assert!(
            ended.starts_with("03:12:09Z gone pay/ledger Ledger/main "),
            "{ended}"
        );
        assert!(ended.contains(gone.class.as_str()), "{ended}");
        assert_eq!(ended.lines().count(), 1);
        let begun = text(NewAndGone::between(&after, &before));
        assert_eq!(begun, ended.replace(" gone ", " found "));
    }

    #[test]
    fn an_interval_is_a_duration_of_at_least_a_second() {
        assert_eq!("30s".parse(), Ok(Interval(Duration::from_secs(30))));
        for text in ["", "10", "500ms", "-5s", "soon"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }
}
