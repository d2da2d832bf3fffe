//! Values of Secrets in requests.

use super::*;

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
