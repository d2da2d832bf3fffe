//! What a sink hears of decisions.

use helm_guard_core::{
    api::Mode,
    guard::{Decided, Decision, Finding, ObjectRef, Reason, Request, Verdict},
    helm::ReleaseName,
};

use crate::record::{
    Recorder, audit::AuditLog, emergency_alerts::EmergencyAlerts, events, metrics::Metrics,
};

use super::*;

struct Told {
    recorder: Recorder,
    scene: Scene,
}

fn told() -> Told {
    let scene = scene(|_| Reply::Status(200));
    scene.alerts.apply(&plan(json!({
        "events": ["RecordsTampered"],
        "body": r#"{"summary": {{summary}}, "release": {{release}}}"#,
    })));
    let (events, _announcer) = events::queue();
    let recorder = Recorder {
        metrics: Metrics::new(Mode::Deny, Vec::new),
        audit: AuditLog::new("p-1", io::sink()),
        events,
        alerts: scene.alerts.clone(),
        emergency_alerts: EmergencyAlerts::default(),
        forecast: Arc::default(),
        is_led: Arc::default(),
    };
    Told { recorder, scene }
}

impl Told {
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

    /// All that the sink was sent.
    async fn heard(&mut self) -> Vec<Value> {
        self.scene.settled().await;
        let mut heard = Vec::new();
        while let Ok(got) = self.scene.got.try_recv() {
            heard.push(got.body);
        }
        heard
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_hears_once_of_a_history_that_somebody_deletes() {
    let mut told = told();
    for revision in 1..=3 {
        let name = json!({"name": format!("sh.helm.release.v1.web.v{revision}")});
        told.record(Reason::RecordDeleted, Decision::Deny, name)
            .await;
    }
    let summary = "ada was kept from changing Helm's records by hand: Delete of Secret \
                   shop/sh.helm.release.v1.web.v1";
    let expected = json!({"summary": summary, "release": "web"});
    assert_eq!(told.heard().await, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_sink_hears_of_tampering_whatever_becomes_of_it() {
    for decision in [
        Decision::Deny,
        Decision::Warn,
        Decision::Audit,
        Decision::BreakGlass,
    ] {
        let mut told = told();
        let update = json!({"operation": "UPDATE"});
        told.record(Reason::RecordTampered, decision, update).await;
        let heard = told.heard().await;
        assert_eq!(heard.len(), 1, "{decision:?}");
        let summary = heard[0]["summary"].as_str().unwrap();
        assert!(
            summary.ends_with("by hand: Update of Secret shop/sh.helm.release.v1.web.v3"),
            "{summary}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_for_tampering_hears_of_nothing_else() {
    let mut told = told();
    for reason in [
        Reason::ObjectDeleted,
        Reason::NotADeployer,
        Reason::NamespaceHoldsReleases,
        Reason::HelmsOwn,
    ] {
        told.record(reason, Decision::Deny, json!({})).await;
    }
    let rehearsal = json!({"dryRun": true});
    told.record(Reason::RecordDeleted, Decision::Deny, rehearsal)
        .await;
    assert_eq!(told.heard().await, Vec::<Value>::new());
}
