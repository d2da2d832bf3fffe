//! Which decisions are sent to an alert sink.

use std::io;

use axum::{Router, extract::State, http::StatusCode};
use helm_guard_core::{
    api::Mode,
    guard::{Decided, Decision, Finding, ObjectRef, Reason, Request, Verdict},
    helm::ReleaseName,
    policy::alerts::AlertSettings,
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};

use super::{
    alerts::{
        DeliveryTiming,
        counters::Counters,
        secrets::{SecretSource, SourceFailure},
    },
    *,
};
use crate::webhook::shutdown::FINISH_TIMEOUT;

/// For a policy that needs no Secret.
#[derive(Clone)]
pub(super) struct NoSecrets;

impl SecretSource for NoSecrets {
    async fn get(&self, _name: &str) -> Result<String, SourceFailure> {
        Err("there is none".into())
    }
}

struct SinkFixture {
    recorder: Recorder,
    got: UnboundedReceiver<Value>,
}

/// A recorder whose alerts go to a sink that takes all of them.
async fn sink_fixture() -> SinkFixture {
    let (sender, got) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let take = |State(sender): State<UnboundedSender<Value>>, body: String| async move {
        sender.send(serde_json::from_str(&body).unwrap()).unwrap();
        StatusCode::OK
    };
    let router = Router::new().fallback(take).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let alerts = Alerts::new(NoSecrets, Counters::default());
    let policy = json!({"sinks": [{"name": "tickets", "type": "http", "url": url,
        "events": ["RecordsTampered"],
        "body": r#"{"summary": {{summary}}, "release": {{release}}}"#}]});
    alerts.apply(&AlertSettings::compile(&serde_json::from_value(policy).unwrap(), None).unwrap());
    let (events, _announcer) = events::queue();
    let recorder = Recorder {
        metrics: Metrics::new(Vec::new),
        audit: AuditLog::new("p-1", io::sink()),
        events,
        alerts,
        emergency_alerts: EmergencyAlerts::default(),
        forecast: Arc::default(),
        is_led: Arc::default(),
    };
    SinkFixture { recorder, got }
}

impl SinkFixture {
    async fn record(&self, reason: Reason, decision: Decision, more: Value) {
        let mut request = json!({
            "uid": "u-1", "operation": "DELETE", "namespace": "shop",
            "name": "sh.helm.release.v1.web.v3",
            "kind": {"group": "", "version": "v1", "kind": "Secret"},
            "resource": {"group": "", "version": "v1", "resource": "secrets"},
            "userInfo": {"username": "ada"},
        });
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        let request = request.to_string();
        let request: Request<'_> = serde_json::from_str(&request).unwrap();
        let object = ObjectRef {
            group: "",
            kind: "Secret",
            namespace: "shop",
            name: (&*request.name).into(),
        };
        let finding = Finding {
            apply_method: helm_guard_core::helm::record::ApplyMethod::default(),
            release: Arc::new(ReleaseName {
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
            }),
            chart: Arc::from("web-1.0.0"),
            mode: Mode::Deny,
            revisions: vec![3],
            changes: Vec::new(),
            involved: Vec::new(),
        };
        let verdict = Verdict::with_findings(reason, vec![finding]);
        let decided = Decided {
            request: &request,
            object: Some(&object),
            verdict: &verdict,
            decision,
            mode: Mode::Deny,
        };
        self.recorder.record(&decided, None, Duration::ZERO).await;
    }

    /// All that the sink has received.
    async fn received(mut self) -> Vec<Value> {
        self.recorder.close().await;
        let mut received = Vec::new();
        while let Ok(body) = self.got.try_recv() {
            received.push(body);
        }
        received
    }
}

#[test]
fn the_alert_tasks_end_before_the_process_does() {
    assert!(2 * DeliveryTiming::default().drain < FINISH_TIMEOUT);
}

#[tokio::test]
async fn a_deleted_release_history_is_alerted_once() {
    let sink_fixture = sink_fixture().await;
    for revision in 1..=3 {
        let name = json!({"name": format!("sh.helm.release.v1.web.v{revision}")});
        sink_fixture
            .record(Reason::RecordDeleted, Decision::Deny, name)
            .await;
    }
    let summary = "ada was denied changing Helm's records by hand: Delete of Secret \
                   shop/sh.helm.release.v1.web.v1";
    let expected = json!({"summary": summary, "release": "web"});
    assert_eq!(sink_fixture.received().await, [expected]);
}

#[tokio::test]
async fn tampering_is_alerted_whatever_the_decision() {
    for decision in [
        Decision::Deny,
        Decision::Warn,
        Decision::Audit,
        Decision::BreakGlass,
    ] {
        let sink_fixture = sink_fixture().await;
        let update = json!({"operation": "UPDATE"});
        sink_fixture
            .record(Reason::RecordTampered, decision, update)
            .await;
        let received = sink_fixture.received().await;
        assert_eq!(received.len(), 1, "{decision:?}");
        let summary = received[0]["summary"].as_str().unwrap();
        assert!(
            summary.ends_with("by hand: Update of Secret shop/sh.helm.release.v1.web.v3"),
            "{summary}"
        );
    }
}

#[tokio::test]
async fn a_sink_for_tampering_receives_nothing_else() {
    let sink_fixture = sink_fixture().await;
    for reason in [
        Reason::ObjectDeleted,
        Reason::NotADeployer,
        Reason::NamespaceHoldsReleases,
        Reason::HelmsOwn,
    ] {
        sink_fixture.record(reason, Decision::Deny, json!({})).await;
    }
    let dry_run = json!({"dryRun": true});
    sink_fixture
        .record(Reason::RecordDeleted, Decision::Deny, dry_run)
        .await;
    assert_eq!(sink_fixture.received().await, Vec::<Value>::new());
}
