//! What the API server rejects by itself, according to the CRDs in deploy/.

use std::{path::Path, sync::OnceLock};

use serde_json::{Value, json};
use testbed::{Invocation, Output, shared};

use crate::{
    scene::{established, eventually},
    turn::Turn,
};

/// Installs the CRDs, once.
pub fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/manifests/05-crds.yaml");
        let output = admin("apply --server-side -f").arg(file).ok();
        assert!(!output.says("Warning"), "{}", output.stderr);
        established(&[
            "guardpolicies.helm-guard.dev",
            "breakglassgrants.helm-guard.dev",
            "emergencychanges.helm-guard.dev",
        ]);
    });
}

pub fn admin(line: &str) -> Invocation {
    let kubectl = shared().kubectl().cmd(shared().admin());
    kubectl.args(line.split_whitespace())
}

fn create(object: &Value) -> Invocation {
    admin("create -f -").stdin(object.to_string())
}

/// The bindings of the admission policies that deploy/ brings, which other tests install.
const BINDINGS: [&str; 2] = ["helm-guard-grants", "helm-guard-emergency-changes"];

/// Without these admission policies, until it is dropped: then an administrator may write what only a user or the guard
/// may write otherwise.
struct CrdsAlone {
    were_installed: bool,
}

impl CrdsAlone {
    fn begin() -> Self {
        let bindings = "validatingadmissionpolicybindings";
        let listed = admin(&format!("get {bindings} -o name")).ok().stdout;
        for name in BINDINGS {
            admin(&format!("delete {bindings} {name} --ignore-not-found")).ok();
        }
        Self {
            were_installed: BINDINGS.iter().any(|name| listed.contains(name)),
        }
    }
}

impl Drop for CrdsAlone {
    fn drop(&mut self) {
        if self.were_installed {
            let file = "deploy/manifests/60-admission-policies.yaml";
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            admin("apply --server-side --force-conflicts -f")
                .arg(file)
                .run();
        }
    }
}

/// Creates an object once the API server has noticed that a binding is gone.
fn create_alone(object: &Value) {
    eventually("an object that no admission policy denies", || {
        create(object).run().status.success().then_some(())
    });
}

pub fn policy(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy",
        "metadata": {"name": name}, "spec": spec,
    })
}

fn grant(name: &str) -> Value {
    json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
        "metadata": {"name": name},
        "spec": {
            "subjects": {"serviceAccounts": ["ops/emergency-ops"]},
            "reason": "checkout is down", "ticket": "INC-1", "requestedBy": "alice@example.com",
            "expiresAt": "2030-01-01T00:00:00Z",
        },
    })
}

fn says(output: &Output, word: &str) {
    assert!(output.says(word), "should say {word:?}:\n{}", output.stderr);
}

#[test]
fn the_only_policy_is_named_default() {
    let _turn = Turn::take();
    install();
    let output = create(&policy("other", &json!({"mode": "Warn"}))).refused();
    says(&output, "a GuardPolicy must be named default");
}

#[test]
fn unknown_policy_fields_are_rejected_by_name() {
    let _turn = Turn::take();
    install();
    for (spec, word) in [
        (json!({"mode": "Denny"}), "Unsupported value: \"Denny\""),
        (json!({"modus": "Warn"}), "unknown field \"spec.modus\""),
        (
            json!({"overrides": [{"match": {"kinds": [{"kind": "Deployment", "version": "v1"}]}}]}),
            "unknown field \"spec.overrides[0].match.kinds[0].version\"",
        ),
        (
            json!({"breakGlass": {"maxDuration": "1d"}}),
            "spec.breakGlass.maxDuration",
        ),
        (
            json!({"exemptions": [{"name": "Fluxx!", "subjects": {}, "kinds": [{"kind": "Pod"}]}]}),
            "spec.exemptions[0].name",
        ),
        (json!({"runbookURL": "see the wiki"}), "spec.runbookURL"),
    ] {
        let output = admin("create --dry-run=server --validate=strict -f -")
            .stdin(policy("default", &spec).to_string())
            .refused();
        says(&output, word);
    }
}

#[test]
fn a_grant_is_immutable_except_for_its_revocation() {
    let _turn = Turn::take();
    install();
    let _alone = CrdsAlone::begin();
    create_alone(&grant("once-made"));
    let patch = |patch: &Value| {
        admin("patch breakglassgrant/once-made --type=merge -p").arg(patch.to_string())
    };
    for spec in [
        json!({"expiresAt": "2031-01-01T00:00:00Z"}),
        json!({"requestedBy": "mallory"}),
        json!({"scope": {"namespaces": ["shop"]}}),
        json!({"subjects": {"users": ["mallory"]}}),
        json!({"ticket": "INC-2"}),
        json!({"reason": "other"}),
    ] {
        let output = patch(&json!({"spec": spec})).refused();
        says(&output, "a grant is immutable");
    }
    patch(&json!({"spec": {"revoked": true}})).ok();
    let output = patch(&json!({"spec": {"revoked": false}})).refused();
    says(&output, "a revocation is final");
    admin("delete breakglassgrant/once-made").ok();
}

#[test]
fn a_reason_of_one_mebibyte_is_too_long() {
    let _turn = Turn::take();
    install();
    let mut grant = grant("long-winded");
    grant["spec"]["reason"] = "x".repeat(1 << 20).into();
    says(&create(&grant).refused(), "Too long");
}

#[test]
fn the_facts_of_an_emergency_change_are_immutable() {
    let _turn = Turn::take();
    install();
    let _alone = CrdsAlone::begin();
    let change = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "EmergencyChange",
        "metadata": {"name": "myapp-1a2b", "namespace": "default"},
        "spec": {
            "user": "ops", "at": "2026-01-01T00:00:00Z", "requestUid": "1", "operation": "Scale",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "myapp"},
            "release": {"name": "myapp", "namespace": "default", "chart": "myapp-1", "revision": 1},
            "fields": [
                {"path": ".spec.a", "declared": 1, "live": {"b": [true, {"c": 1.5}]}, "requested": "2"},
                {"path": ".spec.d", "declared": "\"x\"", "old": "\"x\"", "new": "1"},
            ],
            "reconcileBy": "2026-01-02T00:00:00Z",
        },
    });
    create_alone(&change);
    let stored = admin("get emc/myapp-1a2b -n default -o json").ok().stdout;
    let stored: Value = serde_json::from_str(&stored).unwrap();
    // Values of any type, and the former names, are stored whole.
    assert_eq!(stored["spec"]["fields"], change["spec"]["fields"]);
    let patch = |spec: &Value| {
        admin("patch emergencychange/myapp-1a2b -n default --type=merge -p")
            .arg(json!({"spec": spec}).to_string())
    };
    let mut fields = change["spec"]["fields"].clone();
    fields[0]["live"]["b"][1]["c"] = json!(2.5);
    for spec in [json!({"user": "somebody else"}), json!({"fields": fields})] {
        let output = patch(&spec).refused();
        says(&output, "the spec of an EmergencyChange is immutable");
    }
    admin("patch emergencychange/myapp-1a2b -n default --subresource=status --type=merge -p")
        .arg(json!({"status": {"state": "Absorbed", "message": "revision 2"}}).to_string())
        .ok();
    admin("delete emergencychange/myapp-1a2b -n default").ok();
}
