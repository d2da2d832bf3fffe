//! The text of a scrape.

use jiff::Timestamp;

use super::{figures::Release, *};

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
