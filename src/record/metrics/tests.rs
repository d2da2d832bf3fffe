//! The text of a scrape.

use std::fmt::Write as _;

use helm_guard_core::api::policy::alerts::AlertKind;
use jiff::Timestamp;

use super::{figures::Release, *};
use crate::record::alerts::counters::Outcome;

fn scrape(figures: Figures) -> String {
    let metrics = Metrics::new(Mode::Warn, move || figures.clone());
    metrics.took(Duration::from_micros(60));
    metrics.encode().unwrap()
}

#[test]
fn a_scrape_shows_what_the_other_rooms_know() {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let text = scrape(Figures {
        index: figures::Index {
            releases: 2,
            objects: 40,
            last_event_age: Some(Duration::from_millis(1500)),
            decode_errors: 1,
            watches: 2,
            watches_healthy: 2,
            ..figures::Index::default()
        },
        read_throughs: vec![("ok", 7), ("error", 0)],
        leaf_not_after: Some(at),
        registered: Some(true),
        releases: vec![Release {
            release: "myapp".to_owned(),
            namespace: "shop".to_owned(),
            chart: "web".to_owned(),
            chart_version: "1.2.0".to_owned(),
            app_version: "\"quoted\"\nlines".to_owned(),
            status: "deployed",
            last_deployed: Some(at),
        }],
        ..Figures::default()
    });
    for line in [
        r#"helm_guard_build_info{version="0.1.0",mode="Warn"} 1"#,
        "helm_guard_index_releases 2",
        "helm_guard_index_objects 40",
        "helm_guard_index_last_event_age_seconds 1.5",
        "helm_guard_index_decode_errors_total 1",
        "helm_guard_index_watch_healthy 1",
        r#"helm_guard_read_throughs_total{result="ok"} 7"#,
        r#"helm_guard_read_throughs_total{result="error"} 0"#,
        r#"helm_guard_certificate_not_after_timestamp_seconds{certificate="leaf"} 1800000000"#,
        "helm_guard_registered 1",
        "helm_guard_events_dropped_total 0",
        r#"helm_release_info{release="myapp",namespace="shop",chart="web",chart_version="1.2.0",app_version="\"quoted\"\nlines",status="deployed"} 1"#,
        r#"helm_release_last_deployed_timestamp{release="myapp",namespace="shop",chart="web"} 1800000000"#,
        r#"helm_guard_request_duration_seconds_bucket{le="0.0001"} 1"#,
        r#"helm_guard_request_duration_seconds_bucket{le="0.00005"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn what_is_not_known_is_left_out() {
    let text = scrape(Figures::default());
    for name in [
        "helm_guard_registered ",
        "last_event_age_seconds ",
        "certificate=",
    ] {
        assert!(!text.contains(name), "{name}\n{text}");
    }
}

#[test]
fn a_request_that_is_given_up_is_in_flight_no_more() {
    let metrics = Metrics::new(Mode::Deny, Figures::default);
    let held = metrics.enter();
    let in_flight = |metrics: &Metrics, count: &str| {
        let line = format!("helm_guard_requests_in_flight {count}\n");
        metrics.encode().unwrap().contains(&line)
    };
    assert!(in_flight(&metrics, "1"));
    drop(held);
    assert!(in_flight(&metrics, "0"));
}

/// Metrics with a sample of everything: what has none is not in a scrape.
fn with_samples() -> Metrics {
    let at = Timestamp::from_second(0).unwrap();
    let figures = Figures {
        registered: Some(true),
        policy: Some(figures::PolicyFigures {
            reloads: vec![("ok", 0)],
            ..figures::PolicyFigures::default()
        }),
        leaf_not_after: Some(at),
        index: figures::Index {
            last_event_age: Some(Duration::ZERO),
            ..figures::Index::default()
        },
        read_throughs: vec![("ok", 0)],
        certificate_reloads: vec![("ok", 0)],
        releases: vec![Release {
            last_deployed: Some(at),
            ..Release::default()
        }],
        ..Figures::default()
    };
    let mut metrics = Metrics::new(Mode::Deny, move || figures.clone());
    let alerts = crate::record::alerts::counters::Counters::default();
    alerts.register(metrics.registry_mut());
    alerts.count("sink", AlertKind::Denials, Outcome::Sent);
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
    metrics.broke_glass(Operation::Update);
    metrics.kept(true);
    metrics.emergency_changes(Some(&BTreeMap::new()));
    metrics.settled(State::Void);
    metrics
}

/// The labels of the samples of a metric.
fn labels(scrape: &str, metric: &str) -> String {
    let mut samples = scrape.lines().filter(|line| {
        let rest = line.strip_prefix(metric);
        rest.is_some_and(|rest| {
            ["{", "_total{", "_info{"]
                .iter()
                .any(|end| rest.starts_with(end))
        })
    });
    let Some((_, labels)) = samples.next().and_then(|sample| sample.split_once('{')) else {
        return String::new();
    };
    let names = labels.split(',').filter_map(|label| label.split_once('='));
    let names: Vec<_> = names.map(|(name, _)| format!("`{name}`")).collect();
    names.join(", ")
}

/// `make docs` writes it.
#[test]
fn generated_metrics_are_current() {
    let scrape = with_samples().encode().unwrap();
    let mut text = String::from(
        "<!-- Generated by `make docs`. -->\n# Metrics\n\nIn base units. A counter ends in `_total` in a scrape, an \
         info metric in `_info`. Labels never name users or objects.\n[monitoring.md](monitoring.md) says what to \
         alert on.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for help in scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP "))
    {
        let (name, help) = help.split_once(' ').unwrap();
        let kind = scrape
            .lines()
            .find_map(|line| {
                line.strip_prefix("# TYPE ")?
                    .strip_prefix(name)?
                    .strip_prefix(' ')
            })
            .unwrap();
        let labels = labels(&scrape, name);
        let help = help.trim_end_matches('.');
        writeln!(text, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        committed == text,
        "docs/metrics.md is not current: run make docs"
    );
}
