//! Alerts about drift: when a release begins to have it, gets more of it, has it for long, and has none any more.
//!
//! Invariants
//! - A release that could not be read changes nothing: its drift is neither new nor gone.
//! - What was there before this replica began to lead is in one alert, because its own alerts may have been sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use helm_guard_core::{
    api::{policy::alerts::AlertKind, reported::ReportedRelease},
    helm::ReleaseName,
    text::counted,
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    record::alerts::{Alert, DriftedRelease},
    scanner::status::{KnownDrift, KnownRelease},
};

/// More releases than this that begin to have drift at the same time share an alert.
const ALONE: usize = 10;

/// Findings in an alert.
const LINES: usize = 20;

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct DriftAlerts {
    told: BTreeMap<ReleaseName, ToldRelease>,
    has_begun: bool,
}

/// What was sent about a release with drift.
#[derive(Debug)]
struct ToldRelease {
    release: ReportedRelease,
    /// The IDs of the findings.
    findings: BTreeSet<String>,
    is_over: bool,
}

impl DriftAlerts {
    /// The alerts that are due. `over` is the age of drift that raises [`AlertKind::DriftOver`].
    pub(super) fn due(
        &mut self,
        known: &KnownDrift,
        over: SignedDuration,
        now: Timestamp,
    ) -> Vec<Alert> {
        let mut alerts = Vec::new();
        let (mut begun, mut over_age) = (Vec::new(), Vec::new());
        let mut drifted = BTreeSet::new();
        for (name, release) in known.releases() {
            match release.is_drifted() {
                Some(true) => {}
                Some(false) => continue,
                None => {
                    drifted.insert(name);
                    continue;
                }
            }
            drifted.insert(name);
            let findings: BTreeSet<_> = release.drift().map(|finding| finding.id.clone()).collect();
            let is_over = release
                .since()
                .is_some_and(|since| now.duration_since(since) >= over);
            let told = self.told.get(name);
            if told.is_none_or(|told| !findings.is_subset(&told.findings)) {
                begun.push((name, release));
            }
            if is_over && told.is_none_or(|told| !told.is_over) {
                over_age.push(release);
            }
            let told = ToldRelease {
                release: reported(release),
                findings,
                is_over,
            };
            self.told.insert(name.clone(), told);
        }
        let gone: Vec<_> = self
            .told
            .keys()
            .filter(|name| !drifted.contains(name))
            .cloned()
            .collect();
        for told in gone.iter().filter_map(|name| self.told.remove(name)) {
            alerts.push(Alert::drift_is_gone(AlertKind::Drift, &told.release, now));
            if told.is_over {
                alerts.push(Alert::drift_is_gone(
                    AlertKind::DriftOver,
                    &told.release,
                    now,
                ));
            }
        }
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if begun.len() > ALONE || is_first && !begun.is_empty() {
            let names: Vec<String> = begun
                .iter()
                .map(|(name, release)| {
                    format!("{}/{} ({})", name.namespace, name.name, classes(release))
                })
                .collect();
            alerts.push(Alert::drift_of_many(&names, now));
        } else {
            let begun = begun
                .iter()
                .map(|(_, release)| alert(AlertKind::Drift, release, now));
            alerts.extend(begun);
        }
        alerts.extend(
            over_age
                .into_iter()
                .map(|release| alert(AlertKind::DriftOver, release, now)),
        );
        alerts
    }
}

fn alert(kind: AlertKind, release: &KnownRelease, now: Timestamp) -> Alert {
    let mut lines: Vec<String> = release
        .drift()
        .take(LINES)
        .map(|finding| format!("{} {}", finding.class, finding.message))
        .collect();
    let more = release.drift().count().saturating_sub(LINES);
    if more > 0 {
        lines.push(format!("and {} more", counted(more, "finding")));
    }
    let drifted = DriftedRelease {
        release: &reported(release),
        classes: &classes(release),
        lines: &lines,
        since: release.since().unwrap_or(now),
    };
    Alert::drift(kind, &drifted, now)
}

fn reported(release: &KnownRelease) -> ReportedRelease {
    let report = &release.report;
    ReportedRelease {
        namespace: report.namespace.clone(),
        name: report.name.clone(),
        chart: format!("{}-{}", report.chart, report.chart_version),
        revision: report.revision,
        server_side_apply: false,
    }
}

