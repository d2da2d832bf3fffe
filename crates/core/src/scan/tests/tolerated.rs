//! Differences that the policy tolerates.

use rstest::rstest;
use serde_json::{Value, json};

use super::scene::{DEPLOYED, ReleaseScene};
use crate::{
    helm::{lifecycle::RevisionStatus, record::ApplyMethod},
    policy::license::Autoscaler,
};

const WEB: &str = "Deployment/web";

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
    for mut scene in [ReleaseScene::deployed(), ReleaseScene::server_side()] {
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
    let mut scene = ReleaseScene::deployed();
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
