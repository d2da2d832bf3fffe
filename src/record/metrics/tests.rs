//! The text of a scrape.

use helm_guard_core::api::policy::alerts::AlertKind;

use super::*;
use crate::record::alerts::counters::AlertOutcome;

#[test]
fn a_scrape_shows_what_was_counted_and_what_is_read() {
    let metrics = Metrics::new(|| {
        let labels = vec![("name", "\"quoted\"\nlines".to_owned())];
        vec![
            Reading::gauge("open", "Open", 40_usize),
            Reading::gauge("age_seconds", "Age", Duration::from_millis(1500)),
            Reading::counter("errors", "Errors", 1_u64),
            Reading::results("reads", "Reads", 7, 0),
            Reading::info("release", "Releases", [labels.clone()]),
            Reading::gauges("deployed", "Deployed", [(labels, 1_800_000_000_u64.into())]),
        ]
    });
    metrics.took(Duration::from_micros(60));
    let text = metrics.encode().unwrap();
    for line in [
        "open 40",
        "age_seconds 1.5",
        "errors_total 1",
        r#"reads_total{result="ok"} 7"#,
        r#"reads_total{result="error"} 0"#,
        r#"release_info{name="\"quoted\"\nlines"} 1"#,
        r#"deployed{name="\"quoted\"\nlines"} 1800000000"#,
        r#"helm_guard_request_duration_seconds_bucket{le="0.0001"} 1"#,
        r#"helm_guard_request_duration_seconds_bucket{le="0.00005"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_cancelled_request_is_no_longer_in_flight() {
    let metrics = Metrics::new(Vec::new);
    let held = metrics.enter();
    let in_flight = |metrics: &Metrics, count: &str| {
        let line = format!("helm_guard_requests_in_flight {count}\n");
        metrics.encode().unwrap().contains(&line)
    };
    assert!(in_flight(&metrics, "1"));
    drop(held);
    assert!(in_flight(&metrics, "0"));
}

/// Metrics with a sample of everything: a metric without samples is not in a scrape.
pub(crate) fn with_samples(readings: Vec<Reading>) -> Metrics {
    let mut metrics = Metrics::new(move || readings.clone());
    let alerts = crate::record::alerts::counters::Counters::default();
    alerts.register(metrics.registry_mut());
    alerts.count("sink", AlertKind::Denials, AlertOutcome::Sent);
    alerts.queued("sink");
    let _ = metrics.decisions.get_or_create(&DecisionLabels {
        dry_run: "",
        operation: "",
        mode: "",
        verdict: "",
        reason: "",
    });
    let _ = metrics.exemptions.get_or_create(&ExemptionLabel {
        exemption: String::new(),
    });
    metrics.rejected("");
    metrics.break_glass_used(Operation::Update);
    metrics.persisted(true);
    metrics.emergency_changes(Some(&BTreeMap::new()));
    metrics.settled(ChangeState::Void);
    metrics
}
