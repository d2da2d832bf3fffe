//! A scan in a sentence, and what it could not look at: the same words in each format for people.

use std::{collections::BTreeMap, fmt::Write};

use helm_guard_core::{
    scan::{
        DriftFinding, ScanReport,
        report::{ReleaseReport, ScanFailure},
    },
    text::counted,
};

/// `2 releases, 31 objects: 1 in sync, 1 drifted (2 Changed, 1 Missing).`
pub(super) fn sentence(report: &ScanReport) -> String {
    let summary = &report.summary;
    let mut text = if summary.releases == 0 && report.orphans.is_empty() {
        "No releases found.".to_owned()
    } else {
        counts(report)
    };
    if !report.complete {
        text.push_str(" Not everything could be looked at.");
    }
    text
}

fn counts(report: &ScanReport) -> String {
    let summary = &report.summary;
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
    // Writing to a string cannot fail.
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
    text
}

/// `Deployment.apps in namespace shop: forbidden`
pub(super) fn failure(failure: &ScanFailure) -> String {
    let kind = failure.kind.as_deref().unwrap_or("scan");
    let place = match &failure.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    format!("{kind}{place}: {}", failure.message)
}

/// What was found of a release and is not listed, if anything.
pub(super) fn unlisted(release: &ReleaseReport) -> Option<String> {
    let more = release.more_findings;
    let fields = counted(more, "further field");
    let verb = if more == 1 { "differs" } else { "differ" };
    (more > 0).then(|| {
        format!(
            "{fields} of release {}/{} {verb} and are not listed",
            release.namespace, release.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::scan::sample;

    #[test]
    fn a_sentence_says_what_was_found_and_what_was_not_looked_at() {
        let mut report = sample::report();
        assert_eq!(
            sentence(&report),
            "3 releases, 14 objects: 1 in sync, 1 drifted, 1 not readable (3 Changed, 1 Claimed, 1 Missing, \
             1 MutatedAtAdmission, 2 Orphaned, 1 Removed, 1 Unmarked, 1 Unreadable). Not everything could be looked \
             at."
        );
        report.releases.clear();
        report.orphans.clear();
        report.summary.releases = 0;
        // That nothing was found says nothing if not everything was looked at.
        assert_eq!(
            sentence(&report),
            "No releases found. Not everything could be looked at."
        );
        report.complete = true;
        assert_eq!(sentence(&report), "No releases found.");
    }

    #[test]
    fn what_failed_and_what_is_not_listed_is_named() {
        let report = sample::report();
        assert_eq!(
            failure(&report.errors[0]),
            "Ingress.networking.k8s.io in namespace shop: ingresses is forbidden: <&>\u{1b}[31m"
        );
        let lines: Vec<_> = report.releases.iter().filter_map(unlisted).collect();
        assert_eq!(
            lines,
            ["2 further fields of release shop/web differ and are not listed"]
        );
    }
}
