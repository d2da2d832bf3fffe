//! What answers say of emergencies: the hint of a denial, and the warnings of a change that passes.

use helm_guard_core::{breakglass::RedactedPatch, helm::ObjectId};

use super::*;
use crate::record::{changes::Persisted, events::Note};

#[rstest]
#[case::runbook_and_token(
    Some("https://runbooks.example"),
    EmergencyAccess::Token,
    "shop",
    Some("https://runbooks.example, or helm-guard break-glass open -n shop --reason <reason>")
)]
#[case::runbook(
    Some("https://runbooks.example"),
    EmergencyAccess::None,
    "shop",
    Some("https://runbooks.example")
)]
#[case::token(
    None,
    EmergencyAccess::Token,
    "shop",
    Some("helm-guard break-glass open -n shop --reason <reason>")
)]
#[case::cluster_scoped(
    None,
    EmergencyAccess::Token,
    "",
    Some("helm-guard break-glass open -A --reason <reason>")
)]
#[case::identity(
    None,
    EmergencyAccess::Identity,
    "shop",
    Some("make the change as a break-glass identity")
)]
#[case::nobody(None, EmergencyAccess::None, "shop", None)]
fn a_denial_says_what_to_do_in_an_emergency(
    #[case] runbook: Option<&'static str>,
    #[case] access: EmergencyAccess,
    #[case] namespace: &'static str,
    #[case] expected: Option<&str>,
) {
    let case = Case {
        emergency_hint: EmergencyHint { runbook, access },
        object: object("Deployment", namespace),
        ..Case::default()
    };
    let message = case.message();
    let hint = message
        .lines()
        .find_map(|line| line.strip_prefix("In an emergency: "));
    assert_eq!(hint, expected, "{message}");
}

fn emergency(kept: Result<&str, PersistError>) -> Emergency {
    let record = json!({
        "user": "ada", "at": "2026-11-21T03:00:00Z", "requestUid": "u-1", "operation": "Update",
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "myapp"},
        "release": {"name": "myapp", "namespace": "shop", "chart": "myapp-1.2.0", "revision": 3},
        "ticket": "INC-4711", "reconcileBy": "2026-11-22T03:12:59Z",
    });
    Emergency {
        change: RedactedPatch {
            patch: None,
            paths: Vec::new(),
        },
        record: serde_json::from_value(record).unwrap(),
        kept: kept.map(|name| Persisted::New(name.to_owned())),
        note: Note {
            object: ObjectId {
                group: "apps".to_owned(),
                kind: "Deployment".to_owned(),
                namespace: "shop".to_owned(),
                name: "myapp".to_owned(),
            },
            api_version: "apps/v1".to_owned(),
            uid: None,
            reason: "BreakGlass",
            action: "Update",
            text: String::new(),
        },
    }
}

#[test]
fn a_break_glass_change_is_warned_about_with_its_record() {
    let case = |kept| Case {
        decision: Decision::BreakGlass,
        emergency: Some(emergency(kept)),
        ..Case::default()
    };
    let warnings = case(Ok("myapp-7f3a")).warnings();
    assert_eq!(
        warnings[0],
        "helm-guard: break-glass change by system:serviceaccount:ops:emergency recorded as \
         myapp-7f3a (INC-4711); reconcile it with the chart by 2026-11-22T03:12Z"
    );
    assert_eq!(
        warnings[2],
        "helm-guard: .spec.replicas: declared 3, live 3, requested 0"
    );
    assert!(
        case(Err(PersistError::NotInstalled)).warnings()[0]
            .contains("recorded in the audit log (INC-4711); reconcile it")
    );
    assert!(
        case(Err(PersistError::Late)).warnings()[0]
            .ends_with("(there was no time left to store it)")
    );
}

#[test]
fn a_dry_run_by_break_glass_claims_no_record() {
    let dry_run = Case {
        dry_run: true,
        decision: Decision::BreakGlass,
        ..Case::default()
    };
    assert!(dry_run.warnings()[0].contains("would be recorded"));
}

#[test]
fn a_denial_explains_why_break_glass_does_not_apply() {
    let refused = || Case {
        refusal: Some(Refusal::NoGrant),
        emergency_hint: EmergencyHint {
            runbook: None,
            access: EmergencyAccess::Token,
        },
        ..Case::default()
    };
    let unrecorded = Case {
        emergency: Some(emergency(Err(PersistError::Late))),
        ..Case::default()
    };
    for (case, says) in [
        (refused(), "no grant names this identity"),
        (refused(), "In an emergency: helm-guard break-glass open "),
        (
            unrecorded,
            "could not be recorded, and the policy requires a record",
        ),
    ] {
        let message = case.message();
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn an_emergency_change_of_a_server_side_applied_release_warns_about_conflicts() {
    let warnings = |apply_method| {
        let finding = Finding {
            apply_method,
            ..finding("shop", &[3], vec![replicas()])
        };
        let case = Case {
            decision: Decision::BreakGlass,
            findings: vec![finding],
            ..Case::default()
        };
        case.response()["warnings"].clone()
    };
    let expected = "helm-guard: Helm applies release myapp server-side: an upgrade or rollback to \
                    another value will stop with a conflict; --force-conflicts takes the field back";
    let server_side = warnings(ApplyMethod::ServerSide);
    assert_eq!(server_side[1], expected);
    let client_side = warnings(ApplyMethod::ClientSide).to_string();
    assert!(!client_side.contains("--force-conflicts"), "{client_side}");
    // A deleted object has no field owners.
    let deleted = Case {
        decision: Decision::BreakGlass,
        reason: Reason::ObjectDeleted,
        findings: vec![Finding {
            apply_method: ApplyMethod::ServerSide,
            ..finding("shop", &[3], vec![])
        }],
        ..Case::default()
    };
    let warnings = deleted.response()["warnings"].to_string();
    assert!(!warnings.contains("--force-conflicts"), "{warnings}");
}
