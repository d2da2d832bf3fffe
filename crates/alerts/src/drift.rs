//! Alerts about drift that the leader's scans find, one for each release.
//!
//! The key is the release, so that its drift is one incident until it is gone.

use helm_guard_core::{
    api::{policy::alerts::AlertKind, reported::ReportedRelease},
    policy::alerts::template::AlertDetail,
    text::{counted, list},
};
use jiff::Timestamp;

use super::alert::Alert;

/// Names of releases in an alert about several.
const NAMES: usize = 20;

/// A release with drift.
#[derive(Clone, Copy, Debug)]
pub struct DriftedRelease<'a> {
    /// The release.
    pub release: &'a ReportedRelease,
    /// What was found, in numbers: `2 Changed, 1 Missing`.
    pub classes: &'a str,
    /// A line for each finding.
    pub lines: &'a [String],
    /// Since when the oldest of it is there.
    pub since: Timestamp,
}

impl Alert {
    /// A release has drift; `kind` is [`AlertKind::Drift`] or [`AlertKind::DriftOver`]. Active until it is resolved.
    pub fn drift(kind: AlertKind, of: &DriftedRelease<'_>, now: Timestamp) -> Self {
        let (release, classes) = (of.release, of.classes);
        let summary = match kind {
            AlertKind::DriftOver => {
                format!(
                    "release {release} has had drift since {}: {classes}",
                    of.since
                )
            }
            _ => format!("release {release} has drift: {classes}"),
        };
        let key = format!("{}/{release}", prefix(kind));
        let mut alert = Self::firing(kind, &key, &summary, now)
            .until_resolved()
            .of_release(release)
            .with_lines(of.lines);
        alert.since = of.since;
        alert
    }

    /// Several releases have drift: after the installation, after an accident, or when another replica begins to lead.
    pub fn drift_of_many(releases: &[String], now: Timestamp) -> Self {
        let have = match releases.len() {
            1 => "has",
            _ => "have",
        };
        let summary = format!(
            "{} {have} drift: {}",
            counted(releases.len(), "release"),
            list(releases, NAMES)
        );
        Self::firing(AlertKind::Drift, "drift", &summary, now)
            .with(AlertDetail::Fields, &releases.join("\n"))
    }

    /// The drift of a release is gone.
    pub fn drift_is_gone(kind: AlertKind, release: &ReportedRelease, now: Timestamp) -> Self {
        let key = format!("{}/{release}", prefix(kind));
        let summary = format!("release {release} has no drift any more");
        Self::firing(kind, &key, &summary, now)
            .of_release(release)
            .resolved()
    }
}

fn prefix(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::DriftOver => "drift-over",
        _ => "drift",
    }
}
