//! A unified diff of declared against live: a header for each object, a hunk for each place that differs.
//!
//! - Values are whole where the scan kept them, else as the findings show them. Of a Secret, they are redacted.
//! - A text of several lines is compared line by line; everything else is shown as YAML.
//! - What has no values, such as an object without marks, is a line that starts with `#`. Nothing found is left out.
//!
//! Start at [`diff`].

mod hunk;

use std::fmt::Write;

use helm_guard_core::scan::{
    DriftFinding, FindingClass, ScanReport,
    report::{OrphanReport, ReleaseReport},
};

use self::hunk::write_hunks;
use super::{
    group::by_object,
    summary::{failure, sentence, unlisted},
    visible::one_line,
};
use crate::cli::output::{Tone, toned};

/// The text. Writing to a string cannot fail.
pub(super) fn diff(report: &ScanReport) -> String {
    let mut text = String::new();
    for release in &report.releases {
        for findings in by_object(&release.findings) {
            write_object(&mut text, release, &findings);
        }
        if let Some(more) = unlisted(release) {
            write_note(&mut text, &more);
        }
    }
    for orphan in &report.orphans {
        write_orphan(&mut text, orphan);
    }
    for one in &report.errors {
        write_note(&mut text, &format!("not complete: {}", failure(one)));
    }
    write_note(&mut text, &sentence(report));
    text
}

/// `web`, or with its namespace if that is not the object's.
fn called(release: &ReleaseReport, finding: &DriftFinding) -> String {
    if finding.object.namespace == release.namespace {
        release.name.clone()
    } else {
        format!("{}/{}", release.namespace, release.name)
    }
}

fn write_object(text: &mut String, release: &ReleaseReport, findings: &[&DriftFinding]) {
    let Some(first) = findings.first() else {
        return;
    };
    let is_missing = findings.iter().any(|finding| is_of_missing(finding));
    let declared = format!(
        "{} (release {}, revision {})",
        first.object,
        called(release, first),
        release.revision
    );
    let live = if is_missing { "(does not exist)" } else { "" };
    write_header(text, &declared, live);
    for finding in findings {
        write_finding(text, finding);
    }
}

/// Whether the object does not exist; also if an emergency change deleted it.
fn is_of_missing(finding: &DriftFinding) -> bool {
    let exact = finding.exact.as_deref();
    finding.class == FindingClass::Missing
        || exact.is_some_and(|exact| finding.path.is_none() && exact.live.is_none())
}

fn write_orphan(text: &mut String, orphan: &OrphanReport) {
    let release = format!("{}/{}", orphan.release_namespace, orphan.release_name);
    let live = orphan.finding.object.to_string();
    write_header(text, &format!("nothing (release {release})"), &live);
    write_finding(text, &orphan.finding);
}

fn write_header(text: &mut String, declared: &str, live: &str) {
    let header = [
        format!("--- declared  {declared}"),
        format!("+++ live      {live}"),
    ];
    for one in header {
        let one = one_line(one.trim_end());
        let _ = writeln!(text, "{}", toned(Tone::Heading, &one));
    }
}

fn write_finding(text: &mut String, finding: &DriftFinding) {
    let place = finding.path.as_deref().unwrap_or("the object");
    let mut heading = format!("{place}  {}", finding.class);
    if let Some(writer) = &finding.writer {
        let _ = write!(heading, " by {}", writer.manager);
    }
    if let Some(since) = &finding.since {
        let _ = write!(heading, ", since {since}");
    }
    let _ = write!(heading, "; next upgrade: {}", finding.consequence.as_str());
    if let Some(change) = &finding.emergency_change {
        let _ = write!(heading, "; emergency change {change}");
    }
    if !write_hunks(text, finding, &one_line(&heading)) {
        write_note(text, &format!("{}: {}", finding.class, finding.message));
    }
}

fn write_note(text: &mut String, note: &str) {
    let _ = writeln!(text, "# {}", one_line(note));
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use serde_json::json;

    use super::*;
    use crate::cli::scan::sample::{self, HOSTILE};

    fn plain(report: &ScanReport) -> String {
        strip_str(&diff(report)).to_string()
    }

    #[test]
    fn a_report_is_a_unified_diff() {
        insta::assert_snapshot!("diff", plain(&sample::report()));
    }

    #[test]
    fn nothing_found_is_left_out() {
        let report = sample::report();
        let text = plain(&report);
        for finding in report.findings() {
            let object = finding.object.to_string();
            assert!(text.contains(&object), "{object}");
            let place = match &finding.path {
                Some(path) => path,
                None => finding.class.as_str(),
            };
            assert!(text.contains(place), "{place}");
        }
        for one in ["not complete: Ingress", "2 further fields", "Unreadable"] {
            assert!(text.contains(one), "{one}");
        }
    }

    #[test]
    fn a_difference_of_long_texts_is_that_of_their_lines() {
        let lines = (0..10_000).map(|n| format!("line {n}\n"));
        let old = lines.collect::<Vec<_>>().concat();
        let new = old.replace("line 5000\n", "line five thousand\n");
        let finding = sample::config(&old, &new).changed(
            "Changed",
            ".data[\"nginx.conf\"]",
            (&json!(old), Some(&json!(new))),
        );
        let text = plain(&sample::of(vec![finding]));
        assert_eq!(text.lines().filter(|line| line.starts_with(' ')).count(), 6);
        assert!(
            text.contains("\n-line 5000\n+line five thousand\n"),
            "{text}"
        );
    }

    #[test]
    fn no_value_steers_the_terminal_or_forges_a_line() {
        let finding = sample::config("plain", HOSTILE).changed(
            "Changed",
            ".data[\"nginx.conf\"]",
            (&json!("plain"), Some(&json!(HOSTILE))),
        );
        let mut report = sample::of(vec![finding]);
        let finding = &mut report.releases[0].findings[0];
        finding.object.name = "web\n+++ forged".to_owned();
        finding.since = Some("now\n-forged".to_owned());
        let text = plain(&report);
        let invisible = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
        assert!(!text.contains(invisible), "{text:?}");
        assert!(
            text.contains("h\\u001b[31mi\n+j\\u009b2J\\u202ek\\|l"),
            "{text}"
        );
        assert!(
            !text
                .lines()
                .any(|line| line.starts_with("+++ forged") || line == "-forged")
        );
    }
}
