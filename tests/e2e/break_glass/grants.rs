//! Who may create, approve and revoke a grant, and what a grant covers.

use serde_json::json;

use super::night::{ANNA, Night, break_glass, break_glass_ok, create, people};
use crate::scene::{Screen, eventually};

#[test]
fn without_a_valid_grant_the_emergency_account_has_no_break_glass() {
    let night = Night::new("expiry", &json!({"requireGrant": true}));
    night.raise("2Gi").denied(&["Not a break-glass change by "]);
    create(&people().oscar, &night.grant("short", 15)).ok();
    night
        .raise("2Gi")
        .warned(&["recorded as myapp-", "(INC-4711)"]);
    eventually("the end of the grant", || {
        let tried = night.raise("3Gi").arg("--dry-run=server").run();
        tried.says("expired at").then_some(())
    });
    night.raise("3Gi").denied(&["expired at"]);
}

#[test]
fn a_grant_does_not_cover_other_namespaces() {
    let night = Night::new("foreign", &json!({"requireGrant": true}));
    let mut grant = night.grant("elsewhere", 600);
    grant["spec"]["scope"] = json!({"namespaces": ["elsewhere"]});
    create(&people().oscar, &grant).ok();
    night.raise("2Gi").denied(&["is only for "]);
}

#[test]
fn a_grant_needs_its_own_requester_a_break_glass_subject_and_a_short_duration() {
    let night = Night::new(
        "forged",
        &json!({"requireTicket": true, "maxDuration": "1h"}),
    );
    let refused = |pointer: &str, value, says: &str| {
        let mut grant = night.grant("forged", 600);
        *grant.pointer_mut(pointer).unwrap() = value;
        let output = create(&people().oscar, &grant).refused();
        assert!(output.says(says), "{}", output.stderr);
    };
    refused(
        "/spec/requestedBy",
        json!(ANNA),
        "must be the requesting user",
    );
    refused("/spec/ticket", json!(""), "required by the policy");
    refused(
        "/spec/subjects",
        json!({"users": ["eve"]}),
        "not a break-glass identity",
    );
    refused(
        "/spec/expiresAt",
        night.grant("", 7200)["spec"]["expiresAt"].clone(),
        "at most 1h from now",
    );
}

#[test]
fn a_grant_needs_approval_by_another_user() {
    let night = Night::new("approval", &json!({"approvals": 1}));
    let grant = night.grant("approved", 600);
    let name = grant["metadata"]["name"].as_str().unwrap();
    create(&people().oscar, &grant).ok();
    night.raise("2Gi").denied(&["has 0 of 1 approval"]);
    // RBAC denies this to Oscar, and the guard would, too.
    assert!(
        !break_glass(&people().oscar, &["approve", name])
            .status
            .success()
    );
    break_glass_ok(&people().anna, &["approve", name]);
    let again = break_glass(&people().anna, &["approve", name]);
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(stderr.contains("a user can approve only once"), "{stderr}");
    night.raise("2Gi").warned(&["recorded as myapp-"]);
    break_glass_ok(&people().oscar, &["close", name]);
    night.raise("3Gi").denied(&["was revoked"]);
    let list = break_glass_ok(&people().vera, &["list", "--all"]);
    let line = list.lines().find(|line| line.contains(name)).unwrap();
    assert!(line.contains("revoked"), "{list}");
    assert!(
        !break_glass(&people().vera, &["close", name])
            .status
            .success()
    );
}
