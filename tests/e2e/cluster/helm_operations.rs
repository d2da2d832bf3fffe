//! Every operation of both Helms on their own releases is allowed.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use super::slip::force_conflicts;
use crate::{
    charts::{CONFIG_MAP, myapp, single, widgets_crd},
    scene::{Scene, Screen, eventually, verdict},
    world::{log_about, world},
};

/// No Helm request was denied or indeterminate.
fn assert_unhindered(scene: &Scene) {
    let mut lines = log_about(scene.ns.name());
    lines.retain(|line| line["target"] == "audit");
    assert_eq!(lines, Vec::<Value>::new());
}

/// Scenarios 16, 17 and 40.
#[rstest]
fn consecutive_upgrades_rollbacks_and_an_uninstall_are_allowed(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("upgrades", version);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let chart = chart.display();
    for set in [
        "image=nginx:2.1.0,colour=red",
        "image=nginx:2.1.0,colour=red",
        "image=nginx:2.2.0,colour=green,memory=256Mi,replicas=2",
        "extra=true",
        "extra=false,serviceType=NodePort",
    ] {
        scene
            .helm(&format!("upgrade myapp {chart} --set {set}"))
            .ok();
    }
    for revision in [2, 1, 4] {
        scene.helm(&format!("rollback myapp {revision}")).ok();
    }
    scene.helm("uninstall myapp").ok();
    assert!(!scene.holds("deployments,services"));
    assert_unhindered(&scene);
}

/// Scenario 17.
#[test]
fn a_helm_3_release_may_switch_to_server_side_apply() {
    world();
    let scene = Scene::new("switch", HelmVersion::V3);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let helm4 = shared().helm(HelmVersion::V4);
    let line = format!(
        "upgrade myapp {} -n {} --server-side=true --force-conflicts --set image=nginx:2.1.0",
        chart.display(),
        scene.ns
    );
    helm4
        .cmd(shared().alice())
        .args(line.split_whitespace())
        .ok();
    assert_eq!(scene.record("myapp", 2)["apply_method"], "ssa");
    assert_unhindered(&scene);
}

/// Scenario 18.
#[rstest]
#[case::helm3(HelmVersion::V3, "--force")]
#[case::helm4(HelmVersion::V4, "--force-replace --server-side=false")]
fn a_forced_upgrade_is_allowed_and_drops_additions_of_others(
    #[case] version: HelmVersion,
    #[case] flags: &str,
) {
    world();
    let scene = Scene::new("force", version);
    let chart = shared().chart(&single(CONFIG_MAP));
    let chart = chart.display();
    let client_side = match version {
        HelmVersion::V3 => "",
        HelmVersion::V4 => "--server-side=false",
    };
    scene
        .helm(&format!("install settings {chart} {client_side}"))
        .ok();
    let more = json!({"data": {"more": "1"}});
    scene.patch("configmap/settings", "merge", &more).quiet();
    scene
        .helm(&format!("upgrade settings {chart} {flags}"))
        .ok();
    assert_eq!(
        scene.at("configmap/settings", "/data"),
        json!({"colour": "blue"})
    );
    assert_unhindered(&scene);
}

/// Scenario 19: Helm patches custom resources without reading the live object.
#[rstest]
fn an_upgrade_that_keeps_old_drift_of_a_custom_resource_is_allowed(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("custom", version);
    let group = format!("{}.example.com", scene.ns);
    let manifest = |shape: &str| {
        format!(
            "apiVersion: {group}/v1
kind: Widget
metadata: {{name: one}}
spec: {{size: 2, colour: blue, shape: {shape}}}
"
        )
    };
    let chart = single(&manifest("round")).crd("widgets.yaml", &widgets_crd(&group));
    scene.install("widgets", &chart);
    let widget = format!("widgets.{group}/one");
    scene.drift(&widget, "merge", &json!({"spec": {"colour": "red"}}));
    let square = shared().chart(&single(&manifest("square")));
    scene
        .helm(&format!("upgrade widgets {}", square.display()))
        .args(force_conflicts(version))
        .ok();
    assert_eq!(scene.at(&widget, "/spec/shape"), "square");
    scene.settled(&widget, 2);
    scene
        .patch(&widget, "merge", &json!({"spec": {"shape": "oval"}}))
        .denied(&[".spec.shape: declared \"square\""]);
    scene.helm("uninstall widgets").ok();
    scene
        .kubectl(&format!("delete customresourcedefinition widgets.{group}"))
        .ok();
}

