//! Helm is killed during an operation, without a chance to record anything; and what is denied
//! while the operation runs.

use rstest::rstest;
use testbed::{HelmVersion, shared};

use super::steps::{
    WEB_IMAGE, assert_unhindered, await_image, force_conflicts, foreign_colour_is_denied,
    foreign_image_is_denied, kill, paint, release, settings, status, web,
};
use crate::{
    scene::{Scene, Screen, eventually, record_name},
    world::world,
};

const WAIT: &str = "--wait --timeout=180s";

#[rstest]
fn while_an_upgrade_waits_foreign_values_are_denied_and_it_completes(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("waiting", version);
    let chart = scene.install("web", &web());
    scene.settled("deployment/web", 1);
    let line = format!(
        "upgrade web {} {WAIT} --set image=nginx:2.0.0,hold=true",
        chart.display()
    );
    let mut helm = scene.helm(&line).spawn();
    await_image(&scene, "nginx:2.0.0");
    foreign_image_is_denied(&scene);
    scene.kubectl("delete deployment web").denied(&[]);
    release(&scene);
    assert!(helm.wait().unwrap().success());
    assert_eq!(status(&scene, "web", 2), "deployed");
    foreign_image_is_denied(&scene);
    assert_unhindered(&scene);
}

/// The upgrade times out, and rolls back while others try foreign values.
#[rstest]
#[case::helm3(HelmVersion::V3, "--atomic")]
#[case::helm4(HelmVersion::V4, "--rollback-on-failure")]
fn an_upgrade_that_times_out_is_rolled_back(#[case] version: HelmVersion, #[case] flag: &str) {
    world();
    let scene = Scene::new("gives-up", version);
    let chart = scene.install("web", &web());
    scene.settled("deployment/web", 1);
    let line = format!(
        "upgrade web {} {flag} --timeout=15s --set image=nginx:2.0.0,hold=true",
        chart.display()
    );
    let mut helm = scene.helm(&line).spawn();
    await_image(&scene, "nginx:2.0.0");
    foreign_image_is_denied(&scene);
    helm.wait().unwrap();
    assert_eq!(scene.at("deployment/web", WEB_IMAGE), "nginx:1.0.0");
    assert_eq!(status(&scene, "web", 2), "failed");
    scene.settled("deployment/web", 3);
    foreign_image_is_denied(&scene);
    assert_unhindered(&scene);
}

#[rstest]
fn a_killed_upgrade_may_be_repeated_after_its_record_is_deleted(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("killed-upgrade", version);
    let chart = scene.install("web", &web());
    let upgrade = format!("upgrade web {} --set image=nginx:2.0.0", chart.display());
    let helm = scene.helm(&format!("{upgrade},hold=true {WAIT}")).spawn();
    await_image(&scene, "nginx:2.0.0");
    kill(helm);
    assert_eq!(status(&scene, "web", 2), "pending-upgrade");
    scene.settled("deployment/web", 2);
    foreign_image_is_denied(&scene);
    let pending = record_name("web", 2);
    scene.oncall(&format!("delete secret {pending}")).ok();
    // Now the live object matches a revision whose record is gone.
    scene.settled("deployment/web", 1);
    foreign_image_is_denied(&scene);
    // Fields that only the deleted revision declared stay: Helm 3 does not know them.
    release(&scene);
    scene.helm(&format!("{upgrade} {WAIT}")).ok();
    scene.settled("deployment/web", 2);
    foreign_image_is_denied(&scene);
    assert_unhindered(&scene);
}

#[rstest]
fn a_killed_install_may_be_uninstalled_and_repeated(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("killed-install", version);
    let chart = shared().chart(&web());
    let install = format!("install web {}", chart.display());
    let helm = scene
        .helm(&format!("{install} --set hold=true {WAIT}"))
        .spawn();
    await_image(&scene, "nginx:1.0.0");
    kill(helm);
    assert_eq!(status(&scene, "web", 1), "pending-install");
    scene.settled("deployment/web", 1);
    foreign_image_is_denied(&scene);
    scene.kubectl("delete deployment web").denied(&[]);
    scene.helm("uninstall web").ok();
    assert!(!scene.holds("deployment/web"));
    scene.helm(&format!("{install} {WAIT}")).ok();
    scene.settled("deployment/web", 1);
    foreign_image_is_denied(&scene);
    assert_unhindered(&scene);
}

