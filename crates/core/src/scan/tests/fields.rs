//! Declared fields of objects that exist.

use rstest::rstest;
use serde_json::json;

use super::scene::{DEPLOYED, EDITED, MANIFEST, ReleaseScene, SceneObject};
use crate::{
    helm::{lifecycle::RevisionStatus, record::ApplyMethod},
    scan::{Consequence, FindingClass, FindingSeverity, report::DriftState},
};

const WEB: &str = "Deployment/web";
const IMAGE: &str = "/spec/template/spec/containers/0/image";

#[test]
fn a_release_as_helm_left_it_has_no_finding() {
    for scene in [ReleaseScene::deployed(), ReleaseScene::server_side()] {
        let report = scene.scan();
        assert_eq!(report.findings, []);
        assert_eq!((report.state, report.objects), (DriftState::InSync, 4));
        assert_eq!((&*report.status, report.revision), ("deployed", 3));
        assert_eq!((&*report.chart, &*report.chart_version), ("web", "1.2.0"));
    }
}

#[test]
fn a_changed_field_is_found_with_its_writer_and_gone_when_repaired() {
    let mut scene = ReleaseScene::deployed();
    scene.edit(WEB, IMAGE, &json!("web:2"), "kubectl-edit");
    let finding = scene.only();
    assert_eq!(
        serde_json::to_value(&finding).unwrap(),
        json!({
            "id": "Changed/shop/web/apps/Deployment/shop/web/.spec.template.spec.containers[name=web].image",
            "class": "Changed", "severity": "Medium",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
            "path": ".spec.template.spec.containers[name=web].image",
            "declared": "web:1", "live": "web:2",
            "writer": {"manager": "kubectl-edit", "operation": "Update", "time": EDITED},
            "since": EDITED, "consequence": "Reverted",
            "message": ".spec.template.spec.containers[name=web].image of Deployment shop/web is \"web:2\", \
                        and revision 3 declares \"web:1\"",
        })
    );
    assert_eq!(scene.scan().state, DriftState::Drifted);
    scene.edit(WEB, IMAGE, &json!("web:1"), "kubectl-edit");
    assert_eq!(scene.found(), [""; 0]);
}

#[rstest]
#[case::field("/spec/replicas", ".spec.replicas")]
#[case::item(
    "/spec/template/spec/containers/0/env/0",
    ".spec.template.spec.containers[name=web].env[name=A]"
)]
#[case::label("/metadata/labels/app", ".metadata.labels.app")]
fn a_removed_field_is_found_without_a_writer(#[case] pointer: &str, #[case] path: &str) {
    let mut scene = ReleaseScene::deployed();
    scene.remove(WEB, pointer);
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Removed);
    assert_eq!(finding.path.as_deref(), Some(path));
    assert_eq!((finding.live, finding.writer), (None, None));
    assert_eq!(finding.consequence, Consequence::Reverted);
}

#[rstest]
#[case::client_side(ApplyMethod::ClientSide, WEB, "/spec/replicas", Consequence::Reverted)]
#[case::two_way(ApplyMethod::ClientSide, "Widget/web", "/spec/size", Consequence::Kept)]
#[case::server_side(ApplyMethod::ServerSide, WEB, "/spec/replicas", Consequence::Blocks)]
#[case::server_side_of_any_kind(
    ApplyMethod::ServerSide,
    "Widget/web",
    "/spec/size",
    Consequence::Blocks
)]
#[case::immutable(
    ApplyMethod::ClientSide,
    WEB,
    "/spec/selector/matchLabels/app",
    Consequence::Blocks
)]
fn the_consequence_depends_on_the_kind_and_the_apply_method(
    #[case] method: ApplyMethod,
    #[case] object: &str,
    #[case] pointer: &str,
    #[case] expected: Consequence,
) {
    let mut scene = ReleaseScene {
        method,
        ..ReleaseScene::deployed()
    };
    scene.edit(object, pointer, &json!("9"), "kubectl-edit");
    let finding = scene.only();
    assert_eq!(
        (finding.class, finding.consequence),
        (FindingClass::Changed, expected)
    );
    let severity = match expected {
        Consequence::Blocks => FindingSeverity::High,
        _ => FindingSeverity::Medium,
    };
    assert_eq!(finding.severity, severity);
}

#[test]
fn undeclared_fields_are_no_drift() {
    let mut scene = ReleaseScene::deployed();
    scene.edit(WEB, "/metadata/annotations/note", &json!("x"), "kubectl");
    scene.edit(WEB, "/spec/paused", &json!(true), "kubectl");
    scene.object(WEB)["status"] = json!({"replicas": 3});
    scene.edit("ConfigMap/web", "/data/c", &json!("3"), "kubectl");
    assert_eq!(scene.found(), [""; 0]);
}

#[test]
fn an_item_of_a_list_without_kind_and_version_is_compared() {
    let mut scene = ReleaseScene::deployed();
    for key in [WEB, "ConfigMap/web", "Secret/web"] {
        let live = scene.object(key).as_object_mut().unwrap();
        live.remove("kind");
        live.remove("apiVersion");
    }
    assert_eq!(scene.found(), [""; 0]);
}

#[test]
fn no_value_of_a_secret_is_shown() {
    let mut scene = ReleaseScene::server_side();
    scene.edit(
        "Secret/web",
        "/data/password",
        &json!("c3dvcmRmaXNo"),
        "kubectl",
    );
    let text = serde_json::to_string(&scene.scan()).unwrap();
    for value in ["hunter2", "aHVudGVyMg", "swordfish", "c3dvcmRmaXNo"] {
        assert!(!text.contains(value), "{text}");
    }
    let finding = scene.only();
    assert_eq!(finding.declared, Some(json!("<redacted 05d210d8>")));
    assert_eq!(finding.described.len(), 2);
    // Of a claim, too.
    scene.edit(
        "Secret/web",
        "/data/password",
        &json!("aHVudGVyMg=="),
        "kubectl",
    );
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Claimed);
    let text = serde_json::to_string(&finding).unwrap();
    assert!(!text.contains("aHVudGVyMg"), "{text}");
}

#[test]
fn a_value_of_two_active_revisions_is_no_drift_and_a_third_is() {
    let next = MANIFEST.replace("replicas: 3", "replicas: 4");
    let mut scene = ReleaseScene::deployed();
    scene.add(4, RevisionStatus::Failed, &next);
    assert_eq!(scene.found(), [""; 0]);
    scene.object(WEB)["spec"]["replicas"] = json!(4);
    assert_eq!(scene.found(), [""; 0]);
    scene.edit(WEB, "/spec/replicas", &json!(5), "kubectl");
    assert_eq!(scene.found(), ["Changed Deployment shop/web"]);
}

#[test]
fn findings_are_cut_at_a_number_that_a_person_reads() {
    let data: Vec<String> = (0..300).map(|n| format!("k{n}: 'a'")).collect();
    let manifest = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata: {{{}}}\n",
        data.join(", ")
    );
    let mut scene = ReleaseScene::deployed();
    scene.revisions.clear();
    scene.add(3, RevisionStatus::Deployed, &manifest);
    scene.apply(&manifest, DEPLOYED);
    for value in scene.object("ConfigMap/big")["data"]
        .as_object_mut()
        .unwrap()
        .values_mut()
    {
        *value = json!("b");
    }
    let report = scene.scan();
    assert_eq!((report.findings.len(), report.more_findings), (256, 44));
    assert!(matches!(scene.live.get(WEB), Some(SceneObject::Present(_))));
}
