//! Objects as a whole: missing, without marks, of another release, unreadable.

use rstest::rstest;
use serde_json::{Value, json};

use super::scene::{EDITED, ReleaseScene, SceneObject};
use crate::scan::{Consequence, FindingClass, report::DriftState, scanned::UnreadableReason};

const WEB: &str = "Deployment/web";
const LABEL: &str = "/metadata/labels/app.kubernetes.io~1managed-by";
const OWNER: &str = "/metadata/annotations/meta.helm.sh~1release-name";

#[test]
fn a_missing_object_is_found_and_recreated_by_an_upgrade() {
    let mut scene = ReleaseScene::deployed();
    scene.live.remove("ConfigMap/web");
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Missing);
    assert_eq!(finding.consequence, Consequence::Recreated);
    assert_eq!(finding.id, "Missing/shop/web/core/ConfigMap/shop/web");
    assert_eq!(finding.object.api_version, "v1");
    assert_eq!((finding.path, finding.writer), (None, None));
}

#[test]
fn an_emergency_deletion_explains_a_missing_object() {
    let mut scene = ReleaseScene::deployed();
    scene.live.remove(WEB);
    scene.changes = vec![json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "EmergencyChange",
        "metadata": {"name": "web-1", "namespace": "shop"},
        "spec": {
            "user": "alice", "at": EDITED, "requestUid": "u", "operation": "Delete",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
            "release": {"namespace": "shop", "name": "web", "chart": "web-1.2.0", "revision": 3},
            "reconcileBy": EDITED,
        },
    })];
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Emergency);
    assert_eq!(finding.emergency_change.as_deref(), Some("shop/web-1"));
    assert_eq!(finding.consequence, Consequence::Recreated);
}

#[rstest]
#[case::label(&[LABEL], "app.kubernetes.io/managed-by is gone")]
#[case::annotation(&[OWNER], "meta.helm.sh/release-name is gone")]
#[case::both(&[LABEL, OWNER], "managed-by is gone, meta.helm.sh/release-name is gone")]
#[case::all_annotations(&["/metadata/annotations"], "release-namespace is gone")]
fn an_object_that_lost_marks_is_one_finding(#[case] removed: &[&str], #[case] says: &str) {
    let mut scene = ReleaseScene::deployed();
    for pointer in removed {
        scene.remove(WEB, pointer);
    }
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Unmarked);
    assert_eq!(finding.consequence, Consequence::Reverted);
    assert!(finding.message.contains(says), "{}", finding.message);
}

#[test]
fn labels_that_are_gone_with_a_mark_are_found_beside_it() {
    let mut scene = ReleaseScene::deployed();
    scene.remove(WEB, "/metadata/labels");
    let expected = [
        "Unmarked Deployment shop/web",
        "Removed Deployment shop/web",
    ];
    assert_eq!(scene.found(), expected);
    // Of the ConfigMap, the mark is the only declared label.
    let mut scene = ReleaseScene::deployed();
    scene.remove("ConfigMap/web", "/metadata/labels");
    assert_eq!(scene.found(), ["Unmarked ConfigMap shop/web"]);
}

#[test]
fn a_changed_mark_has_a_writer_and_blocks_a_server_side_upgrade() {
    let mut scene = ReleaseScene::server_side();
    scene.edit(WEB, LABEL, &json!("argo"), "argocd");
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Unmarked);
    assert_eq!(finding.consequence, Consequence::Blocks);
    assert_eq!(finding.writer.unwrap().manager, "argocd");
}

#[test]
fn an_object_of_another_release_is_foreign_and_not_compared() {
    let mut scene = ReleaseScene::deployed();
    scene.edit(WEB, OWNER, &json!("other"), "helm");
    scene.object(WEB)["spec"]["replicas"] = json!(9);
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Foreign);
    assert!(
        finding.message.contains("shop/other"),
        "{}",
        finding.message
    );
}

