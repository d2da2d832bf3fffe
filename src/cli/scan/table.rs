//! A scan for people: a table of the findings, and what they mean in a sentence.

use std::{collections::BTreeMap, fmt::Write};

use helm_guard_core::{
    scan::{DriftFinding, FindingSeverity, ScanReport},
    text::counted,
};
use serde_json::Value;

use crate::cli::output::{Cell, Column, Screen, Table, Tone, toned};

const COLUMNS: [Column; 10] = [
    Column::cut("RELEASE"),
    Column::cut("OBJECT"),
    Column::whole("FINDING"),
    Column::cut("FIELD"),
    Column::whole("NEXT UPGRADE"),
    Column::wide("DECLARED"),
    Column::wide("LIVE"),
    Column::wide("BY"),
    Column::wide("SINCE"),
    Column::wide("MESSAGE"),
];

/// The text.
pub(super) fn table(report: &ScanReport, screen: Screen) -> String {
    let of_releases = report.releases.iter().flat_map(|release| {
        let name = format!("{}/{}", release.namespace, release.name);
        release
            .findings
            .iter()
            .map(move |finding| row(&name, finding))
    });
    let of_orphans = report.orphans.iter().map(|orphan| {
        let name = format!("{}/{}", orphan.release_namespace, orphan.release_name);
        row(&name, &orphan.finding)
    });
    let rows: Vec<Vec<Cell>> = of_releases.chain(of_orphans).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text.push_str(&Table::new(&COLUMNS, rows).text(screen));
        text.push('\n');
    }
    for failure in &report.errors {
        let kind = failure.kind.as_deref().unwrap_or("scan");
        let line = format!("{kind}: {}", failure.message);
        let _ = write!(text, "{} ", toned(Tone::Bad, "not complete:"));
        text.push_str(&screen.wrapped("", &line));
    }
    text.push_str(&screen.wrapped("", &sentence(report)));
    text
}

fn row(release: &str, finding: &DriftFinding) -> Vec<Cell> {
    let tone = match finding.severity {
        FindingSeverity::Info => Tone::Plain,
        FindingSeverity::Low | FindingSeverity::Medium => Tone::Warning,
        FindingSeverity::High | FindingSeverity::Critical => Tone::Bad,
    };
    let object = &finding.object;
    let place = match &*object.namespace {
        "" => String::new(),
        namespace if release.starts_with(&format!("{namespace}/")) => String::new(),
        namespace => format!("{namespace}/"),
    };
    let value = |value: &Option<Value>| value.as_ref().map_or_else(String::new, Value::to_string);
    let writer = finding.writer.as_ref();
    vec![
        release.into(),
        format!("{place}{}/{}", object.kind, object.name).into(),
        Cell::toned(tone, finding.class.as_str()),
        finding.path.clone().unwrap_or_default().into(),
        finding.consequence.as_str().into(),
        value(&finding.declared).into(),
        value(&finding.live).into(),
        writer
            .map_or_else(String::new, |writer| writer.manager.clone())
            .into(),
        finding.since.clone().unwrap_or_default().into(),
        finding.message.clone().into(),
    ]
}

/// `2 releases, 31 objects: 1 in sync, 1 drifted (2 Changed, 1 Missing).`
fn sentence(report: &ScanReport) -> String {
    let summary = &report.summary;
    if summary.releases == 0 && report.orphans.is_empty() {
        return "No releases found.".to_owned();
    }
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in report.findings() {
        *classes.entry(finding.class.as_str()).or_default() += 1;
    }
    let classes = classes
        .iter()
        .map(|(class, count)| format!("{count} {class}"));
    let classes: Vec<String> = classes.collect();
    let mut text = format!(
        "{}, {}: {} in sync, {} drifted",
        counted(summary.releases, "release"),
        counted(summary.objects, "object"),
        summary.in_sync,
        summary.drifted
    );
    let pending = summary
        .releases
        .saturating_sub(summary.in_sync + summary.drifted);
    let unread = report
        .releases
        .iter()
        .filter(|release| release.findings.iter().any(DriftFinding::is_error));
    let unread = unread.count();
    if unread > 0 {
        let _ = write!(text, ", {unread} not readable");
    }
    if pending > unread {
        let _ = write!(text, ", {} in an operation", pending - unread);
    }
    if !classes.is_empty() {
        let _ = write!(text, " ({})", classes.join(", "));
    }
    text.push('.');
    if !report.complete {
        text.push_str(" Not everything could be looked at.");
    }
    text
}
