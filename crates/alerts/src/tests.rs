//! From a raised alert to its arrival at a sink, and the failures on the way.
//!
//! If time matters, connections are pipes in memory with a real HTTP server at the other end, so that an hour
//! passes in a moment. Sockets and certificates are tested in [`sockets`].

#![allow(
    clippy::needless_pass_by_value,
    reason = "what json! makes is passed as it is"
)]

mod server;
mod sockets;

use std::{
    convert::Infallible,
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use helm_guard_core::{
    api::{ChangeState, EmergencyChangeSpec, Span},
    policy::alerts::{Address, target::SinkAddress},
};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::DuplexStream;

use super::{
    alert::tests::{at, change},
    secrets::SourceFailure,
    *,
};

/// A request that a sink received.
#[derive(Debug)]
struct ReceivedRequest {
    at: Instant,
    host: String,
    path: String,
    headers: HeaderMap,
    body: Value,
}

/// The answer of a sink.
type Answers = Arc<dyn Fn(usize) -> Reply + Send + Sync>;

enum Reply {
    Status(u16),
    RetryAfter(u16, &'static str),
    Never,
}

/// A sink at the other end of a pipe, for any host name.
#[derive(Clone)]
struct Pipe {
    answers: Answers,
    requests: Arc<AtomicUsize>,
    got: mpsc::UnboundedSender<ReceivedRequest>,
}

impl Dial for Pipe {
    type Stream = DuplexStream;

    async fn dial(&self, target: &SinkAddress) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (pipe, host) = (self.clone(), target.host().to_owned());
        let service = hyper::service::service_fn(move |request| {
            let (pipe, host) = (pipe.clone(), host.clone());
            async move { pipe.answer(host, request).await }
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(far), service));
        Ok(near)
    }
}

impl Pipe {
    async fn answer(
        &self,
        host: String,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let got = ReceivedRequest {
            at: Instant::now(),
            host,
            path: parts.uri.to_string(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap(),
        };
        // A test may have dropped the other end already.
        let _ = self.got.send(got);
        let response = Response::builder();
        let response = match (self.answers)(self.requests.fetch_add(1, Ordering::SeqCst)) {
            Reply::Status(status) => response.status(status),
            Reply::RetryAfter(status, after) => {
                response.status(status).header(header::RETRY_AFTER, after)
            }
            Reply::Never => std::future::pending().await,
        };
        Ok(response.body(Body::empty()).unwrap())
    }
}

/// The guard's end, and what arrives at the other.
struct Scene {
    alerts: Alerts,
    counters: Counters,
    got: mpsc::UnboundedReceiver<ReceivedRequest>,
    requests: Arc<AtomicUsize>,
}

fn scene(answers: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Scene {
    scene_with(answers, |_, _| None)
}

/// The content of a Secret, given its name and the number of reads.
type SecretAnswer = dyn Fn(&str, usize) -> Option<Value> + Send + Sync;

/// A fake source of Secrets.
#[derive(Clone)]
struct Secrets {
    answer: Arc<SecretAnswer>,
    asked: Arc<AtomicUsize>,
}

impl Secrets {
    fn new(answer: impl Fn(&str, usize) -> Option<Value> + Send + Sync + 'static) -> Self {
        Self {
            answer: Arc::new(answer),
            asked: Arc::default(),
        }
    }
}

impl SecretSource for Secrets {
    async fn get(&self, name: &str) -> Result<String, SourceFailure> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let secret = (self.answer)(name, asked).ok_or("404 NotFound")?;
        Ok(secret.to_string())
    }
}

/// With this source of Secrets.
fn scene_with(
    answers: impl Fn(usize) -> Reply + Send + Sync + 'static,
    secrets: impl Fn(&str, usize) -> Option<Value> + Send + Sync + 'static,
) -> Scene {
    let (sender, got) = mpsc::unbounded_channel();
    let requests = Arc::new(AtomicUsize::new(0));
    let pipe = Pipe {
        answers: Arc::new(answers),
        requests: Arc::clone(&requests),
        got: sender,
    };
    let counters = Counters::default();
    let alerts = Alerts::over(
        pipe,
        Secrets::new(secrets),
        counters.clone(),
        DeliveryTiming::default(),
    );
    Scene {
        alerts,
        counters,
        got,
        requests,
    }
}

impl Scene {
    async fn next(&mut self) -> ReceivedRequest {
        self.got.recv().await.unwrap()
    }

    /// Sent, failed, dropped, deduplicated.
    fn outcomes(&self, kind: AlertKind) -> [u64; 4] {
        [
            AlertOutcome::Sent,
            AlertOutcome::Failed,
            AlertOutcome::Dropped,
            AlertOutcome::Deduplicated,
        ]
        .map(|outcome| self.counters.counted("tickets", kind, outcome))
    }

    fn queued(&self) -> i64 {
        self.counters.queued("tickets").get()
    }

    /// Waits until nothing is queued.
    async fn settled(&self) {
        while self.queued() > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// A policy with one sink, `tickets`, and the settings in `more`.
fn settings(more: Value) -> AlertSettings {
    let mut sink = json!({"name": "tickets", "type": "http", "url": "http://tickets.example/new"});
    for (key, value) in more.as_object().unwrap() {
        sink[key] = value.clone();
    }
    sink.as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    let alerts = json!({"sinks": [sink]});
    AlertSettings::compile(&serde_json::from_value(alerts).unwrap(), None).unwrap()
}

fn numbered(number: usize) -> EmergencyChangeSpec {
    let mut change = change();
    change.request_uid = number.to_string();
    change
}

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

fn of_guard(kind: AlertKind) -> Alert {
    Alert::of_guard(kind, "uid/7", "sink tickets removed", at(1))
}

#[rstest::rstest]
#[case::removed(AlertSettings::default())]
#[case::turned_elsewhere(settings(json!({"url": "http://elsewhere.example/"})))]
#[case::deafened(settings(json!({"events": ["Settled"]})))]
#[tokio::test(start_paused = true)]
async fn a_removed_sink_is_notified_at_its_old_address_despite_failures(
    #[case] next: AlertSettings,
) {
    let mut scene = scene(|attempt| Reply::Status(if attempt < 5 { 503 } else { 200 }));
    scene.alerts.apply(&settings(json!({})));
    let farewell = vec![of_guard(AlertKind::SinksChanged)];
    scene.alerts.replace(&next, farewell);
    for _ in 0..6 {
        let got = scene.next().await;
        assert_eq!((&*got.host, &*got.path), ("tickets.example", "/new"));
        assert_eq!(got.body["kind"], "SinksChanged");
    }
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::SinksChanged), [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_remaining_sink_is_notified_once_and_one_that_excludes_the_kind_is_not() {
    let mut scene = scene(|_| Reply::Status(200));
    let only = settings(json!({"events": ["PolicyLoosened"]}));
    scene.alerts.apply(&only);
    let farewell = [AlertKind::SinksChanged, AlertKind::PolicyLoosened].map(of_guard);
    scene.alerts.replace(&only, farewell.to_vec());
    assert_eq!(scene.next().await.body["kind"], "PolicyLoosened");
    scene.settled().await;
    assert!(scene.got.try_recv().is_err());
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
async fn shutdown_does_not_wait_for_removed_sinks() {
    let mut scene = scene(|_| Reply::Never);
    scene.alerts.apply(&settings(json!({})));
    let farewell = vec![of_guard(AlertKind::SinksChanged)];
    scene.alerts.replace(&AlertSettings::default(), farewell);
    scene.next().await;
    let begin = Instant::now();
    scene.alerts.close().await;
    assert!(
        begin.elapsed() < Duration::from_secs(5),
        "{:?}",
        begin.elapsed()
    );
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
    assert_eq!(scene.next().await.body["kind"], "BreakGlass");
    assert_eq!(scene.next().await.body["kind"], "Settled");
    tokio::time::advance(WINDOW).await;
    scene.alerts.raise(Alert::break_glass(&change));
    assert_eq!(scene.next().await.body["kind"], "BreakGlass");
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
    assert_eq!(scene.next().await.body["kind"], "Overdue");
    scene.settled().await;
    assert_eq!(scene.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn changed_settings_of_a_sink_apply_to_queued_alerts() {
    let mut scene = scene(|request| match request {
        0 => Reply::Status(500),
        _ => Reply::Status(200),
    });
    scene.alerts.apply(&settings(json!({})));
    for number in 0..3 {
        scene.alerts.raise(Alert::break_glass(&numbered(number)));
    }
    scene.next().await;
    scene
        .alerts
        .apply(&settings(json!({"url": "http://other.example/"})));
    for _ in 0..3 {
        let got = scene.next().await;
        assert_eq!(
            (got.host.as_str(), got.path.as_str()),
            ("other.example", "/")
        );
    }
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [3, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_nothing_for_a_sink_leaves_it_alone() {
    let scene = scene(|_| Reply::Status(200));
    scene.alerts.apply(&settings(json!({})));
    let before = scene.alerts.shared.route.load_full();
    scene.alerts.apply(&settings(json!({})));
    let after = scene.alerts.shared.route.load_full();
    assert!(Arc::ptr_eq(&before.lanes[0], &after.lanes[0]));
    assert!(!after.lanes[0].retire.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_removed_sink_gets_its_queued_alerts_and_nothing_more() {
    let mut scene = scene(|_| Reply::Status(200));
    scene.alerts.apply(&settings(json!({})));
    for number in 0..3 {
        scene.alerts.raise(Alert::break_glass(&numbered(number)));
    }
    scene.alerts.apply(&AlertSettings::default());
    scene.alerts.raise(Alert::break_glass(&numbered(4)));
    scene.alerts.close().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [3, 0, 0, 0]);
    assert_eq!(scene.requests.load(Ordering::SeqCst), 3);
    assert!(scene.got.try_recv().is_ok());
}

#[rstest::rstest]
#[case::refusing(|_| Reply::Status(500))]
#[case::silent(|_| Reply::Never)]
#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_sink_that_is_down(#[case] answers: fn(usize) -> Reply) {
    let scene = scene(answers);
    scene.alerts.apply(&settings(json!({})));
    for number in 0..100 {
        scene.alerts.raise(Alert::break_glass(&numbered(number)));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let begin = Instant::now();
    scene.alerts.close().await;
    let limit = 2 * DeliveryTiming::default().drain + Duration::from_millis(1);
    assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    let [sent, failed, dropped, _] = scene.outcomes(AlertKind::BreakGlass);
    assert_eq!((sent, failed + dropped, scene.queued()), (0, 100, 0));
}

fn secret(value: &str) -> Value {
    let bytes = k8s_openapi::ByteString(format!("{value}\n").into_bytes());
    json!({"type": "Opaque", "data": {"token": bytes}})
}

/// A sink with a secret header, over pipes, without TLS.
fn secretive() -> AlertSettings {
    let key = json!({"name": "alerts", "key": "token"});
    let mut settings =
        settings(json!({"url": "https://a/", "headersFrom": {"Authorization": key}}));
    let mut sink = (*settings.sinks[0]).clone();
    sink.address = Address::Known(SinkAddress::parse("http://a/").unwrap());
    settings.sinks = vec![Arc::new(sink)];
    settings
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_read_again_when_it_may_have_changed() {
    // Read once for many alerts, and again after a rejection.
    let secrets = |name: &str, asked: usize| {
        assert_eq!(name, "alerts");
        Some(secret(["old", "new"][asked.min(1)]))
    };
    let mut scene = scene_with(
        |request| Reply::Status([200, 200, 401, 200][request.min(3)]),
        secrets,
    );
    scene.alerts.apply(&secretive());
    for number in 0..3 {
        scene.alerts.raise(Alert::break_glass(&numbered(number)));
    }
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let got = scene.next().await;
        tokens.push(got.headers["authorization"].to_str().unwrap().to_owned());
    }
    assert_eq!(tokens, ["old", "old", "old", "new"]);
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [3, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_retried() {
    let secrets = |_: &str, asked: usize| match asked {
        0 => None,
        1 => Some(json!({"type": "kubernetes.io/tls", "data": {"token": "eA=="}})),
        2 => Some(json!({"type": "Opaque", "data": {"other": "eA=="}})),
        _ => Some(secret("now")),
    };
    let mut scene = scene_with(|_| Reply::Status(200), secrets);
    scene.alerts.apply(&secretive());
    scene.alerts.raise(Alert::break_glass(&change()));
    assert_eq!(scene.next().await.headers["authorization"], "now");
    scene.settled().await;
    assert_eq!(scene.outcomes(AlertKind::BreakGlass), [1, 0, 0, 0]);
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
            alerts.denied("jane", || "Deployment shop/web".to_owned());
        }
    };
    deny(3);
    assert_eq!(scene.queued(), 0);
    deny(20);
    assert_eq!(scene.queued(), 1);
    let got = scene.next().await;
    assert_eq!(got.body["details"]["above"], "3");
    assert_eq!(got.body["details"]["user"], "jane");
    assert_eq!(got.body["details"]["runbook"], "https://wiki.example/fire");
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
