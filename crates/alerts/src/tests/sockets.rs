//! Real sockets and real TLS: one server for each way in which a sink can work or fail.

use std::io::Write;

use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{
    super::{
        post::{PostError, SinkResponse, post, trust},
        worker::DeliveryTiming,
    },
    server::{Issued, issued, start, start_tls},
    *,
};

fn target(url: &str) -> SinkAddress {
    SinkAddress::parse(url).unwrap()
}

async fn posted(url: &str, trust: &Arc<ClientConfig>) -> Result<SinkResponse, PostError> {
    post(&Tcp, trust, &target(url), HeaderMap::new(), "{}".to_owned()).await
}

fn sinks(sinks: Value) -> AlertSettings {
    let alerts = json!({"sinks": sinks});
    AlertSettings::compile(&serde_json::from_value(alerts).unwrap(), None).unwrap()
}

const PATH: &str = "/services/T0/hunter2";

/// One Secret with everything that sinks need.
fn secrets(url: &str) -> Secrets {
    let value = |text: &str| json!(k8s_openapi::ByteString(text.as_bytes().to_vec()));
    let secret = json!({"type": "Opaque", "data": {
        "url": value(&format!("{url}{PATH}")),
        "key": value("r0utingk3y"),
        "token": value("Bearer t0psecret"),
    }});
    Secrets::new(move |_, _| Some(secret.clone()))
}

fn quick() -> DeliveryTiming {
    DeliveryTiming {
        attempt: Duration::from_secs(5),
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(20),
        keep: Duration::from_millis(60),
        ..DeliveryTiming::default()
    }
}

#[tokio::test]
async fn a_sink_of_each_type_gets_its_alert() {
    let mut plain = start(200).await;
    let pair = issued();
    let mut tls = start_tls(&pair, 202).await;
    let alerts = Alerts::over(Tcp, secrets(&tls.url), Counters::default(), quick());
    let key = |key: &str| json!({"name": "alerts", "key": key});
    alerts.apply(&sinks(json!([
        {"name": "am", "type": "alertmanager", "url": plain.url},
        {"name": "chat", "type": "slack", "urlFrom": key("url"), "caBundle": pair.ca},
        {"name": "pager", "type": "pagerduty", "url": format!("{}/v2/enqueue", tls.url),
            "routingKeyFrom": key("key"), "caBundle": pair.ca},
        {"name": "tickets", "type": "http", "url": format!("{}/issues", tls.url),
            "headersFrom": {"Authorization": key("token")}, "caBundle": pair.ca,
            "body": r#"{"title": "{{summary}}"}"#},
    ])));
    let alert = Alert::break_glass(&change());
    alerts.raise(alert.clone());

    let got = plain.got.recv().await.unwrap();
    assert_eq!(got.path, "/api/v2/alerts");
    assert_eq!(got.body[0]["labels"]["alertname"], "HelmGuardBreakGlass");

    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(tls.got.recv().await.unwrap());
    }
    got.sort_by(|a, b| a.path.cmp(&b.path));
    let [tickets, chat, pager] = &got[..] else {
        panic!("{got:?}");
    };
    assert_eq!(tickets.path, "/issues");
    assert_eq!(tickets.headers["authorization"], "Bearer t0psecret");
    assert_eq!(tickets.body, json!({"title": alert.summary}));
    assert_eq!(chat.path, PATH);
    assert!(chat.body["text"].as_str().unwrap().contains(&alert.summary));
    assert_eq!(pager.path, "/v2/enqueue");
    assert_eq!(pager.body["routing_key"], "r0utingk3y");
    assert_eq!(pager.body["dedup_key"], alert.key);

    alerts.close().await;
    for sink in ["am", "chat", "pager", "tickets"] {
        let sent = alerts
            .shared
            .counters
            .counted(sink, AlertKind::BreakGlass, AlertOutcome::Sent);
        assert_eq!(sent, 1, "{sink}");
    }
}