/// `2 Changed, 1 Missing`
fn classes(release: &KnownRelease) -> String {
    let mut text = String::new();
    for (class, count) in release.by_class() {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{count} {class}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::scanner::status::{DriftStatus, PassFigures, tests::report};

    const OVER: SignedDuration = SignedDuration::from_hours(4);

    fn at(time: &str) -> Timestamp {
        format!("2026-11-21T{time}Z").parse().unwrap()
    }

    fn finding(release: &str, field: &str) -> Value {
        json!({
            "id": format!("Changed/shop/{release}/{field}"), "class": "Changed", "severity": "Medium",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
            "since": "2026-11-21T03:00:00Z", "consequence": "Reverted", "message": field,
        })
    }

    fn release(name: &str, state: &str, findings: &[&str]) -> Value {
        let findings: Vec<_> = findings.iter().map(|field| finding(name, field)).collect();
        json!({
            "namespace": "shop", "name": name, "revision": 3, "status": "deployed", "chart": "web",
            "chartVersion": "1.0.0", "state": state, "objects": 5, "findings": findings,
        })
    }

    /// What is sent after each of these scans.
    fn told(scans: &[(&str, Vec<Value>)]) -> Vec<Vec<String>> {
        let status = DriftStatus::default();
        let _leading = status.lead();
        let mut alerts = DriftAlerts::default();
        let scans = scans.iter().map(|(time, releases)| {
            status.replace(report(releases, &[]), PassFigures::default());
            let due = status
                .view(|known, _| alerts.due(known, OVER, at(time)))
                .unwrap();
            let line = |alert: &Alert| {
                format!(
                    "{} {} {}: {}",
                    alert.status.as_str(),
                    alert.kind.as_str(),
                    alert.key,
                    alert.summary
                )
            };
            due.iter().map(line).collect()
        });
        scans.collect()
    }

    #[test]
    fn drift_is_announced_when_it_begins_grows_lasts_and_ends() {
        let clean = || release("web", "InSync", &[]);
        let sent = told(&[
            ("03:00:00", vec![clean()]),
            ("03:01:00", vec![release("web", "Drifted", &["a"])]),
            ("03:02:00", vec![release("web", "Drifted", &["a"])]),
            ("03:03:00", vec![release("web", "Drifted", &["a", "b"])]),
            // That it cannot be read says nothing.
            ("03:04:00", vec![release("web", "Error", &[])]),
            ("03:05:00", vec![release("web", "Drifted", &["a"])]),
            ("07:01:00", vec![release("web", "Drifted", &["a"])]),
            ("07:02:00", vec![release("web", "Drifted", &["a"])]),
            ("07:03:00", vec![clean()]),
            ("07:04:00", vec![clean()]),
        ]);
        let nothing = [""; 0];
        assert_eq!(sent[0], nothing);
        assert_eq!(
            sent[1],
            ["firing Drift drift/shop/web: release shop/web has drift: 1 Changed"]
        );
        assert_eq!(sent[2], nothing);
        assert_eq!(
            sent[3],
            ["firing Drift drift/shop/web: release shop/web has drift: 2 Changed"]
        );
        assert_eq!(sent[4..6], [nothing, nothing]);
        assert_eq!(
            sent[6],
            [
                "firing DriftOver drift-over/shop/web: release shop/web has had drift since 2026-11-21T03:00:00Z: 1 Changed"
            ]
        );
        assert_eq!(sent[7], nothing);
        assert_eq!(sent[8].len(), 2, "{:?}", sent[8]);
        assert!(
            sent[8].iter().all(|line| line.starts_with("resolved ")),
            "{:?}",
            sent[8]
        );
        assert_eq!(sent[9], nothing);
    }

    #[test]
    fn drift_of_many_releases_is_one_alert() {
        let drifted = |count: usize| {
            (0..count)
                .map(|number| release(&format!("r{number}"), "Drifted", &["a"]))
                .collect()
        };
        let sent = told(&[
            ("03:00:00", drifted(2)),
            ("03:01:00", drifted(2 + ALONE + 1)),
            ("03:02:00", drifted(2 + ALONE + 2)),
        ]);
        assert_eq!(
            sent[0],
            ["firing Drift drift: 2 releases have drift: shop/r0 (1 Changed), shop/r1 (1 Changed)"]
        );
        assert_eq!(sent[1].len(), 1);
        assert!(
            sent[1][0].starts_with("firing Drift drift: 11 releases have drift: "),
            "{}",
            sent[1][0]
        );
        assert_eq!(
            sent[2],
            ["firing Drift drift/shop/r13: release shop/r13 has drift: 1 Changed"]
        );
    }

    #[test]
    fn a_release_that_is_uninstalled_has_no_drift() {
        let sent = told(&[
            ("03:00:00", vec![]),
            ("03:01:00", vec![release("web", "Drifted", &["a"])]),
            ("03:02:00", vec![]),
        ]);
        assert_eq!(
            sent[2],
            ["resolved Drift drift/shop/web: release shop/web has no drift any more"]
        );
    }
}
