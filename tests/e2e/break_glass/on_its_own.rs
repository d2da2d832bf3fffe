//! What the admission policies of `deploy/` enforce without a guard: no test here starts one.

use std::path::{Path, PathBuf};

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{Invocation, shared};

use super::night::{ACCOUNT, ANNA, EMERGENCY_OPS, OSCAR, admin, create, made_up_record, people};
use crate::{deployed::BREAK_GLASS, scene::eventually, turn::Turn};

/// The guard's own account.
const GUARD: &str = "system:serviceaccount:helm-guard:helm-guard";

/// A user whom RBAC allows everything, so that only a policy can deny.
fn with_all_rights(user: &str) -> PathBuf {
    shared().grant_cluster_admin(user).unwrap();
    shared().user(user, &[]).unwrap()
}

fn by(kubeconfig: &Path, line: &str) -> Invocation {
    let kubectl = shared().kubectl().cmd(kubeconfig);
    kubectl.args(line.split_whitespace())
}

/// The API server learns of a policy within seconds of its creation.
fn refused(what: &str, invocation: impl Fn() -> Invocation, says: &str) {
    eventually(what, || {
        let output = invocation().run();
        (!output.status.success() && output.says(says)).then_some(())
    });
}

/// A spare account that has all rights.
fn emergency_account() -> PathBuf {
    let spare = shared().service_account(BREAK_GLASS, "spare").unwrap();
    let user = format!("system:serviceaccount:{BREAK_GLASS}:spare");
    shared().grant_cluster_admin(&user).unwrap();
    spare
}

#[test]
fn the_emergency_account_cannot_change_the_guard_whatever_its_rights() {
    let _turn = Turn::take();
    people();
    let account = emergency_account();
    for line in [
        "-n helm-guard scale deployment/helm-guard --replicas=0 --dry-run=server",
        "-n helm-guard set image deployment/helm-guard *=evil/image --dry-run=server",
        "-n helm-guard delete service helm-guard --dry-run=server",
        "-n helm-guard delete services --all --dry-run=server",
        "-n helm-guard create token helm-guard",
        "-n helm-guard create configmap mine --dry-run=server",
        "-n helm-guard-break-glass delete role emergency-ops-token --dry-run=server",
        "delete namespace helm-guard --dry-run=server",
        "label namespace helm-guard-break-glass a=b --dry-run=server",
        "delete crd emergencychanges.helm-guard.dev --dry-run=server",
        "label clusterrole helm-guard a=b --dry-run=server",
        "delete clusterrole -l app.kubernetes.io/name=helm-guard --dry-run=server",
        "delete clusterrolebinding helm-guard --dry-run=server",
        "create clusterrolebinding helm-guard-more --clusterrole=view --user=a --dry-run=server",
    ] {
        let says = "cannot change helm-guard itself";
        refused(line, || by(&account, line), says);
    }
    let policy = json!({"apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy",
        "metadata": {"name": "default"}, "spec": {"mode": "Audit"}});
    let line = "create --dry-run=server -f -";
    let write = || by(&account, line).stdin(policy.to_string());
    refused("a policy", write, "cannot change helm-guard itself");
    for line in [
        "label clusterrole view a=b --dry-run=server",
        "-n default create configmap mine --dry-run=server",
        "create namespace helm-guard-neighbour --dry-run=server",
        "create clusterrolebinding more --clusterrole=view --user=a --dry-run=server",
    ] {
        by(&account, line).ok();
    }
    // Other users run and remove the guard as before.
    for line in [
        "-n helm-guard scale deployment/helm-guard --replicas=0 --dry-run=server",
        "delete crd emergencychanges.helm-guard.dev --dry-run=server",
    ] {
        shared()
            .kubectl()
            .cmd(shared().alice())
            .args(line.split_whitespace())
            .ok();
    }
}

#[test]
fn break_glass_identities_of_the_policy_cannot_change_the_guard() {
    let _turn = Turn::take();
    people();
    let ada = with_all_rights("ada@example.com");
    let policy = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy",
        "metadata": {"name": "default"},
        "spec": {"breakGlass": {"identities": [
            {"subjects": {"groups": ["night-shift"], "serviceAccounts": ["shop/fixer"]}},
            {"subjects": {"users": ["ada@example.com"]}},
        ]}},
    });
    let line = "-n helm-guard scale deployment/helm-guard --replicas=0 --dry-run=server";
    by(&ada, line).ok();
    admin("create -f -").stdin(policy.to_string()).ok();
    let says = "cannot change helm-guard itself";
    refused("the named user", || by(&ada, line), says);
    for (user, group, is_refused) in [
        ("kim@example.com", "night-shift", true),
        ("kim@example.com", "day-shift", false),
        (
            "system:serviceaccount:shop:fixer",
            "system:serviceaccounts",
            true,
        ),
        (
            "system:serviceaccount:shop:other",
            "system:serviceaccounts",
            false,
        ),
    ] {
        shared().grant_cluster_admin(user).unwrap();
        let output = admin(&format!("{line} --as={user} --as-group={group}")).run();
        assert_eq!(output.says(says), is_refused, "{user}: {}", output.stderr);
        assert_eq!(output.status.success(), !is_refused, "{}", output.stderr);
    }
    admin("delete guardpolicy default").ok();
}

