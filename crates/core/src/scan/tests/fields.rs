//! Declared fields of objects that exist.

use rstest::rstest;
use serde_json::{Value, json};

use super::scene::{DEPLOYED, EDITED, MANIFEST, Scene, SceneObject};
use crate::{
    helm::{lifecycle::RevisionStatus, record::ApplyMethod},
    policy::license::Autoscaler,
    scan::{Consequence, FindingClass, FindingSeverity, report::DriftState},
};

const WEB: &str = "Deployment/web";
const IMAGE: &str = "/spec/template/spec/containers/0/image";

#[test]
fn a_release_as_helm_left_it_has_no_finding() {
    for scene in [Scene::deployed(), Scene::server_side()] {
        let report = scene.scan();
        assert_eq!(report.findings, []);
        assert_eq!((report.state, report.objects), (DriftState::InSync, 4));
        assert_eq!((&*report.status, report.revision), ("deployed", 3));
        assert_eq!((&*report.chart, &*report.chart_version), ("web", "1.2.0"));
    }
}

#[test]
fn a_changed_field_is_found_with_its_writer_and_gone_when_repaired() {
    let mut scene = Scene::deployed();
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
    let mut scene = Scene::deployed();
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
    let mut scene = Scene {
        method,
        ..Scene::deployed()
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
    let mut scene = Scene::deployed();
    scene.edit(WEB, "/metadata/annotations/note", &json!("x"), "kubectl");
    scene.edit(WEB, "/spec/paused", &json!(true), "kubectl");
    scene.object(WEB)["status"] = json!({"replicas": 3});
    scene.edit("ConfigMap/web", "/data/c", &json!("3"), "kubectl");
    assert_eq!(scene.found(), [""; 0]);
}

#[test]
fn an_item_of_a_list_without_kind_and_version_is_compared() {
    let mut scene = Scene::deployed();
    for key in [WEB, "ConfigMap/web", "Secret/web"] {
        let live = scene.object(key).as_object_mut().unwrap();
        live.remove("kind");
        live.remove("apiVersion");
    }
    assert_eq!(scene.found(), [""; 0]);
}

#[test]
fn no_value_of_a_secret_is_shown() {
    let mut scene = Scene::server_side();
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
fn a_claim_outlives_the_edit_until_helm_applies_again() {
    let mut scene = Scene::server_side();
    scene.edit(WEB, "/spec/replicas", &json!(5), "kubectl-edit");
    assert_eq!(scene.only().class, FindingClass::Changed);
    scene.edit(WEB, "/spec/replicas", &json!(3), "kubectl-edit");
    let finding = scene.only();
    assert_eq!(finding.class, FindingClass::Claimed);
    assert_eq!(finding.path.as_deref(), Some(".spec.replicas"));
    assert_eq!(finding.consequence, Consequence::Blocks);
    assert_eq!(finding.severity, FindingSeverity::Medium);
    assert_eq!(finding.writer.unwrap().manager, "kubectl-edit");
    // Client-side, an upgrade asks nobody.
    let client_side = Scene {
        method: ApplyMethod::ClientSide,
        ..scene
    };
    assert_eq!(client_side.found(), [""; 0]);
    let mut repaired = Scene::server_side();
    repaired.apply(MANIFEST, DEPLOYED);
    assert_eq!(repaired.found(), [""; 0]);
}

#[test]
fn owners_of_the_status_and_of_children_claim_nothing() {
    let mut scene = Scene::server_side();
    let entries = scene.object(WEB)["metadata"]["managedFields"].as_array_mut();
    let entries = entries.unwrap();
    entries.push(
        json!({"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
        "fieldsV1": {"f:status": {"f:replicas": {}}}}),
    );
    entries.push(json!({"manager": "kubectl", "operation": "Update",
        "fieldsV1": {"f:metadata": {"f:labels": {"f:team": {}}}}}));
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
    let mut scene = Scene::deployed();
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
    let mut scene = Scene::deployed();
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
    let mut scene = Scene::deployed();
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

#[rstest]
#[case::nothing_scales_it(json!({}), None, 1)]
#[case::declared_autoscaler(json!({}), Some(Autoscaler::Declared), 0)]
#[case::undeclared_autoscaler(json!({}), Some(Autoscaler::Undeclared), 0)]
#[case::denied(json!({"presets": {"undeclaredAutoscalers": "Deny"}}), Some(Autoscaler::Undeclared), 1)]
#[case::ignored(json!({"ignore": [{"paths": ["/spec/replicas"]}]}), None, 0)]
#[case::ignored_of_another_kind(json!({"ignore": [{"paths": ["/spec/replicas"], "target": {"kind": "StatefulSet"}}]}), None, 1)]
fn replicas_are_drift_unless_the_policy_tolerates_it(
    #[case] policy: Value,
    #[case] autoscaler: Option<Autoscaler>,
    #[case] findings: usize,
) {
    for mut scene in [Scene::deployed(), Scene::server_side()] {
        scene.policy = policy.clone();
        scene.autoscaler = autoscaler;
        // Changed, and then claimed.
        scene.edit(WEB, "/spec/replicas", &json!(5), "kube-controller-manager");
        assert_eq!(scene.found().len(), findings);
        scene.edit(WEB, "/spec/replicas", &json!(3), "kube-controller-manager");
        let claims = if scene.method == ApplyMethod::ServerSide {
            findings
        } else {
            0
        };
        assert_eq!(scene.found().len(), claims);
    }
}

#[test]
fn the_ca_bundle_of_an_injector_and_aggregated_rules_are_no_drift() {
    let manifest = r"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: web, annotations: {cert-manager.io/inject-ca-from: shop/web}}
webhooks: [{name: a.example.com, clientConfig: {caBundle: Cg==}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: web}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {a: b}}]}
rules: []
";
    let mut scene = Scene::deployed();
    scene.revisions.clear();
    scene.add(3, RevisionStatus::Deployed, manifest);
    scene.apply(manifest, DEPLOYED);
    let config = scene.object("ValidatingWebhookConfiguration/web");
    config["webhooks"][0]["clientConfig"]["caBundle"] = json!("LS0t");
    scene.object("ClusterRole/web")["rules"] = json!([{"verbs": ["get"]}]);
    assert_eq!(scene.found(), [""; 0]);
    let config = scene.object("ValidatingWebhookConfiguration/web");
    config["webhooks"][0]["name"] = json!("b.example.com");
    assert_eq!(scene.found().len(), 1);
}

#[test]
fn a_value_of_two_active_revisions_is_no_drift_and_a_third_is() {
    let next = MANIFEST.replace("replicas: 3", "replicas: 4");
    let mut scene = Scene::deployed();
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
    let mut scene = Scene::deployed();
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