/// Scenario 20.
#[rstest]
fn an_upgrade_deletes_objects_removed_from_the_chart_except_kept_ones(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("prune", version);
    let dropped = CONFIG_MAP.replace("settings", "dropped");
    let kept = CONFIG_MAP.replace(
        "{name: settings}",
        "{name: kept, annotations: {helm.sh/resource-policy: keep}}",
    );
    scene.install(
        "settings",
        &single(&format!("{CONFIG_MAP}---\n{dropped}---\n{kept}")),
    );
    scene.settled("configmap/dropped", 1);
    scene.kubectl("delete configmap kept").denied(&[]);
    let less = shared().chart(&single(CONFIG_MAP));
    scene
        .helm(&format!("upgrade settings {}", less.display()))
        .ok();
    assert!(!scene.holds("configmap/dropped"));
    assert!(scene.holds("configmap/kept"));
    scene.settled("configmap/settings", 2);
    scene.kubectl("delete configmap kept").quiet();
}

/// Scenario 22.
#[rstest]
fn cleanup_on_fail_is_allowed_after_a_failed_upgrade(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("cleanup", version);
    let chart = scene.install("myapp", &myapp("1.0.0"));
    let chart = chart.display();
    let output = scene
        .helm(&format!(
            "upgrade myapp {chart} --cleanup-on-fail --set broken=true,extra=true"
        ))
        .refused();
    assert!(!output.says("helm-guard"), "{output:?}");
    assert_eq!(scene.record("myapp", 2)["info"]["status"], "failed");
    assert!(!scene.holds("configmap/myapp-extra"));
    assert!(scene.holds("configmap/myapp"));
    assert_unhindered(&scene);
}

/// Scenario 25: after a rollback that failed no revision is deployed.
#[rstest]
fn after_a_failed_rollback_helm_may_continue_and_others_are_denied(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("no-deployed", version);
    let green = CONFIG_MAP.replace("blue", "green");
    let service = "\
apiVersion: v1
kind: Service
metadata: {name: extra}
spec: {ports: [{port: 80}], selector: {app: extra}}
";
    let extra = CONFIG_MAP.replace("settings", "extra");
    scene.install(
        "settings",
        &single(&format!("{CONFIG_MAP}---\n{extra}---\n{service}")),
    );
    let less = shared().chart(&single(&green));
    let upgrade = format!("upgrade settings {}", less.display());
    scene.helm(&upgrade).ok();
    // From now on the API server rejects the Service that revision 1 declares.
    scene
        .kubectl("create quota no-services --hard=services=0")
        .ok();
    eventually("a quota in force", || {
        (scene.at("resourcequota/no-services", "/status/hard/services") == "0").then_some(())
    });
    scene
        .helm("rollback settings 1 --cleanup-on-fail")
        .refused();
    let status = |revision| scene.record("settings", revision)["info"]["status"].clone();
    assert_eq!(status(2), "superseded");
    assert_eq!(status(3), "failed");
    assert!(!scene.holds("service/extra"));
    assert!(!scene.holds("configmap/extra"));

    scene.settled("configmap/settings", 3);
    let set = |colour: &str| {
        let patch = json!({"data": {"colour": colour}});
        scene.patch("configmap/settings", "merge", &patch)
    };
    set("red").denied(&["(revisions 3, 2, "]);
    set("green").quiet();
    set("blue").quiet();
    scene.helm(&upgrade).args(force_conflicts(version)).ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "green");
    assert_unhindered_but_for(&scene, 1);
}

fn assert_unhindered_but_for(scene: &Scene, denials: usize) {
    let mut lines = log_about(scene.ns.name());
    lines.retain(|line| line["target"] == "audit");
    assert_eq!(lines.len(), denials, "{lines:?}");
}