fn grant(requested_by: &str) -> Value {
    json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
        "metadata": {"generateName": "alone-"},
        "spec": {
            "subjects": {"serviceAccounts": [ACCOUNT], "groups": ["night-shift"]},
            // Does not affect other tests.
            "scope": {"namespaces": ["nowhere"]},
            "requestedBy": requested_by, "expiresAt": "2100-01-01T00:00:00Z",
        },
    })
}

#[test]
fn without_a_guard_a_grant_still_names_its_own_requester() {
    let _turn = Turn::take();
    let oscar = &people().oscar;
    let forged = grant(ANNA);
    refused(
        "a grant in another name",
        || create(oscar, &forged),
        "requestedBy: must be the requesting user",
    );
    let mut ended = grant(OSCAR);
    ended["spec"]["revoked"] = json!(true);
    refused(
        "a revoked grant",
        || create(oscar, &ended),
        "must have no approvals and must not be revoked",
    );
    create(oscar, &grant(OSCAR)).ok();
}

#[rstest]
#[case::in_ones_own_name("anna@example.com", &["anna@example.com"], None)]
#[case::in_another_name("anna@example.com", &["eve@example.com"], Some("must be the approving user"))]
#[case::by_the_requester(OSCAR, &[OSCAR], Some("the requester of a grant cannot approve it"))]
#[case::by_a_subject(EMERGENCY_OPS, &[EMERGENCY_OPS], Some("subjects of a grant cannot approve"))]
#[case::twice("anna@example.com", &["anna@example.com", "anna@example.com"], Some("a user can approve only once"))]
fn without_a_guard_approvals_are_still_validated(
    #[case] user: &str,
    #[case] approvals: &[&str],
    #[case] says: Option<&str>,
) {
    let _turn = Turn::take();
    let made = create(&people().oscar, &grant(OSCAR))
        .args(["-o", "name"])
        .ok();
    let approvals: Vec<Value> = approvals
        .iter()
        .enumerate()
        .map(|(n, by)| json!({"approvedBy": by, "at": format!("2026-01-01T00:00:0{n}Z")}))
        .collect();
    let patch = json!({"status": {"approvals": approvals}}).to_string();
    let approve = |user: &str, groups: &[&str]| {
        // By an impersonating administrator: the effective user counts, and RBAC denies nothing.
        let groups = groups.iter().map(|group| format!("--as-group={group}"));
        admin("patch --subresource=status --type=merge -p")
            .arg(&patch)
            .arg(made.stdout.trim())
            .arg(format!("--as={user}"))
            .args(groups.collect::<Vec<_>>().iter().map(String::as_str))
    };
    shared().grant_cluster_admin(user).unwrap();
    if let Some(says) = says {
        refused("an approval", || approve(user, &[]), says);
        return;
    }
    let says = "subjects of a grant cannot approve";
    refused("of its group", || approve(user, &["night-shift"]), says);
    approve(user, &[]).ok();
    let patch = json!({"status": {"approvals": []}}).to_string();
    let take_back = || {
        admin("patch --subresource=status --type=merge -p")
            .arg(&patch)
            .arg(made.stdout.trim())
    };
    let says = "existing approvals cannot change";
    refused("an approval taken back", take_back, says);
}

#[test]
fn only_the_guard_writes_emergency_change_records() {
    let _turn = Turn::take();
    people();
    let namespace = shared().namespace("records-kept");
    let ns = namespace.name();
    let owner = with_all_rights("owner@example.com");
    let record = made_up_record(ns, "record");
    let make = |line: &str| by(&owner, line).stdin(record.to_string());
    let says = "only the guard can create, resolve and delete";
    refused("a made-up record", || make("create -f -"), says);
    admin("create -f -")
        .arg(format!("--as={GUARD}"))
        .stdin(record.to_string())
        .ok();
    for line in [
        "patch emc record --subresource=status --type=merge -p {\"status\":{\"state\":\"Absorbed\"}}",
        "delete emc record",
        "delete emc --all",
    ] {
        refused(line, || by(&owner, &format!("-n {ns} {line}")), says);
    }
    // A user who may delete the namespace may delete its content.
    by(&owner, &format!("delete namespace {ns} --timeout=60s")).ok();
}

#[test]
fn emergency_account_tokens_must_be_bound_to_a_grant_secret() {
    let _turn = Turn::take();
    people();
    let rob = with_all_rights("rob@example.com");
    let rob = |line: &str| by(&rob, &format!("-n {BREAK_GLASS} {line}"));
    let of_token_type = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "forever", "annotations":
            {"kubernetes.io/service-account.name": "emergency-ops"}},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"},
        "spec": {
            "serviceAccountName": "emergency-ops",
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "pod", "image": "pod", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    });
    let token = "create token emergency-ops";
    refused(
        "a token",
        || rob(token),
        "must be bound to the Secret of a grant",
    );
    let make = |object: &Value| rob("create -f -").stdin(object.to_string());
    refused("a token Secret", || make(&of_token_type), "must be empty");
    refused(
        "a pod",
        || make(&pod),
        "pods are not allowed in this namespace",
    );
    rob("create secret generic of-a-grant").ok();
    let bound = "--bound-object-kind=Secret --bound-object-name=of-a-grant --duration=10m";
    rob(&format!("{token} {bound}")).ok();
}