#[rstest]
fn a_killed_rollback_may_be_repeated_to_any_revision(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("killed-rollback", version);
    let chart = shared().chart(&web());
    let chart = chart.display();
    scene
        .helm(&format!("install web {chart} --set hold=true"))
        .ok();
    scene
        .helm(&format!("upgrade web {chart} --set image=nginx:2.0.0"))
        .ok();
    let helm = scene.helm(&format!("rollback web 1 {WAIT}")).spawn();
    await_image(&scene, "nginx:1.0.0");
    kill(helm);
    assert_eq!(status(&scene, "web", 3), "pending-rollback");
    scene.settled("deployment/web", 3);
    foreign_image_is_denied(&scene);
    scene
        .kubectl("set image deployment/web server=nginx:2.0.0")
        .quiet();
    scene
        .helm(&format!("rollback web 2 {WAIT}"))
        .args(force_conflicts(version))
        .ok();
    scene.settled("deployment/web", 4);
    foreign_image_is_denied(&scene);
    assert_unhindered(&scene);
}

/// Scenario 28: `uninstalling` allows deletes, and nothing else.
#[rstest]
fn a_killed_uninstall_may_be_repeated_and_still_denies_foreign_values(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("killed-uninstall", version);
    scene.install("settings", &settings());
    foreign_colour_is_denied(&scene, 1);
    let hold = |finalizers: &[&str]| {
        let patch = serde_json::json!({"metadata": {"finalizers": finalizers}});
        scene.patch("configmap/settings", "merge", &patch)
    };
    hold(&["example.com/hold"]).quiet();
    let helm = scene.helm(&format!("uninstall settings {WAIT}")).spawn();
    eventually("a ConfigMap that is being deleted", || {
        let deleted = scene.at("configmap/settings", "/metadata/deletionTimestamp");
        deleted.is_string().then_some(())
    });
    kill(helm);
    assert_eq!(status(&scene, "settings", 1), "uninstalling");
    paint(&scene, "foreign").denied(&[".data.colour: declared \"blue\""]);
    hold(&[]).quiet();
    assert!(!scene.holds("configmap/settings"));
    scene.helm("uninstall settings").ok();
    assert!(!scene.holds(&format!("secret/{}", record_name("settings", 1))));
    assert_unhindered(&scene);
}

/// Everything in the chart runs, except that its volume claim is never bound: the release stays pending,
/// and people look for a way to unlock it.
#[rstest]
fn a_killed_install_cannot_be_unlocked_by_hand_but_by_a_rollback_to_itself(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("unlocked", version);
    let ns = scene.ns.name();
    let claim = "\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: never-bound}
spec:
  storageClassName: there-is-none
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
";
    let chart = shared().chart(&web().template("claim.yaml", claim));
    let chart = chart.display();
    let helm = scene.helm(&format!("install web {chart} {WAIT}")).spawn();
    await_image(&scene, "nginx:1.0.0");
    kill(helm);
    assert_eq!(status(&scene, "web", 1), "pending-install");
    scene.settled("deployment/web", 1);
    foreign_image_is_denied(&scene);
    let record = record_name("web", 1);
    scene
        .kubectl(&format!(
            "label secret {record} status=deployed --overwrite"
        ))
        .denied(&[".metadata.labels.status"]);
    let raw = format!("delete --raw /api/v1/namespaces/{ns}/secrets/{record}");
    let back = format!("helm rollback web -n {ns} 1");
    let away = format!("helm uninstall web -n {ns}");
    for line in [format!("delete secret {record} --wait=false"), raw] {
        let output = scene.kubectl(&line).denied(&[&back, &away]);
        assert!(!output.says("to an earlier revision"), "{}", output.stderr);
    }
    assert!(scene.holds(&format!("secret/{record}")));
    let output = scene.helm(&format!("upgrade web {chart}")).refused();
    assert!(output.says("in progress"), "{}", output.stderr);
    scene.helm("rollback web 1").ok();
    scene.settled("deployment/web", 2);
    foreign_image_is_denied(&scene);
    // The old revision stays pending, which is harmless: it is not the newest.
    assert_eq!(status(&scene, "web", 1), "pending-install");
    scene.helm(&format!("upgrade web {chart}")).ok();
    scene.settled("deployment/web", 3);
    assert_unhindered(&scene);
}
