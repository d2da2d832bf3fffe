use serde_json::{Value, json};

use super::*;

fn finding(id: &str, severity: &str) -> Value {
    json!({
        "id": id, "class": "Changed", "severity": severity,
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
        "since": "2026-11-21T03:00:00Z", "consequence": "Reverted", "message": "it differs",
    })
}

fn release(name: &str, state: &str, findings: &[Value]) -> Value {
    json!({
        "namespace": "shop", "name": name, "revision": 3, "status": "deployed", "chart": "web",
        "chartVersion": "1.0.0", "state": state, "objects": 5, "findings": findings,
    })
}

/// The report of a scan that found this.
pub(crate) fn report(releases: &[Value], errors: &[Value]) -> ScanReport {
    let report = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "ScanReport", "cluster": "test",
        "scannedAt": "2026-11-21T03:12:09Z", "complete": errors.is_empty(),
        "summary": {"releases": 0, "objects": 0, "inSync": 0, "drifted": 0, "errors": 0},
        "releases": releases, "orphans": [], "errors": errors,
    });
    serde_json::from_value(report).unwrap()
}

/// One release in each state, and a kind that could not be read.
pub(crate) fn each_state() -> ScanReport {
    let releases = [
        release("clean", "InSync", &[finding("info", "Info")]),
        release("drifted", "Drifted", &[finding("a", "Medium")]),
        release("pending", "Pending", &[]),
        release("unread", "Error", &[finding("b", "Medium")]),
    ];
    report(&releases, &[json!({"message": "forbidden"})])
}

fn names_and_states(status: &DriftStatus) -> Vec<(String, Option<bool>)> {
    let found = status.view(|known, _| {
        let releases = known.releases();
        releases
            .map(|(name, release)| (name.name.clone(), release.is_drifted()))
            .collect()
    });
    found.unwrap_or_default()
}

#[test]
fn a_replica_that_does_not_lead_knows_nothing() {
    let status = DriftStatus::default();
    let leading = status.lead();
    assert!(status.view(|_, _| ()).is_none(), "nothing was scanned yet");
    status.replace(each_state(), PassFigures::default());
    assert_eq!(names_and_states(&status).len(), 4);
    drop(leading);
    assert!(status.view(|_, _| ()).is_none());
}

#[test]
fn a_release_that_could_not_be_read_has_no_state_and_is_an_error() {
    let status = DriftStatus::default();
    status.replace(each_state(), PassFigures::default());
    let expected = [
        ("clean", Some(false)),
        ("drifted", Some(true)),
        ("pending", Some(false)),
        ("unread", None),
    ];
    let expected = expected.map(|(name, state)| (name.to_owned(), state));
    assert_eq!(names_and_states(&status), expected);
    let errors = status.view(|known, _| known.errors());
    assert_eq!(errors, Some(2), "the release and the kind");
}

#[test]
fn another_scan_of_a_release_replaces_what_was_known_of_it_alone() {
    let status = DriftStatus::default();
    status.replace(each_state(), PassFigures::default());
    let scanned = ["drifted", "clean"].map(|name| ReleaseName {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    });
    let repaired = report(&[release("drifted", "InSync", &[])], &[]);
    status.update(&scanned, repaired);
    let expected = [
        ("drifted", Some(false)),
        ("pending", Some(false)),
        ("unread", None),
    ];
    let expected = expected.map(|(name, state)| (name.to_owned(), state));
    assert_eq!(names_and_states(&status), expected, "one is gone");
}

#[test]
fn drift_is_as_old_as_it_was_before() {
    let status = DriftStatus::default();
    let since = |writer: &str| {
        let mut found = finding("a", "Medium");
        found["since"] = writer.into();
        status.replace(
            report(&[release("web", "Drifted", &[found])], &[]),
            PassFigures::default(),
        );
        status
            .view(|known, _| known.releases().next().unwrap().1.since().unwrap())
            .unwrap()
            .to_string()
    };
    assert_eq!(since("2026-11-21T03:00:00Z"), "2026-11-21T03:00:00Z");
    // Somebody changed it once more.
    assert_eq!(since("2026-11-21T05:00:00Z"), "2026-11-21T03:00:00Z");
    // A clock that is ahead makes no negative age.
    status.replace(report(&[], &[]), PassFigures::default());
    assert!(!since("2999-01-01T00:00:00Z").starts_with("2999"));
}
