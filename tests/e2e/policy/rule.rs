//! A policy in the cluster, and a guard that uses it.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::{Value, json};
use testbed::{Guard, GuardConfig, Output, shared};

use super::crds::{admin, install, policy};
use crate::{scene::eventually, turn::Turn};

/// A guard with the policy of the cluster, for the lifetime of this value.
pub struct Rule {
    pub guard: Guard,
    _turn: Turn,
}

impl Rule {
    /// Writes the policy, starts a guard, and waits until the policy is in force.
    pub fn new(spec: &Value) -> Self {
        Self::with(spec, config("Deny"))
    }

    /// The same with a guard of another configuration.
    pub fn with(spec: &Value, config: GuardConfig<'_>) -> Self {
        let turn = Turn::take();
        install();
        remove();
        write(spec).ok();
        let guard = turn.start(config);
        in_force(true);
        Self { guard, _turn: turn }
    }
}

/// Writes another policy and waits until it is in force.
pub fn change(spec: &Value) {
    write(spec).ok();
    in_force(true);
}

/// Waits until the guard has read the current policy, and returns the status that it reports.
pub fn in_force(expected: bool) -> Value {
    eventually("a policy that the guard has read", || {
        let object = admin("get guardpolicy default -o json").ok().json();
        let status = &object["status"];
        let is_read = status["observedGeneration"] == object["metadata"]["generation"];
        (is_read && status["inForce"] == expected).then(|| status.clone())
    })
}

impl Drop for Rule {
    fn drop(&mut self) {
        remove();
    }
}

fn remove() {
    let _ = admin("delete guardpolicy default --ignore-not-found").run();
}

/// As an administrator, without flags that a policy would replace.
pub fn config(mode: &str) -> GuardConfig<'_> {
    let binary = Path::new(env!("CARGO_BIN_EXE_helm-guard"));
    GuardConfig::new(binary, shared().admin(), mode)
        .args(["--log-format", "json"])
        .args(["--drain-delay", "200ms"])
}

/// Writes the policy as its owner, with the role that deploy/ ships for that.
pub fn write(spec: &Value) -> testbed::Invocation {
    let kubectl = shared().kubectl().cmd(owner());
    let line = "apply --server-side --force-conflicts --field-manager=owner -f -";
    kubectl
        .args(line.split_whitespace())
        .stdin(policy("default", spec).to_string())
}

fn owner() -> &'static Path {
    static OWNER: OnceLock<PathBuf> = OnceLock::new();
    OWNER.get_or_init(|| {
        let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/manifests/25-personas.yaml");
        admin("apply -f").arg(roles).ok();
        let user = "paula@example.com";
        admin("create clusterrolebinding paula --clusterrole=helm-guard-policy-owner --user")
            .arg(user)
            .ok();
        shared().user(user, &[]).unwrap()
    })
}

/// Asserts that the guard rejects a policy.
pub fn refused(spec: &Value) -> Output {
    let output = write(spec).refused();
    assert!(output.says("policies.helm-guard.dev"), "{}", output.stderr);
    output
}

/// Writes a policy without the webhook, as if no guard were running.
pub fn smuggle(spec: &Value) {
    let configuration = "validatingwebhookconfiguration/helm-guard";
    let hide = json!([{"op": "test", "path": "/webhooks/3/name", "value": "policies.helm-guard.dev"},
        {"op": "replace", "path": "/webhooks/3/rules/0/operations", "value": ["CREATE"]}]);
    eventually("a policy that no guard has validated", || {
        admin(&format!("patch {configuration} --type=json -p"))
            .arg(hide.to_string())
            .ok();
        write(spec).run().status.success().then_some(())
    });
}