/// Scenario 26.
#[rstest]
fn a_rollback_with_a_failed_hook_leaves_a_guarded_pending_release(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("stuck", version);
    let hook = "\
apiVersion: v1
kind: Service
metadata:
  name: broken
  annotations: {helm.sh/hook: pre-rollback}
spec: {type: NodePort, ports: [{port: 80, nodePort: 1}]}
";
    let chart = single(CONFIG_MAP).template("hook.yaml", hook);
    scene.install("settings", &chart);
    let green = single(&CONFIG_MAP.replace("blue", "green")).template("hook.yaml", hook);
    let green = shared().chart(&green);
    scene
        .helm(&format!("upgrade settings {}", green.display()))
        .ok();
    scene.helm("rollback settings 1").refused();
    assert_eq!(
        scene.record("settings", 3)["info"]["status"],
        "pending-rollback"
    );
    scene.settled("configmap/settings", 3);
    let set = |colour: &str| {
        let patch = json!({"data": {"colour": colour}});
        scene.patch("configmap/settings", "merge", &patch)
    };
    set("red").denied(&["(revisions 3, 2, "]);
    set("blue").quiet();
    set("green").quiet();
    scene
        .helm("rollback settings 1 --no-hooks")
        .args(force_conflicts(version))
        .ok();
    assert_eq!(scene.at("configmap/settings", "/data/colour"), "blue");
}

/// Charts put Helm's label on their hooks, so the guard sees their creation and deletion: scenarios 27, 32 and
/// 38.
const HOOKS: &str = "\
{{- range $hook := list \"pre-upgrade\" \"pre-delete\" \"test\" }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: '{{ $hook }}'
  labels: {app.kubernetes.io/managed-by: '{{ $.Release.Service }}'}
  annotations:
    helm.sh/hook: '{{ $hook }}'
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: hook, image: hook}]
{{- end }}
";

/// Scenarios 27, 32 and 38.
#[rstest]
fn labeled_hooks_may_be_deleted_and_recreated_at_any_time(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("hooks", version);
    let chart = single(CONFIG_MAP).template("hooks.yaml", HOOKS);
    let chart = scene.install("settings", &chart);
    let chart = chart.display();
    for _ in 0..2 {
        scene
            .helm(&format!("upgrade settings {chart} --timeout=90s"))
            .ok();
        scene.helm("test settings --timeout=90s").ok();
    }
    scene.settled("configmap/settings", 3);
    scene.kubectl("delete job test").quiet();
    // A Job of that name from an earlier, interrupted uninstall.
    scene.kubectl("create job pre-delete --image=hook").ok();
    scene
        .kubectl("label job pre-delete app.kubernetes.io/managed-by=Helm")
        .ok();
    scene.helm("uninstall settings --timeout=90s").ok();
    assert!(!scene.holds("configmap/settings"));
    assert_unhindered(&scene);
}

/// Scenario 30: Helm only logs that it failed to record the start of an uninstall.
#[rstest]
fn an_uninstall_without_the_right_to_write_records_is_denied(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("no-records", version);
    scene.install("settings", &single(CONFIG_MAP));
    scene.settled("configmap/settings", 1);
    let ns = scene.ns.name();
    let user = format!("intern-{ns}");
    let admin = |line: &str| scene.kubectl_as(shared().admin(), line);
    admin("create role intern --verb=get,list,delete --resource=configmaps").ok();
    admin("create role intern-reads --verb=get,list --resource=secrets").ok();
    for role in ["intern", "intern-reads"] {
        admin(&format!(
            "create rolebinding {role} --role={role} --user={user}"
        ))
        .ok();
    }
    let intern = shared().user(&user, &[]).unwrap();
    // Helm only prints that it failed.
    scene.helm_as(&intern, "uninstall settings").refused();
    let verdict = verdict(&user, "delete", ("configmaps", ns, "settings"));
    assert_eq!(verdict.decision, "denied");
    assert!(scene.holds("configmap/settings"));
    assert_eq!(scene.record("settings", 1)["info"]["status"], "deployed");
}

/// A chart with everything that `helm create` generates.
#[rstest]
fn the_life_cycle_of_a_helm_create_chart_is_allowed(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("created", version);
    let chart = shared().created_chart(version, "web");
    let chart = chart.display();
    scene
        .helm(&format!("install web {chart} --wait --timeout=90s"))
        .ok();
    for set in [
        "autoscaling.enabled=true,autoscaling.minReplicas=2",
        "ingress.enabled=true,replicaCount=2",
    ] {
        scene
            .helm(&format!("upgrade web {chart} --set {set}"))
            .args(force_conflicts(version))
            .ok();
    }
    scene.helm("test web --timeout=90s").ok();
    scene
        .helm("rollback web 1")
        .args(force_conflicts(version))
        .ok();
    scene.helm("uninstall web --wait --timeout=90s").ok();
    assert_unhindered(&scene);
}
