//! Failing hooks, at each point at which a chart can have one.

use rstest::rstest;
use testbed::{Chart, HelmVersion};

use super::steps::{assert_unhindered, foreign_colour_is_denied, paint, settings, status};
use crate::{
    scene::{Scene, Screen},
    world::world,
};

/// The API server rejects it, so the hook fails at once.
const BROKEN: &str = "\
{{- if .Values.broken }}
apiVersion: v1
kind: Service
metadata:
  name: broken
  labels: {app.kubernetes.io/managed-by: '{{ .Release.Service }}'}
  annotations: {helm.sh/hook: EVENT}
spec: {type: NodePort, ports: [{port: 80, nodePort: 1}]}
{{- end }}
";

fn breaking_at(event: &str) -> Chart {
    settings()
        .values("colour: blue\nbroken: false\n")
        .template("hook.yaml", &BROKEN.replace("EVENT", event))
}

#[rstest]
fn a_release_with_a_failed_install_hook_is_guarded_and_may_be_upgraded(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("post-install", version);
    let chart = testbed::shared().chart(&breaking_at("post-install"));
    let chart = chart.display();
    scene
        .helm(&format!("install settings {chart} --set broken=true"))
        .refused();
    assert_eq!(status(&scene, "settings", 1), "failed");
    foreign_colour_is_denied(&scene, 1);
    scene
        .helm(&format!("upgrade settings {chart} --set colour=green"))
        .ok();
    foreign_colour_is_denied(&scene, 2);
    assert_unhindered(&scene);
}

#[rstest]
#[case::before("pre-upgrade", "blue")]
#[case::after("post-upgrade", "green")]
fn an_upgrade_with_a_failed_hook_leaves_two_active_revisions_and_may_be_repeated(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[case] event: &str,
    #[case] left: &str,
) {
    world();
    let scene = Scene::new(event, version);
    let chart = scene.install("settings", &breaking_at(event));
    let upgrade = format!("upgrade settings {} --set colour=green", chart.display());
    scene.helm(&format!("{upgrade},broken=true")).refused();
    assert_eq!(status(&scene, "settings", 2), "failed");
    assert_eq!(scene.at("configmap/settings", "/data/colour"), left);
    foreign_colour_is_denied(&scene, 2);
    for colour in ["blue", "green", left] {
        paint(&scene, colour).quiet();
    }
    // The last writer owns the field, so server-side apply needs the flag.
    let force = super::steps::force_conflicts(version);
    scene.helm(&upgrade).args(force).ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "green");
    foreign_colour_is_denied(&scene, 3);
    assert_unhindered(&scene);
}

/// An upgrade that fails at its end, with the flag that rolls it back.
#[rstest]
#[case::helm3(HelmVersion::V3, "--atomic --cleanup-on-fail")]
#[case::helm4(HelmVersion::V4, "--rollback-on-failure --cleanup-on-fail")]
fn an_automatic_rollback_after_the_last_hook_is_allowed(
    #[case] version: HelmVersion,
    #[case] flags: &str,
) {
    world();
    let scene = Scene::new("taken-back", version);
    let added = "\
{{- if .Values.broken }}
apiVersion: v1
kind: ConfigMap
metadata: {name: added}
{{- end }}
";
    let chart = breaking_at("post-upgrade").template("added.yaml", added);
    let chart = scene.install("settings", &chart);
    let output = scene
        .helm(&format!(
            "upgrade settings {} --set colour=green,broken=true --timeout=60s {flags}",
            chart.display()
        ))
        .refused();
    assert!(!output.says("helm-guard"), "{output:?}");
    assert_eq!(status(&scene, "settings", 2), "failed");
    assert_eq!(status(&scene, "settings", 3), "deployed");
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "blue");
    assert!(!scene.holds("configmap/added"));
    foreign_colour_is_denied(&scene, 3);
    assert_unhindered(&scene);
}

/// Helm records nothing then: the release stays pending.
#[rstest]
fn a_rollback_with_a_failed_last_hook_may_be_repeated_without_hooks(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("post-rollback", version);
    let chart = testbed::shared().chart(&breaking_at("post-rollback"));
    let chart = chart.display();
    for (verb, colour) in [("install", "blue"), ("upgrade", "green")] {
        let set = format!("--set colour={colour},broken=true");
        scene.helm(&format!("{verb} settings {chart} {set}")).ok();
    }
    scene.helm("rollback settings 1").refused();
    assert_eq!(status(&scene, "settings", 3), "pending-rollback");
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "blue");
    foreign_colour_is_denied(&scene, 3);
    scene.helm("rollback settings 1 --no-hooks").ok();
    foreign_colour_is_denied(&scene, 4);
    assert_unhindered(&scene);
}

#[rstest]
#[case::before("pre-delete", true)]
#[case::after("post-delete", false)]
fn an_uninstall_with_a_failed_hook_may_be_repeated_without_hooks(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[case] event: &str,
    #[case] still_there: bool,
) {
    world();
    let scene = Scene::new(event, version);
    let chart = testbed::shared().chart(&breaking_at(event));
    scene
        .helm(&format!(
            "install settings {} --set broken=true",
            chart.display()
        ))
        .ok();
    foreign_colour_is_denied(&scene, 1);
    let output = scene.helm("uninstall settings").run();
    assert!(!output.says("helm-guard"), "{output:?}");
    assert_eq!(scene.holds("configmap/settings"), still_there, "{output:?}");
    if still_there {
        paint(&scene, "foreign").denied(&[".data.colour: declared \"blue\""]);
    }
    scene
        .helm("uninstall settings --no-hooks --ignore-not-found")
        .ok();
    assert!(!scene.holds("configmap/settings"));
    assert_unhindered(&scene);
}

#[rstest]
fn a_failed_helm_test_leaves_the_release_deployed_and_guarded(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("test", version);
    let chart = testbed::shared().chart(&breaking_at("test"));
    let chart = chart.display();
    scene
        .helm(&format!("install settings {chart} --set broken=true"))
        .ok();
    scene.helm("test settings").refused();
    assert_eq!(status(&scene, "settings", 1), "deployed");
    foreign_colour_is_denied(&scene, 1);
    scene
        .helm(&format!("upgrade settings {chart} --set colour=green"))
        .ok();
    foreign_colour_is_denied(&scene, 2);
    assert_unhindered(&scene);
}
