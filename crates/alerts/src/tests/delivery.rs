//! One alert: its request, and the retries.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn an_alert_arrives_with_the_headers_and_the_body_of_the_policy() {
    let mut scene = scene(|_| Reply::Status(201));
    scene.alerts.apply(&settings(json!({
        "headers": {"X-Board": "ops", "Content-Type": "application/vnd.tickets+json"},
        "body": r#"{"title": {{summary}}, "ticket": {{ticket}}}"#,
    })));
    let alert = Alert::break_glass(&change());
    scene.alerts.raise(alert.clone());
    let got = scene.next().await;
    assert_eq!(got.path, "/new");
    assert_eq!(
        got.body,
        json!({"title": alert.summary, "ticket": "INC-4711"})
    );
    let header = |name: &str| got.headers[name].to_str().unwrap();
    assert_eq!(header("x-board"), "ops");
    assert_eq!(header("content-type"), "application/vnd.tickets+json");
    assert_eq!(header("host"), "tickets.example");
    assert!(header("user-agent").starts_with("helm-guard/"));
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_for_an_hour_gets_everything_in_order_afterwards() {
    let begin = Instant::now();
    let mut scene = scene(move |_| match begin.elapsed() {
        down if down < HOUR => Reply::Status(500),
        _ => Reply::Status(200),
    });
    scene
        .alerts
        .apply(&settings(json!({"body": r#"{"key": {{key}}}"#})));
    let changes: Vec<_> = (0..50).map(numbered).collect();
    for change in &changes {
        scene.alerts.raise(Alert::break_glass(change));
    }
    assert_eq!(scene.queued(), 50);
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [50, 0, 0, 0]);
    let mut taken = Vec::new();
    let mut refused = 0;
    while let Ok(got) = scene.got.try_recv() {
        if got.at - begin < HOUR {
            refused += 1;
        } else {
            taken.push(got.body["key"].as_str().unwrap().to_owned());
        }
    }
    let keys: Vec<_> = changes
        .iter()
        .map(|change| Alert::break_glass(change).key)
        .collect();
    assert_eq!(taken, keys);
    // One attempt at a time, with backoff: at most one in half a minute.
    assert!((60..130).contains(&refused), "{refused}");
    assert!(begin.elapsed() < HOUR + Duration::from_secs(61));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_never_answers_loses_alerts_after_a_while_and_they_are_counted() {
    let scene = scene(|_| Reply::Never);
    scene.alerts.apply(&settings(json!({})));
    let begin = Instant::now();
    for number in 0..QUEUE {
        scene.alerts.raise(Alert::break_glass(&numbered(number)));
    }
    // Raising took no time, and everything is queued.
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(scene.queued(), 1024);
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [0, 1024, 0, 0]);
    let pace = DeliveryTiming::default();
    let latest = pace.keep + pace.attempt + pace.longest_wait;
    assert!(begin.elapsed() <= latest, "{:?}", begin.elapsed());
    assert!(scene.requests.load(Ordering::SeqCst) < 300);
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_does_not_fit_the_queue_is_dropped_and_counted() {
    let mut scene = scene(|_| Reply::Status(200));
    scene.alerts.apply(&settings(json!({})));
    for number in 0..QUEUE + 10 {
        scene.alerts.raise(Alert::break_glass(&numbered(number)));
    }
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [0, 0, 10, 0]);
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [1024, 0, 10, 0]);
    // A dropped alert was not sent, so it is not a duplicate later.
    while scene.got.try_recv().is_ok() {}
    let dropped = Alert::break_glass(&numbered(QUEUE + 1));
    scene.alerts.raise(dropped.clone());
    assert_eq!(scene.next().await.body["key"], dropped.key);
}

#[tokio::test(start_paused = true)]
async fn a_resolution_and_the_next_firing_are_no_duplicates() {
    let mut scene = scene(|_| Reply::Status(200));
    scene.alerts.apply(&settings(json!({})));
    let begins = of_guard(AlertKind::Suspended);
    for alert in [
        begins.clone(),
        begins.clone().resolved(),
        begins.clone(),
        begins,
    ] {
        scene.alerts.raise(alert);
    }
    for status in ["firing", "resolved", "firing"] {
        assert_eq!(scene.next().await.body["status"], status);
    }
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::Suspended), [3, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn duplicates_within_the_window_are_dropped() {
    let mut scene = scene(|_| Reply::Status(200));
    scene.alerts.apply(&settings(json!({})));
    let change = change();
    for _ in 0..3 {
        scene.alerts.raise(Alert::break_glass(&change));
    }
    // Another kind of alert about the same incident is not a duplicate.
    scene
        .alerts
        .raise(Alert::settled(&change, ChangeState::Reverted, None, at(9)));
    assert_eq!(scene.next().await.body["event"], "BreakGlass");
    assert_eq!(scene.next().await.body["event"], "Settled");
    tokio::time::advance(WINDOW).await;
    scene.alerts.raise(Alert::break_glass(&change));
    assert_eq!(scene.next().await.body["event"], "BreakGlass");
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [2, 0, 0, 2]);
    assert_eq!(scene.outcomes(AlertKind::Settled), [1, 0, 0, 0]);
}

#[rstest::rstest]
#[case::too_many(429, "120", 120)]
#[case::unavailable(503, "240", 240)]
#[case::no_more_than_five_minutes(429, "999999999", 300)]
#[case::no_less_than_the_first_wait(429, "0", 0)]
#[tokio::test(start_paused = true)]
async fn retry_after_is_respected(
    #[case] status: u16,
    #[case] wish: &'static str,
    #[case] seconds: u64,
) {
    let mut scene = scene(move |request| match request {
        0 => Reply::RetryAfter(status, wish),
        _ => Reply::Status(200),
    });
    scene.alerts.apply(&settings(json!({})));
    scene.alerts.raise(Alert::break_glass(&change()));
    let (first, second) = (scene.next().await, scene.next().await);
    let waited = second.at - first.at;
    let wished = Duration::from_secs(seconds).max(Duration::from_millis(500));
    assert!(waited >= wished, "{waited:?}");
    assert!(waited < wished + Duration::from_secs(1), "{waited:?}");
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [1, 0, 0, 0]);
}

#[rstest::rstest]
#[case::bad_request(400, 1)]
#[case::unauthorized(401, 1)]
#[case::gone(410, 1)]
#[case::redirect(302, 1)]
#[case::request_timeout(408, 2)]
#[case::too_early(425, 2)]
#[case::too_many(429, 2)]
#[case::bad_gateway(502, 2)]
#[tokio::test(start_paused = true)]
async fn only_transient_failures_are_retried(#[case] status: u16, #[case] requests: usize) {
    let mut scene = scene(move |request| match request {
        0 => Reply::Status(status),
        _ => Reply::Status(200),
    });
    scene.alerts.apply(&settings(json!({})));
    scene.alerts.raise(Alert::break_glass(&change()));
    scene.next().await;
    scene.settled().await;
    assert_eq!(scene.requests.load(Ordering::SeqCst), requests);
    let sent = u64::from(requests == 2);
    assert_eq!(
        scene.outcomes(AlertKind::BreakGlass),
        [sent, 1 - sent, 0, 0]
    );
    // The next alert is not delayed by a rejected one.
    let begin = Instant::now();
    scene.alerts.raise(Alert::break_glass(&numbered(2)));
    while scene.next().await.body["key"] != Alert::break_glass(&numbered(2)).key {}
    assert!(
        begin.elapsed() < Duration::from_millis(10),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_sink_gets_only_the_kinds_that_it_selects() {
    let mut scene = scene(|_| Reply::Status(200));
    scene
        .alerts
        .apply(&settings(json!({"events": ["Overdue"]})));
    scene.alerts.raise(Alert::break_glass(&change()));
    scene.alerts.raise(Alert::overdue(&change(), at(9)));
    assert_eq!(scene.next().await.body["event"], "Overdue");
    scene.settled().await;
    assert_eq!(scene.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn denials_above_the_rate_cause_one_alert_per_window() {
    let mut scene = scene(|_| Reply::Status(200));
    let mut settings = settings(json!({}));
    settings.denials = Some(AlertRate {
        above: 3,
        within: Span::seconds(60),
    });
    settings.runbook_url = Some("https://wiki.example/fire".to_owned());
    scene.alerts.apply(&settings);
    let alerts = scene.alerts.clone();
    let deny = |times| {
        for _ in 0..times {
            alerts.denied("jane", || change().object);
        }
    };
    deny(3);
    assert_eq!(scene.queued(), 0);
    deny(20);
    assert_eq!(scene.queued(), 1);
    let got = scene.next().await;
    assert_eq!(got.body["above"], 3);
    assert_eq!(got.body["user"], "jane");
    assert_eq!(got.body["runbook"], "https://wiki.example/fire");
    tokio::time::advance(Duration::from_secs(61)).await;
    deny(4);
    scene.next().await;
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::Denials), [2, 0, 0, 0]);
}

#[tokio::test]
async fn without_sinks_nothing_is_stored() {
    let alerts = Alerts::default();
    alerts.raise(Alert::break_glass(&change()));
    alerts.denied("jane", || panic!("nobody asks"));
    alerts.close().await;
}

#[test]
fn the_metrics_count_outcomes_per_sink() {
    let mut registry = prometheus_client::registry::Registry::default();
    let counters = Counters::default();
    counters.register(&mut registry);
    counters.count("chat", AlertKind::BreakGlass, AlertOutcome::Sent);
    counters.queued("chat").set(2);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"helm_guard_alerts_total{sink="chat",kind="BreakGlass",outcome="sent"} 1"#,
        r#"helm_guard_alerts_queued{sink="chat"} 2"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}
