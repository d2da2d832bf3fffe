//! **`MutatedAtAdmission`**: a real mutating policy changes what Helm writes.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use super::unguarded::Unguarded;
use crate::scene::{Scene, Screen, eventually};

/// A `MutatingAdmissionPolicy` for the Deployments of a namespace, until it is dropped.
struct Mutation<'s> {
    scene: &'s Scene,
    probe: Value,
    before: Value,
}

impl<'s> Mutation<'s> {
    /// Applies this JSON patch, in CEL, to Deployments that have arguments.
    fn begin(scene: &'s Scene, patch: &str) -> Self {
        let probe = scene.get("deployment/myapp");
        let mut mutation = Self {
            scene,
            before: Value::Null,
            probe,
        };
        mutation.before = mutation.probed();
        let name = scene.ns.name();
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                    "resources": ["deployments"],
                }]},
                "matchConditions": [{
                    "name": "has-arguments",
                    "expression": "has(object.spec.template.spec.containers[0].args)",
                }],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "matchResources": {"namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": name},
                }},
            },
        });
        for object in [policy, binding] {
            let kubectl = scene.kubectl_as(shared().admin(), "create -f -");
            kubectl.stdin(object.to_string()).ok();
        }
        eventually("a policy that mutates", || {
            (mutation.probed() != mutation.before).then_some(())
        });
        mutation
    }

    /// The Pod of a Deployment that would be created now.
    fn probed(&self) -> Value {
        let mut probe = self.probe.clone();
        probe["metadata"] = json!({"name": "probe"});
        let created = self.scene.kubectl("create --dry-run=server -o json -f -");
        let created = created.stdin(probe.to_string()).ok().json();
        created["spec"]["template"]["spec"].clone()
    }

    /// From now on, nothing is mutated.
    fn end(self) {
        let kinds = "mutatingadmissionpolicybinding,mutatingadmissionpolicy";
        let line = format!("delete {kinds} {}", self.scene.ns);
        self.scene.kubectl_as(shared().admin(), &line).ok();
        eventually("no policy that mutates", || {
            (self.probed() == self.before).then_some(())
        });
    }
}

const SERVER: &str = "Deployment/myapp .spec.template.spec.containers[name=server]";

/// Helm's own request set the value, so it is nobody's drift, and another upgrade changes nothing.
#[rstest]
#[case::another_value(
    r#"[JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image", value: "mirror.example.com/nginx"}]"#,
    "image by helm"
)]
#[case::another_list(
    r#"[JSONPatch{op: "add", path: "/spec/template/spec/containers/0/args/-", value: "--quiet"}]"#,
    "args by helm"
)]
#[case::no_value(
    r#"[JSONPatch{op: "remove", path: "/spec/template/spec/containers/0/args"}]"#,
    "args"
)]
fn what_a_policy_makes_of_helms_request_stays(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[case] patch: &str,
    #[case] field: &str,
) {
    let unguarded = Unguarded::new("scan-mutated", version);
    let mutation = Mutation::begin(&unguarded.scene, patch);
    let memory = "--set memory=1Gi";
    unguarded.upgrade(memory).quiet();
    unguarded.confirm_with(
        memory,
        &[format!("MutatedAtAdmission {SERVER}.{field}: Kept")],
    );
    let report = unguarded.report();
    assert_eq!(report["summary"]["inSync"], 1, "{report:#}");

    mutation.end();
    unguarded.upgrade(memory).quiet();
    assert_eq!(unguarded.found(), [""; 0]);
}

/// The same at creation, and what somebody changes afterwards is drift.
#[rstest]
fn an_object_may_differ_since_it_was_created(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::new("scan-born", version);
    let scene = &unguarded.scene;
    let remove = r#"[JSONPatch{op: "remove", path: "/spec/template/spec/containers/0/args"}]"#;
    let mutation = Mutation::begin(scene, remove);
    scene.kubectl("delete deployment myapp").ok();
    unguarded.upgrade("").quiet();
    let mutated = format!("MutatedAtAdmission {SERVER}.args: Kept");
    unguarded.confirm(&[&mutated]);

    scene.kubectl("scale deployment/myapp --replicas=7").quiet();
    let changed = unguarded.either("Reverted", "Blocks");
    unguarded.confirm(&[
        &format!("Changed Deployment/myapp .spec.replicas by kubectl: {changed}"),
        &mutated,
    ]);
    mutation.end();
    unguarded.repair();
}
