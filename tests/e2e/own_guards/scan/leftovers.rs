//! **`HookLeftover`** and **Leaked**: what operations of Helm left behind.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{Chart, HelmVersion};

use super::unguarded::Unguarded;
use crate::{charts::single, scene::Screen};

/// A ConfigMap `settings`, and with the value `hook` a hook of this event that makes another one.
fn hooked(event: &str, policy: &str) -> Chart {
    let hook = HOOK.replace("EVENT", event).replace("POLICY", policy);
    single(&hook).values("hook: false\n")
}

const HOOK: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
{{- if .Values.hook }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: hook
  annotations:
    helm.sh/hook: EVENT
    helm.sh/hook-delete-policy: POLICY
{{- end }}
";

/// Verbs of somebody who may not delete the hook's object. Helm deletes no record here.
const DELETES_NOTHING: [(&str, &str); 1] =
    [("get,list,watch,create,update,patch", "configmaps,secrets")];

/// Helm 3 creates the hook's object, and fails if there is one. Helm 4 applies it, and deletes it in the end.
#[rstest]
fn a_hooks_object_that_helm_could_not_delete_is_a_leftover(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let hook = "--set hook=true";
    let chart = hooked("post-upgrade", "hook-succeeded");
    let unguarded = Unguarded::of("scan-hook", version, &chart);
    let scene = &unguarded.scene;
    unguarded.upgrade(hook).quiet();
    assert_eq!(unguarded.found(), [""; 0]);

    let deployer = unguarded.deployer(&DELETES_NOTHING);
    unguarded.upgrade_as(&deployer, hook).refused();
    assert!(scene.holds("configmap/hook"));
    let consequence = unguarded.either("Blocks", "Reverted");
    unguarded.confirm_with(
        hook,
        &[format!("HookLeftover ConfigMap/hook: {consequence}")],
    );
    if version == HelmVersion::V3 {
        scene.kubectl("delete configmap hook").ok();
        unguarded.confirm_with(hook, &[""; 0]);
    }
    assert!(!scene.holds("configmap/hook"));
}

/// Helm is killed between a hook and the deletion of its object.
#[rstest]
fn a_hook_that_is_deleted_before_it_runs_has_its_leftover_replaced(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let hook = "--set hook=true";
    let chart = hooked("post-upgrade", "'before-hook-creation,hook-succeeded'");
    let unguarded = Unguarded::of("scan-first", version, &chart);
    let scene = &unguarded.scene;
    unguarded.upgrade(hook).quiet();
    assert_eq!(unguarded.found(), [""; 0]);
    let left = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "hook", "annotations": {"helm.sh/hook": "post-upgrade"}},
    });
    scene
        .kubectl("create --field-manager=helm -f -")
        .stdin(left.to_string())
        .ok();
    unguarded.confirm_with(hook, &["HookLeftover ConfigMap/hook: Recreated"]);
    assert!(!scene.holds("configmap/hook"));
}

/// `helm test` alone runs it, so an upgrade does not come across its object.
#[rstest]
fn an_upgrade_leaves_the_object_of_a_hook_that_it_does_not_run(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let hook = "--set hook=true";
    let chart = hooked("test", "hook-succeeded");
    let unguarded = Unguarded::of("scan-test-hook", version, &chart);
    let scene = &unguarded.scene;
    unguarded.upgrade(hook).quiet();
    let deployer = unguarded.deployer(&DELETES_NOTHING);
    scene.helm_as(&deployer, "test myapp").refused();
    assert!(scene.holds("configmap/hook"));
    unguarded.confirm_with(hook, &["HookLeftover ConfigMap/hook: Kept"]);
    scene.kubectl("delete configmap hook").ok();
    assert_eq!(unguarded.found(), [""; 0]);
}

#[rstest]
fn the_object_of_a_hook_that_the_chart_dropped_is_a_leftover(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let chart = hooked("pre-upgrade", "before-hook-creation");
    let unguarded = Unguarded::of("scan-dropped-hook", version, &chart);
    let scene = &unguarded.scene;
    unguarded.upgrade("--set hook=true").quiet();
    assert!(scene.holds("configmap/hook"));
    assert_eq!(unguarded.found(), [""; 0], "it is there until the next run");
    unguarded.upgrade("").quiet();
    assert_eq!(unguarded.found(), ["HookLeftover ConfigMap/hook: Leaked"]);
    unguarded.upgrade("").quiet();
    assert!(scene.holds("configmap/hook"));
    scene.kubectl("delete configmap hook").ok();
    assert_eq!(unguarded.found(), [""; 0]);
}

/// With the value `more`, another key and another object; with `broken`, an Ingress that the API server rejects, which
/// Helm sends last.
fn leaking() -> Chart {
    single(LEAKING).values("more: false\nbroken: false\n")
}

const LEAKING: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  colour: blue
  {{- if .Values.more }}
  shape: round
  {{- end }}
{{- if .Values.more }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: more}
{{- end }}
{{- if .Values.broken }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: broken}
spec:
  rules:
    - http:
        paths:
          - path: no-leading-slash
            pathType: Prefix
            backend: {service: {name: web, port: {number: 80}}}
{{- end }}
";

/// Revision 2 has more, and fails.
fn failed(stem: &str, version: HelmVersion) -> Unguarded {
    let unguarded = Unguarded::of(stem, version, &leaking());
    unguarded.upgrade("--set more=true,broken=true").refused();
    assert!(unguarded.scene.holds("configmap/more"));
    // Both revisions are active.
    assert_eq!(
        unguarded.found(),
        ["PartiallyApplied Ingress/broken: Recreated"]
    );
    unguarded
}

/// The object, and the field: server-side apply removes what Helm no longer applies.
fn leaked(unguarded: &Unguarded) -> &'static [&'static str] {
    match unguarded.version {
        HelmVersion::V3 => &[
            "Leaked ConfigMap/more: Leaked",
            "Leaked ConfigMap/settings .data.shape by helm: Leaked",
        ],
        HelmVersion::V4 => &["Leaked ConfigMap/more: Leaked"],
    }
}

/// An upgrade compares with the newest deployed revision.
#[rstest]
#[case::after_an_upgrade(&[])]
#[case::and_after_a_later_rollback(&["rollback myapp 1"])]
fn what_a_failed_revision_added_stays(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[case] then: &[&str],
) {
    let unguarded = failed("scan-leaked", version);
    unguarded.upgrade("").quiet();
    for line in then {
        unguarded.scene.helm(line).quiet();
    }
    unguarded.confirm(leaked(&unguarded));
    unguarded.scene.kubectl("delete configmap more").ok();
    let shape = json!({"data": {"shape": null}});
    unguarded
        .scene
        .patch("configmap/settings", "merge", &shape)
        .ok();
    assert_eq!(unguarded.found(), [""; 0]);
}

/// A rollback compares with the newest revision, even if it failed.
#[rstest]
fn a_rollback_removes_what_the_failed_revision_before_it_added(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = failed("scan-rolled-back", version);
    unguarded.scene.helm("rollback myapp 1").quiet();
    assert_eq!(unguarded.found(), [""; 0]);
    assert!(!unguarded.scene.holds("configmap/more"));
    let shape = unguarded.scene.at("configmap/settings", "/data/shape");
    assert_eq!(shape, Value::Null);
}
