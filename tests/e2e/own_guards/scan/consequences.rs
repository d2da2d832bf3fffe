//! **Removed** and **Changed**: what the next upgrade does about fields of each sort, with both Helms.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::HelmVersion;

use super::unguarded::Unguarded;
use crate::scene::Screen;

/// A field that is gone has no owner, so server-side apply has no conflict.
#[rstest]
fn a_removed_field_comes_back_with_the_next_upgrade(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-removed", version);
    let server = "/spec/template/spec/containers/0";
    let removals: [(&str, &str, Value, &str); 4] = [
        (
            "configmap/myapp",
            "merge",
            json!({"data": {"colour": null}}),
            "ConfigMap/myapp .data.colour",
        ),
        (
            "deployment/myapp",
            "json",
            json!([{"op": "remove", "path": format!("{server}/args")}]),
            "Deployment/myapp .spec.template.spec.containers[name=server].args",
        ),
        (
            "deployment/myapp",
            "json",
            json!([{"op": "remove", "path": format!("{server}/env/0")}]),
            "Deployment/myapp .spec.template.spec.containers[name=server].env[name=COLOUR]",
        ),
        (
            "deployment/myapp",
            "json",
            json!([{"op": "remove", "path": format!("{server}/resources/limits/memory")}]),
            "Deployment/myapp .spec.template.spec.containers[name=server].resources.limits.memory",
        ),
    ];
    for (what, kind, patch, field) in removals {
        unguarded.scene.patch(what, kind, &patch).quiet();
        unguarded.confirm(&[format!("Removed {field}: Reverted")]);
    }
}

/// The value of a Secret is not shown, but what happens to it is known.
#[rstest]
fn a_removed_value_of_a_secret_comes_back_with_the_next_upgrade(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-no-secret", version);
    let other = json!({"data": {"other": "b3RoZXI=", "password": null}});
    unguarded.scene.patch("secret/myapp", "merge", &other).ok();
    let report = unguarded.report().to_string();
    assert!(!report.contains("sesame"), "{report}");
    unguarded.confirm(&["Removed Secret/myapp .data.password: Reverted"]);
}

/// A strategic merge patch has only what one of the manifests declares.
#[rstest]
fn a_key_added_to_an_atomic_map_stays_with_helm_3_and_blocks_helm_4(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-atomic", version);
    let canary = |value: Value| {
        let patch = json!({"spec": {"selector": {"canary": value}}});
        unguarded.scene.patch("service/myapp", "merge", &patch).ok();
    };
    canary(json!("yes"));
    unguarded.confirm(&[format!(
        "Changed Service/myapp .spec.selector by kubectl-patch: {}",
        unguarded.either("Kept", "Blocks")
    )]);
    if version == HelmVersion::V3 {
        canary(Value::Null);
    }
    unguarded.repair();
}

/// Helm would add the declared port next to the other one, which has its name.
#[rstest]
fn a_port_with_another_number_blocks_every_upgrade(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-port", version);
    let scene = &unguarded.scene;
    let port = json!([{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]);
    scene.patch("service/myapp", "json", &port).ok();
    unguarded.confirm(&["Removed Service/myapp .spec.ports[port=80,protocol=TCP]: Blocks"]);
    scene.kubectl("delete service myapp").ok();
    unguarded.confirm(&["Missing Service/myapp: Recreated"]);
}

#[rstest]
fn a_value_that_cannot_be_changed_back_blocks_every_upgrade(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-immutable", version);
    let scene = &unguarded.scene;
    let sealed = json!({"data": {"colour": "red"}, "immutable": true});
    scene.patch("configmap/myapp", "merge", &sealed).ok();
    unguarded.confirm(&["Changed ConfigMap/myapp .data.colour by kubectl-patch: Blocks"]);
    scene.kubectl("delete configmap myapp").ok();
    unguarded.confirm(&["Missing ConfigMap/myapp: Recreated"]);
}
