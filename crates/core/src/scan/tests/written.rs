//! Fields whose writer makes the class: claimed, changed at admission, changed in an emergency.

use rstest::rstest;
use serde_json::{Value, json};

use super::scene::{DEPLOYED, EDITED, MANIFEST, ReleaseScene};
use crate::{
    helm::{lifecycle::RevisionStatus, record::ApplyMethod},
    scan::{Consequence, FindingClass, FindingSeverity, report::DriftState},
};

const WEB: &str = "Deployment/web";

#[test]
fn a_claim_outlives_the_edit_until_helm_applies_again() {
    let mut scene = ReleaseScene::server_side();
    scene.edit(WEB, "/spec/replicas", &json!(5), "kubectl-edit");
    assert_eq!(scene.only().class, FindingClass::Changed);
    scene.edit(WEB, "/spec/replicas", &json!(3), "kubectl-edit");
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Claimed);
    assert_eq!(finding.path.as_deref(), Some(".spec.replicas"));
    assert_eq!(finding.consequence, Consequence::Blocks);
    assert_eq!(finding.severity, FindingSeverity::Medium);
    assert_eq!(finding.writer.unwrap().manager, "kubectl-edit");
    // While two revisions are active, the live value may be that of the older one.
    scene.add(
        4,
        RevisionStatus::Failed,
        &MANIFEST.replace("replicas: 3", "replicas: 4"),
    );
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Claimed);
    assert_eq!(
        (finding.declared, finding.live),
        (Some(json!(4)), Some(json!(3)))
    );
    scene.revisions.pop();
    // Client-side, an upgrade does not check owners.
    let client_side = ReleaseScene {
        method: ApplyMethod::ClientSide,
        ..scene
    };
    assert_eq!(client_side.found(), [""; 0]);
    let mut repaired = ReleaseScene::server_side();
    repaired.apply(MANIFEST, DEPLOYED);
    assert_eq!(repaired.found(), [""; 0]);
}

#[test]
fn owners_of_the_status_and_of_children_claim_nothing() {
    let mut scene = ReleaseScene::server_side();
    let entries = scene.object(WEB)["metadata"]["managedFields"].as_array_mut();
    let entries = entries.unwrap();
    entries.push(
        json!({"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
        "fieldsV1": {"f:status": {"f:replicas": {}}}}),
    );
    entries.push(json!({"manager": "kubectl", "operation": "Update",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}}}));
    // What is left of one who created the object, once Helm has taken its fields over.
    entries.push(
        json!({"manager": "kubectl-create", "operation": "Update", "fieldsV1": {
            "f:metadata": {"f:labels": {}}, "f:spec": {"f:template": {}},
        }}),
    );
    assert_eq!(scene.found(), [""; 0]);
}

#[rstest]
#[case::during_the_operation(
    "2026-01-01T10:00:30Z",
    FindingClass::MutatedAtAdmission,
    Consequence::Kept
)]
#[case::before_the_known_ones(
    "2025-12-01T10:00:00Z",
    FindingClass::MutatedAtAdmission,
    Consequence::Kept
)]
#[case::somebody_called_helm(EDITED, FindingClass::Changed, Consequence::Reverted)]
fn a_value_that_differs_since_helms_own_write_was_changed_at_admission(
    #[case] time: &str,
    #[case] class: FindingClass,
    #[case] consequence: Consequence,
) {
    let mut scene = ReleaseScene::deployed();
    let live = scene.object(WEB);
    live["spec"]["replicas"] = json!(4);
    live["metadata"]["managedFields"][0]["time"] = json!(time);
    let finding = scene.only();
    assert_eq!((finding.class, finding.consequence), (class, consequence));
    assert_eq!(finding.since.as_deref(), Some(time));
    let state = match class {
        FindingClass::Changed => DriftState::Drifted,
        _ => DriftState::InSync,
    };
    assert_eq!(scene.scan().state, state);
}

#[test]
fn a_field_that_is_gone_since_the_object_was_created_was_dropped_at_admission() {
    let mut scene = ReleaseScene::deployed();
    scene.remove(WEB, "/spec/replicas");
    scene.object(WEB)["metadata"]["generation"] = json!(1);
    assert_eq!(scene.only().class, FindingClass::MutatedAtAdmission);
    scene.edit(WEB, "/spec/paused", &json!(true), "kubectl");
    assert_eq!(
        scene.only().class,
        FindingClass::Removed,
        "somebody else wrote it"
    );
}

/// The API server notes the owners of a request before admission, and takes a field that a client removes from all.
#[test]
fn a_field_that_helm_owns_and_that_is_gone_was_dropped_at_admission() {
    let mut scene = ReleaseScene::deployed();
    scene.lose(WEB, "/spec/replicas");
    scene.edit(WEB, "/spec/paused", &json!(true), "kubectl");
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::MutatedAtAdmission);
    assert_eq!(finding.consequence, Consequence::Kept);
    assert_eq!(finding.writer, None);
    scene.object(WEB)["metadata"]["managedFields"][0]["time"] = json!(EDITED);
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Removed, "not by Helm");
}

fn change(fields: &Value, state: &str) -> Value {
    json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "EmergencyChange",
        "metadata": {"name": "web-1", "namespace": "shop"},
        "spec": {
            "user": "alice", "at": EDITED, "requestUid": "u", "operation": "Update",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
            "release": {"namespace": "shop", "name": "web", "chart": "web-1.2.0", "revision": 3},
            "fields": fields, "reconcileBy": EDITED,
        },
        "status": {"state": state},
    })
}

#[rstest]
#[case::open(json!(5), "Open", true)]
#[case::overdue(json!(5), "Overdue", true)]
#[case::resolved(json!(5), "Absorbed", false)]
#[case::changed_again(json!(4), "Open", false)]
fn an_open_emergency_change_explains_the_value_that_it_set(
    #[case] requested: Value,
    #[case] state: &str,
    #[case] explains: bool,
) {
    let mut scene = ReleaseScene::deployed();
    scene.edit(WEB, "/spec/replicas", &json!(5), "kubectl");
    let fields =
        json!([{"path": ".spec.replicas", "declared": 3, "live": 3, "requested": requested}]);
    scene.changes = vec![change(&fields, state)];
    let finding = scene.only();
    let named = finding.emergency_change.as_deref();
    assert_eq!(named, explains.then_some("shop/web-1"));
    let expected = if explains {
        FindingClass::Emergency
    } else {
        FindingClass::Changed
    };
    assert_eq!(finding.class, expected);
    assert_eq!(finding.consequence, Consequence::Reverted);
}
