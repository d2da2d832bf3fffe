//! A guard that scans on the leader: it knows of drift at once, and shows it in its metrics.

use serde_json::json;
use testbed::{Guard, HelmVersion, shared};

use crate::{
    charts::myapp,
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

/// The value of a series of the release; `None` if it is absent.
fn series(guard: &Guard, scene: &Scene, name: &str, words: &str) -> Option<f64> {
    let metrics = guard.admin_get("/metrics").body;
    let namespace = format!("namespace=\"{}\"", scene.ns.name());
    let mut lines = metrics.lines();
    let line = lines.find(|line| {
        line.starts_with(&format!("{name}{{")) && line.contains(&namespace) && line.contains(words)
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

fn await_drift(guard: &Guard, scene: &Scene, expected: Option<bool>) {
    let expected = expected.map(|is_drifted| f64::from(u8::from(is_drifted)));
    eventually(&format!("helm_drift_detected is {expected:?}"), || {
        (series(guard, scene, "helm_drift_detected", "release=\"myapp\"") == expected).then_some(())
    });
}

#[test]
fn the_leader_knows_of_drift_before_the_next_full_pass() {
    let turn = Turn::take();
    let scene = Scene::new("leader-scan", HelmVersion::V3);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let guard = turn.start(Turn::config("Audit").args(["--scan-interval", "1h"]));
    await_drift(&guard, &scene, Some(false));

    scene.kubectl("scale deployment/myapp --replicas=7").quiet();
    await_drift(&guard, &scene, Some(true));
    let found = |class: &str| {
        let class = format!("class=\"{class}\"");
        series(&guard, &scene, "helm_drift_findings", &class)
    };
    assert_eq!(found("Changed"), Some(1.0));
    assert!(series(&guard, &scene, "helm_drift_age_seconds", "").is_some());

    scene.kubectl("delete service myapp").quiet();
    eventually("the deletion is known", || {
        (found("Missing") == Some(1.0)).then_some(())
    });

    // A new revision reverts it all, and the scan that follows its record says so.
    let upgrade = format!("upgrade myapp {}", chart.display());
    scene.helm(&upgrade).quiet();
    await_drift(&guard, &scene, Some(false));
    assert_eq!(found("Changed"), None);

    scene.helm("uninstall myapp").quiet();
    await_drift(&guard, &scene, None);
    assert_eq!(
        series(&guard, &scene, "helm_drift_age_seconds", ""),
        None,
        "series go with their release"
    );
}

/// Flux: `spec.storageNamespace`.
#[test]
fn a_release_whose_records_are_in_another_namespace_is_scanned_again_too() {
    let turn = Turn::take();
    let scene = Scene::new("leader-flux", HelmVersion::V3);
    let storage = shared().namespace("leader-flux-records");
    scene.install("myapp", &myapp("1.0.0"));
    let mut record = scene.get("secret sh.helm.release.v1.myapp.v1");
    record["metadata"] = json!({
        "name": record["metadata"]["name"], "labels": record["metadata"]["labels"],
        "namespace": storage.name(),
    });
    scene.kubectl("delete secret -l owner=helm").ok();
    let create = shared().kubectl().cmd(shared().admin());
    create
        .args(["create", "-f", "-"])
        .stdin(record.to_string())
        .ok();
    let guard = turn.start(Turn::config("Audit").args(["--scan-interval", "1h"]));
    await_drift(&guard, &scene, Some(false));
    scene.kubectl("scale deployment/myapp --replicas=7").quiet();
    await_drift(&guard, &scene, Some(true));
    scene.kubectl("scale deployment/myapp --replicas=3").quiet();
    await_drift(&guard, &scene, Some(false));
}