#[rstest]
#[case::by_helm("helm", Consequence::Reverted)]
#[case::by_hand("kubectl-annotate", Consequence::Blocks)]
fn whoever_gave_an_object_to_another_release_owns_the_mark(
    #[case] manager: &str,
    #[case] expected: Consequence,
) {
    let mut scene = ReleaseScene::server_side();
    scene.edit(WEB, OWNER, &json!("other"), manager);
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Foreign);
    assert_eq!(finding.consequence, expected);
    assert_eq!(finding.writer.unwrap().manager, manager);
}

#[test]
fn an_object_that_helm_never_wrote_is_foreign_and_compared() {
    let mut scene = ReleaseScene::deployed();
    scene.remove(WEB, LABEL);
    scene.remove(WEB, "/metadata/annotations");
    scene.object(WEB)["metadata"]["managedFields"][0]["manager"] = json!("kubectl-create");
    assert_eq!(scene.found(), ["Foreign Deployment shop/web"]);
    scene.object(WEB)["spec"]["replicas"] = json!(9);
    let expected = ["Foreign Deployment shop/web", "Changed Deployment shop/web"];
    assert_eq!(scene.found(), expected);
}

/// Its reports would show the values of any object that its manifest names.
#[test]
fn a_record_elsewhere_speaks_only_for_objects_that_name_its_release() {
    let mut scene = ReleaseScene::deployed();
    scene.records_namespace = "evil";
    assert_eq!(scene.found(), [""; 0]);
    scene.edit(
        "ConfigMap/web",
        "/data/a",
        &json!("secret of shop"),
        "kubectl",
    );
    assert_eq!(scene.found(), ["Changed ConfigMap shop/web"]);
    scene.remove("ConfigMap/web", "/metadata/annotations");
    let text = serde_json::to_string(&scene.scan()).unwrap();
    assert_eq!(scene.found(), ["Unmarked ConfigMap shop/web"]);
    assert!(!text.contains("secret of shop"), "{text}");
    scene.policy = json!({"records": {"trustedNamespaces": ["evil"]}});
    assert_eq!(scene.found().len(), 2);
}

#[rstest]
#[case::forbidden(UnreadableReason::Forbidden, "may not read", Consequence::Unknown)]
#[case::no_kind(
    UnreadableReason::KindGone,
    "does not have its kind",
    Consequence::Blocks
)]
#[case::terminating(UnreadableReason::Terminating, "being deleted", Consequence::Unknown)]
#[case::failed(
    UnreadableReason::Failed("429: slow down"),
    "429: slow down",
    Consequence::Unknown
)]
fn an_object_that_cannot_be_read_is_an_error(
    #[case] reason: UnreadableReason<'static>,
    #[case] says: &str,
    #[case] consequence: Consequence,
) {
    let mut scene = ReleaseScene::deployed();
    scene
        .live
        .insert("Widget/web".to_owned(), SceneObject::Unreadable(reason));
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Unreadable);
    assert_eq!(finding.consequence, consequence);
    assert!(finding.message.contains(says), "{}", finding.message);
    assert_eq!(scene.scan().state, DriftState::Error);
}

#[test]
fn an_object_that_is_being_deleted_is_not_in_sync() {
    let mut scene = ReleaseScene::deployed();
    scene.object(WEB)["metadata"]["deletionTimestamp"] = json!(EDITED);
    assert_eq!(scene.found(), ["Unreadable Deployment shop/web"]);
}

#[rstest]
#[case::same_metadata("/spec/replicas", json!(9), &["Unreadable Deployment shop/web"])]
#[case::metadata("/metadata/labels/app", json!("x"), &["Changed Deployment shop/web"])]
fn only_metadata_is_compared_with_another_version(
    #[case] pointer: &str,
    #[case] value: Value,
    #[case] expected: &[&str],
) {
    let mut scene = ReleaseScene::deployed();
    let manifest = super::scene::MANIFEST.replace("apps/v1", "apps/v1beta1");
    scene.revision(3).manifest = manifest;
    scene.edit(WEB, pointer, &value, "kubectl");
    assert_eq!(scene.found(), expected);
}
