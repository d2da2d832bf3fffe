//! Findings as differences between the declared and the live values, object by object. Values of Secrets are redacted,
//! and long ones cut, as in the findings.

use std::fmt::Write;

use helm_guard_core::scan::{DriftFinding, ScanReport};
use serde_json::Value;

use super::table;
use crate::cli::output::{Screen, Tone, toned, yaml};

/// The text. Writing to a string cannot fail.
pub(super) fn diff(report: &ScanReport, screen: Screen) -> String {
    let mut text = String::new();
    for release in &report.releases {
        let mut last = None;
        for finding in &release.findings {
            let object = (
                &finding.object.kind,
                &finding.object.namespace,
                &finding.object.name,
            );
            if last.replace(object) != Some(object) {
                let called = format!(
                    "{} {}/{}",
                    finding.object.kind, release.namespace, finding.object.name
                );
                let of = format!("release {}, revision {}", release.name, release.revision);
                let _ = writeln!(
                    text,
                    "{}",
                    toned(Tone::Heading, &format!("--- {called} ({of})"))
                );
                let _ = writeln!(text, "{}", toned(Tone::Heading, "+++ live"));
            }
            write_finding(&mut text, finding);
        }
    }
    let without_findings = ScanReport {
        releases: report
            .releases
            .iter()
            .map(|release| helm_guard_core::scan::report::ReleaseReport {
                findings: Vec::new(),
                ..release.clone()
            })
            .collect(),
        ..report.clone()
    };
    text + &table::table(&without_findings, screen)
}

fn write_finding(text: &mut String, finding: &DriftFinding) {
    let at = finding.path.as_deref().unwrap_or("object");
    let _ = writeln!(text, "@@ {at} @@ {}", finding.class);
    match (&finding.declared, &finding.live) {
        (None, None) => {
            let _ = writeln!(text, "  {}", finding.message);
        }
        (declared, live) => {
            write_value(text, Tone::Bad, '-', declared.as_ref());
            write_value(text, Tone::Good, '+', live.as_ref());
        }
    }
}

fn write_value(text: &mut String, tone: Tone, sign: char, value: Option<&Value>) {
    let Some(value) = value else {
        return;
    };
    let shown = match value {
        Value::Object(_) | Value::Array(_) => yaml(value),
        scalar => format!("{scalar}\n"),
    };
    for line in shown.lines() {
        let line: String = line.chars().filter(|char| !char.is_control()).collect();
        let _ = writeln!(text, "{}", toned(tone, &format!("{sign}{line}")));
    }
}
