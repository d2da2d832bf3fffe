//! **`RemovedAPI`** and **Unreadable**: kinds and objects that cannot be read, or not as they are declared. And custom
//! resources, which Helm 3 upgrades without a look at them.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{Chart, HelmVersion, shared};

use super::unguarded::{INCOMPLETE, Unguarded};
use crate::{
    charts::single,
    scene::{Screen, established, eventually},
    versions::custom_resources::{chart, crd},
};

const CRD: &str = "gizmos.example.com";

fn gizmos() -> Value {
    crd("gizmos", "Gizmo", None)
}

/// The release of a custom resource, in v1beta1, and its CRD.
fn of_gizmo(stem: &str, version: HelmVersion) -> Unguarded {
    let unguarded = Unguarded::of(stem, version, &chart("Gizmo", &gizmos()));
    established(&[CRD]);
    unguarded
}

impl Unguarded {
    /// Waits until this is found: the API server needs a moment to serve what a CRD says.
    fn comes_to(&self, expected: &[&str]) {
        eventually(&format!("{expected:?}, found"), || {
            (self.found() == expected).then_some(())
        });
    }

    /// Whether v1beta1 of the custom resource is served.
    fn serve(&self, is_served: bool) {
        let served = json!([
            {"op": "test", "path": "/spec/versions/1/name", "value": "v1beta1"},
            {"op": "replace", "path": "/spec/versions/1/served", "value": is_served},
        ]);
        self.scene
            .patch(&format!("crd/{CRD}"), "json", &served)
            .ok();
    }
}

/// Helm 3 knows the types of built-in kinds only: of others, it compares the old manifest with the new one.
#[rstest]
fn a_changed_custom_resource_stays_with_helm_3_and_blocks_helm_4(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = of_gizmo("scan-custom", version);
    let size = |size: Value| {
        let patch = json!({"spec": {"size": size}});
        let gizmo = "gizmos.v1beta1.example.com/web";
        unguarded.scene.patch(gizmo, "merge", &patch).ok();
    };
    size(json!(4));
    let consequence = unguarded.either("Kept", "Blocks");
    unguarded.confirm(&[format!(
        "Changed Gizmo/web .spec.size by kubectl-patch: {consequence}"
    )]);
    if version == HelmVersion::V3 {
        size(Value::Null);
        unguarded.confirm(&["Removed Gizmo/web .spec.size: Kept"]);
        size(json!(3));
    }
    unguarded.repair();
}

#[rstest]
fn a_version_that_a_crd_no_longer_serves_blocks_every_upgrade(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = of_gizmo("scan-unserved", version);
    assert_eq!(unguarded.found(), [""; 0]);
    unguarded.serve(false);
    let removed = ["RemovedAPI Gizmo/web: Blocks"];
    unguarded.comes_to(&removed);
    unguarded.confirm(&removed);
    unguarded.serve(true);
    unguarded.comes_to(&[]);
    eventually("an upgrade once the version is served", || {
        unguarded.upgrade("").run().status.success().then_some(())
    });
}

/// A ConfigMap and a `PodDisruptionBudget`.
fn budgeted() -> Chart {
    single(BUDGETED)
}

const BUDGETED: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1}
";

/// A record from before the cluster was upgraded.
#[rstest]
#[case::of_a_kind_that_moved_on("PodDisruptionBudget", "PodDisruptionBudget/web")]
#[case::of_a_kind_that_is_gone("PodSecurityPolicy", "PodSecurityPolicy/web")]
fn an_api_that_kubernetes_removed_blocks_every_upgrade(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[case] kind: &str,
    #[case] object: &str,
) {
    let unguarded = Unguarded::of("scan-old-api", version, &budgeted());
    let scene = &unguarded.scene;
    let declare = |from: &str, to: &str| {
        scene.rewrite_record("myapp", 1, |body| {
            let manifest = body["manifest"].as_str().unwrap();
            assert!(manifest.contains(from), "{manifest}");
            body["manifest"] = json!(manifest.replace(from, to));
        });
    };
    let now = "apiVersion: policy/v1\nkind: PodDisruptionBudget\n";
    let then = format!("apiVersion: policy/v1beta1\nkind: {kind}\n");
    declare(now, &then);
    let mut expected = vec![format!("RemovedAPI {object}: Blocks")];
    if kind != "PodDisruptionBudget" {
        // That record does not declare it.
        expected.insert(0, "Orphaned PodDisruptionBudget/web: Leaked".to_owned());
    }
    unguarded.confirm(&expected);
    // As helm-mapkubeapis does.
    declare(&then, now);
    unguarded.confirm(&[""; 0]);
}

#[rstest]
fn an_object_whose_crd_is_gone_is_unreadable_and_blocks_every_upgrade(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = of_gizmo("scan-no-crd", version);
    let scene = &unguarded.scene;
    scene.kubectl(&format!("delete crd {CRD}")).ok();
    let unread = ["Unreadable Gizmo/web: Blocks", INCOMPLETE];
    unguarded.comes_to(&unread);
    unguarded.confirm(&unread);
    // The objects of a CRD go with it.
    scene
        .kubectl("create -f -")
        .stdin(gizmos().to_string())
        .ok();
    established(&[CRD]);
    unguarded.comes_to(&["Missing Gizmo/web: Recreated"]);
    eventually("an upgrade once the kind is served", || {
        unguarded.upgrade("").run().status.success().then_some(())
    });
    assert_eq!(unguarded.found(), [""; 0]);
}

/// Until its finalizers are gone, an object may still be read, but it will not stay.
#[rstest]
fn an_object_that_is_being_deleted_is_unreadable_and_then_missing(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-leaving", version);
    let scene = &unguarded.scene;
    let held = |finalizers: Value| {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        scene.patch("configmap/myapp", "merge", &patch).ok();
    };
    held(json!(["example.com/hold"]));
    scene.kubectl("delete configmap myapp --wait=false").ok();
    let unread = ["Unreadable ConfigMap/myapp: Unknown", INCOMPLETE];
    assert_eq!(unguarded.found(), unread);
    // An upgrade does not notice.
    unguarded.upgrade("").quiet();
    assert_eq!(unguarded.found(), unread);
    held(Value::Null);
    unguarded.confirm(&["Missing ConfigMap/myapp: Recreated"]);
}

#[rstest]
fn an_object_that_a_service_account_may_not_read_is_unreadable_for_it(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-forbidden", version);
    let ns = unguarded.scene.ns.name();
    let reader = shared().service_account(ns, "reader").unwrap();
    let admin = |line: &str| unguarded.scene.kubectl_as(shared().admin(), line).ok();
    let grant = |name: &str, resources: &str| {
        admin(&format!(
            "create role {name} --verb=get,list --resource={resources}"
        ));
        admin(&format!(
            "create rolebinding {name} --role={name} --serviceaccount={ns}:reader"
        ));
    };
    grant(
        "most",
        "configmaps,secrets,serviceaccounts,deployments.apps,horizontalpodautoscalers.autoscaling",
    );
    let unread = ["Unreadable Service/myapp: Unknown", INCOMPLETE];
    assert_eq!(unguarded.found_as(&reader), unread);
    grant("services", "services");
    // What it may not list either has no orphans that it knows of.
    assert_eq!(unguarded.found_as(&reader), [INCOMPLETE]);
    grant("all", "*.*");
    assert_eq!(unguarded.found_as(&reader), [""; 0]);
}