#[tokio::test]
async fn only_a_certificate_of_a_trusted_ca_for_that_host_is_accepted() {
    let pair = issued();
    let mut server = start_tls(&pair, 200).await;
    let other = issued();
    let trusting = |pair: &Issued| {
        let settings = sinks(json!([{"name": "a", "type": "slack", "url": server.url,
            "caBundle": pair.ca}]));
        trust(&settings.sinks[0].ca_bundle).unwrap()
    };
    let unknown = posted(&server.url, &trusting(&other)).await;
    assert!(
        matches!(
            unknown,
            Err(PostError::Certificate("was issued by an unknown CA"))
        ),
        "{unknown:?}"
    );
    let system = posted(&server.url, &trust(&[]).unwrap()).await;
    assert!(
        matches!(
            system,
            Err(PostError::Certificate("was issued by an unknown CA"))
        ),
        "{system:?}"
    );
    let elsewhere = server.url.replace("127.0.0.1", "localhost");
    let named = posted(&elsewhere, &trusting(&pair)).await;
    assert!(
        matches!(named, Err(PostError::Certificate("is for another name"))),
        "{named:?}"
    );
    assert!(server.got.try_recv().is_err());

    let answer = posted(&server.url, &trusting(&pair)).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut server = start(307).await;
    let alerts = Alerts::over(Tcp, secrets(""), Counters::default(), quick());
    alerts.apply(&sinks(
        json!([{"name": "a", "type": "slack", "url": server.url}]),
    ));
    alerts.raise(Alert::break_glass(&change()));
    assert_eq!(server.got.recv().await.unwrap().path, "/");
    alerts.close().await;
    let failed = alerts
        .shared
        .counters
        .counted("a", AlertKind::BreakGlass, AlertOutcome::Failed);
    assert_eq!(failed, 1);
    assert!(server.got.try_recv().is_err());
}

/// A server that reads the first bytes of a request, sends this answer, and keeps the connection open.
async fn raw(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 64];
        let _ = stream.read(&mut bytes).await;
        let _ = stream.write_all(answer).await;
        // Until the guard disconnects.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    (url, server)
}

#[rstest::rstest]
#[case::no_end(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nslowly")]
#[case::endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffff\r\nx")]
#[tokio::test]
async fn the_body_of_an_answer_is_not_waited_for(#[case] answer: &'static [u8]) {
    let (url, server) = raw(answer).await;
    let answer = posted(&url, &trust(&[]).unwrap()).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    // The connection is closed: the server reads end of file.
    server.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_an_error() {
    let endless: &'static [u8] = vec![b'x'; 64 * 1024].leak();
    for answer in [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", endless] {
        let (url, server) = raw(answer).await;
        let answer = posted(&url, &trust(&[]).unwrap()).await;
        assert!(matches!(answer, Err(PostError::Http)), "{answer:?}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_sink_that_never_answers_times_out() {
    let (url, server) = raw(b"").await;
    let pace = DeliveryTiming {
        attempt: Duration::from_millis(50),
        keep: Duration::ZERO,
        ..quick()
    };
    let counters = Counters::default();
    let alerts = Alerts::over(Tcp, secrets(""), counters.clone(), pace);
    alerts.apply(&sinks(json!([{"name": "a", "type": "slack", "url": url}])));
    alerts.raise(Alert::break_glass(&change()));
    server.await.unwrap();
    alerts.close().await;
    assert_eq!(
        counters.counted("a", AlertKind::BreakGlass, AlertOutcome::Failed),
        1
    );
}

#[tokio::test]
async fn a_refused_connection_is_an_error_without_an_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hunter2", listener.local_addr().unwrap());
    drop(listener);
    let error = posted(&url, &trust(&[]).unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to connect: connection refused");
}

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_failure_logs_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        // The fraction of a second may hold the digits of the port.
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    // With only one subscriber, a log line that another test reaches first, on a thread without a subscriber,
    // is disabled for good (`tracing_core::callsite`, `has_just_one`).
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _logging = tracing::subscriber::set_default(subscriber);
    let pair = issued();
    let other = issued();
    let refusing = start_tls(&pair, 401).await;
    let failing = start_tls(&pair, 500).await;
    let expected = [
        "sink=\"tickets\"",
        "the sink answered 401",
        "the sink answered 500",
        "was issued by an unknown CA",
    ];
    let mut text = String::new();
    // A log line that another test reaches for the first time at this very moment is disabled until the next
    // rebuild (`tracing_core::callsite`): then it is logged in the next round.
    for _ in 0..10 {
        tracing::callsite::rebuild_interest_cache();
        for (server, ca) in [(&refusing, &pair), (&failing, &pair), (&refusing, &other)] {
            let counters = Counters::default();
            let alerts = Alerts::over(Tcp, secrets(&server.url), counters.clone(), quick());
            alerts.apply(&sinks(json!([{"name": "tickets", "type": "http",
                "urlFrom": {"name": "alerts", "key": "url"}, "caBundle": ca.ca,
                "headersFrom": {"Authorization": {"name": "alerts", "key": "token"}}}])));
            alerts.raise(Alert::break_glass(&change()));
            while counters.queued("tickets").get() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let failed = counters.counted("tickets", AlertKind::BreakGlass, AlertOutcome::Failed);
            assert_eq!(failed, 1);
        }
        text = String::from_utf8(log.0.lock().clone()).unwrap();
        if expected.iter().all(|part| text.contains(part)) {
            break;
        }
    }
    for part in expected {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let port = refusing.url.rsplit(':').next().unwrap();
    for secret in ["hunter2", "t0psecret", port, "127.0.0.1"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
