//! Two processes of the guard behind one Service: one certificate, one registration, and no lost call if
//! the certificate's Secret is deleted.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{Guard, HelmVersion};
use tokio::runtime::Runtime;

use super::{
    caller::REGISTRATION,
    flood::counted,
    service::{Service, config_maps},
};
use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually, within},
    turn::Turn,
};

const SECRET: &str = "secret/helm-guard-tls";

/// The number of denials that this replica has answered.
fn denials(guard: &Guard) -> f64 {
    let metrics = guard.admin_get("/metrics").body;
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("helm_guard_decisions_total{") && line.contains("denied"));
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum()
}

fn corrections(guard: &Guard) -> usize {
    let said = |line: &&Value| line["message"] == "corrected the webhook registration";
    guard.log().iter().filter(said).count()
}

fn try_to_drift(scene: &Scene) {
    let red = json!({"data": {"colour": "red"}});
    scene
        .patch("configmap/settings", "merge", &red)
        .denied(&[".data.colour"]);
}

/// Sixteen times, all under way together, so that each replica is called.
fn try_to_drift_at_once(scene: &Scene) {
    let red = json!({"data": {"colour": "red"}});
    let params = PatchParams::default();
    Runtime::new().unwrap().block_on(async {
        let config_maps = config_maps(scene).await;
        let patch = Patch::Merge(&red);
        let attempts = (0..16).map(|_| config_maps.patch("settings", &params, &patch));
        for answer in join_all(attempts).await {
            let error = answer.unwrap_err().to_string();
            assert!(error.contains(".data.colour"), "{error}");
        }
    });
}

fn edit_registration(scene: &Scene) {
    let edit = json!([{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 1}]);
    scene.patch(REGISTRATION, "json", &edit).ok();
    eventually("a corrected registration", || {
        (scene.at(REGISTRATION, "/webhooks/0/timeoutSeconds") == 3).then_some(())
    });
}

#[test]
fn both_replicas_answer_and_only_the_leader_writes_the_registration() {
    let turn = Turn::take();
    let scene = Scene::new("replicas", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let service = Service::new(&scene, "Deny");
    let first = service.start(&turn, "first");
    scene.settled("configmap/settings", 1);
    let before = counted(&scene, "fail_open_count");
    let second = service.start(&turn, "second");
    within(Duration::from_secs(60), "denials of both replicas", || {
        try_to_drift_at_once(&scene);
        (denials(&first) > 0.5 && denials(&second) > 0.5).then_some(())
    });

    edit_registration(&scene);
    let both = [corrections(&first), corrections(&second)];
    assert_eq!(both, [1, 0], "the first one leads");
    service.stop(first, "first");
    edit_registration(&scene);
    assert_eq!(corrections(&second), 1, "the second one leads now");
    try_to_drift(&scene);
    assert!((counted(&scene, "fail_open_count") - before).abs() < 0.5);
    service.stop(second, "second");
    scene.kubectl(&format!("delete {REGISTRATION}")).ok();
}

/// The certificate that the replicas share.
fn certificate(scene: &Scene) -> Option<Value> {
    let secret = scene.kubectl(&format!("get {SECRET} -o json --ignore-not-found"));
    let secret = secret.ok().stdout;
    let secret: Value = serde_json::from_str(&secret).ok()?;
    let certificate = secret.pointer("/data/tls.crt")?.clone();
    (certificate != "").then_some(certificate)
}

/// Deletes the Secret and waits for another certificate in it. A replica that is about to serve a new
/// certificate reads the Secret again only then, a minute later.
fn delete_certificate(scene: &Scene) {
    let before = certificate(scene);
    scene.kubectl(&format!("delete {SECRET}")).ok();
    within(Duration::from_secs(120), "a new certificate", || {
        certificate(scene).filter(|new| Some(new) != before.as_ref())
    });
}

#[test]
fn deleting_the_certificate_secret_loses_no_call_of_any_replica() {
    let turn = Turn::take();
    let scene = Scene::new("deleted-secret", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let service = Service::new(&scene, "Deny");
    let first = service.start(&turn, "first");
    let second = service.start(&turn, "second");
    scene.settled("configmap/settings", 1);
    let before = counted(&scene, "fail_open_count");
    let (ended, writes) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|threads| {
        threads.spawn(|| {
            while !ended.load(SeqCst) {
                try_to_drift(&scene);
                writes.fetch_add(1, SeqCst);
            }
        });
        // Twice before the first new certificate is served, and once while a replica is stopped that
        // restarts with a certificate that the other one does not know.
        delete_certificate(&scene);
        delete_certificate(&scene);
        service.stop(second, "second");
        scene.kubectl(&format!("delete {SECRET}")).ok();
        let second = service.start(&turn, "second");
        let shared = certificate(&scene);
        within(
            Duration::from_secs(240),
            "one certificate served by both",
            || {
                let served = |guard: &Guard| {
                    let line = |line: &Value| line["message"] == "serving a new certificate";
                    guard.log().iter().filter(|found| line(found)).count()
                };
                (served(&first) >= 2 && certificate(&scene) == shared).then_some(())
            },
        );
        ended.store(true, SeqCst);
        service.stop(second, "second");
    });
    assert!(writes.load(SeqCst) > 20);
    assert!((counted(&scene, "fail_open_count") - before).abs() < 0.5);
    service.stop(first, "first");
    scene.kubectl(&format!("delete {REGISTRATION}")).ok();
}
