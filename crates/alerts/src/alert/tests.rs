//! The content of alerts and its limits.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rstest::rstest;
use serde_json::json;

use super::*;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// A change of memory limits in an incident.
pub(crate) fn change() -> EmergencyChangeSpec {
    EmergencyChangeSpec {
        user: "system:serviceaccount:ops:emergency-ops".to_owned(),
        groups: Vec::new(),
        credential_id: None,
        at: Time(at(0)),
        request_uid: "0a1b".to_owned(),
        grant: Some("inc-4711".to_owned()),
        ticket: Some("INC-4711".to_owned()),
        reason: Some("checkout OOM-killed".to_owned()),
        operation: ChangeOperation::Update,
        object: ReportedObject {
            api_version: "apps/v1".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: "checkout".to_owned(),
            subresource: String::new(),
            uid: None,
            resource_version: None,
        },
        release: ReportedRelease {
            server_side_apply: false,
            name: "checkout".to_owned(),
            namespace: "shop".to_owned(),
            chart: "web-1.2.0".to_owned(),
            revision: 3,
        },
        fields: vec![ReportedField {
            path: ".spec.template.spec.containers[name=app].resources.limits.memory".to_owned(),
            declared: Some(json!("1Gi")),
            live: Some(json!("1Gi")),
            requested: Some(json!("2Gi")),
            described: Vec::new(),
        }],
        patch: Some("[{\"op\":\"replace\"}]".to_owned()),
        reconcile_by: Time(at(86400)),
    }
}

pub(crate) fn record_object(revision: u32) -> ReportedObject {
    ReportedObject {
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        namespace: "shop".to_owned(),
        name: format!("sh.helm.release.v1.web.v{revision}"),
        ..ReportedObject::default()
    }
}

#[test]
fn a_break_glass_alert_names_user_object_and_reason() {
    let alert = Alert::break_glass(&change());
    assert_eq!(
        alert.summary,
        "system:serviceaccount:ops:emergency-ops used break-glass: Update of Deployment \
         shop/checkout (release shop/checkout)"
    );
    let details: Vec<_> = alert.details().collect();
    assert_eq!(
        details,
        [
            (AlertDetail::User, "system:serviceaccount:ops:emergency-ops"),
            (AlertDetail::Grant, "inc-4711"),
            (AlertDetail::Ticket, "INC-4711"),
            (AlertDetail::Reason, "checkout OOM-killed"),
            (AlertDetail::Operation, "Update"),
            (AlertDetail::Object, "Deployment shop/checkout"),
            (AlertDetail::Namespace, "shop"),
            (AlertDetail::Release, "checkout"),
            (AlertDetail::Chart, "web-1.2.0"),
            (AlertDetail::Revision, "3"),
            (
                AlertDetail::Fields,
                ".spec.template.spec.containers[name=app].resources.limits.memory: declared \
                 \"1Gi\", live \"1Gi\", requested \"2Gi\""
            ),
            (AlertDetail::Patch, "[{\"op\":\"replace\"}]"),
            (AlertDetail::ReconcileBy, "2027-01-16T08:00:00Z"),
        ]
    );
}

#[test]
fn the_resolution_of_a_change_has_the_key_of_its_first_alert() {
    let change = change();
    let begin = Alert::break_glass(&change);
    let overdue = Alert::overdue(&change, at(90_000));
    let end = Alert::settled(&change, ChangeState::Absorbed, Some(4), at(100_000));
    assert_eq!((&begin.key, &begin.key), (&overdue.key, &end.key));
    let statuses = [begin.status, overdue.status, end.status];
    assert_eq!(
        statuses,
        [
            AlertStatus::Firing,
            AlertStatus::Firing,
            AlertStatus::Resolved
        ]
    );
    assert_eq!(begin.until, at(86400));
    assert_eq!((end.since, end.until), (at(0), at(100_000)));
    assert!(end.summary.starts_with("Absorbed: "), "{}", end.summary);
    assert!(end.summary.ends_with("revision 4)"), "{}", end.summary);
    assert_eq!(overdue.detail(AlertDetail::State), Some("Overdue"));
}

#[test]
fn two_releases_of_one_request_are_two_incidents() {
    let mut other = change();
    other.release.name = "other".to_owned();
    let keys = [change(), other].map(|change| Alert::break_glass(&change).key);
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_reason_of_a_mebibyte_is_cut() {
    let mut change = change();
    change.reason = Some("x".repeat(1024 * 1024));
    change.patch = Some("y".repeat(1024 * 1024));
    change.user = "z".repeat(1024 * 1024);
    let alert = Alert::break_glass(&change);
    let chars = |detail| alert.detail(detail).unwrap().chars().count();
    assert_eq!(chars(AlertDetail::Reason), REASON_CHARS);
    assert_eq!(chars(AlertDetail::Patch), PATCH_CHARS);
    assert_eq!(chars(AlertDetail::User), LINE_CHARS);
    assert_eq!(alert.summary.chars().count(), SUMMARY_CHARS);
    assert!(alert.summary.ends_with('\u{2026}'));
}

#[rstest]
#[case::line_break("a\nApproved by: the boss", "a Approved by: the boss")]
#[case::terminal("\u{1b}[2Jgone", " [2Jgone")]
#[case::turned("\u{202e}live", " live")]
#[case::separator("a\u{2028}b", "a b")]
#[case::words("caf\u{e9} \u{1f525}", "caf\u{e9} \u{1f525}")]
fn a_reason_is_one_line_of_plain_text(#[case] reason: &str, #[case] shown: &str) {
    let mut change = change();
    change.reason = Some(reason.to_owned());
    let alert = Alert::break_glass(&change);
    assert_eq!(alert.detail(AlertDetail::Reason), Some(shown));
}

#[test]
fn each_field_is_one_line_whatever_it_contains() {
    let mut change = change();
    change.fields[0].path = ".data.a\u{2028}b".to_owned();
    change.fields[0].requested = Some(json!({"a\u{202e}": ["\u{2028}b"]}));
    change.fields.push(change.fields[0].clone());
    change.fields[1].requested = None;
    let alert = Alert::break_glass(&change);
    let lines: Vec<_> = alert.detail(AlertDetail::Fields).unwrap().lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with(".data.a b: "), "{lines:?}");
    assert!(
        lines[0].ends_with("requested {\"a \":[\" b\"]}"),
        "{lines:?}"
    );
    assert!(lines[1].ends_with("requested nothing"), "{lines:?}");
    assert_eq!(alert.subject.fields[0].path, ".data.a b");
    assert_eq!(
        alert.subject.fields[0].requested,
        Some(json!({"a ": [" b"]}))
    );
}

#[test]
fn text_is_cut_at_a_character_boundary() {
    for (text, shown) in [
        ("abc", "abc"),
        ("abcd", "ab\u{2026}"),
        ("\u{e9}\u{e9}\u{e9}\u{e9}", "\u{e9}\u{e9}\u{2026}"),
    ] {
        assert_eq!(clean(text, 3), shown);
    }
}

#[test]
fn a_tampering_alert_is_keyed_by_release_user_and_decision() {
    let tampering = |user, revision, decision| {
        Alert::records_tampered(&Tampering {
            user,
            operation: "Delete",
            object: &record_object(revision),
            release: Some(&ReportedRelease {
                namespace: "shop".to_owned(),
                name: "web".to_owned(),
                ..ReportedRelease::default()
            }),
            decision,
            at: at(0),
        })
    };
    let alert = tampering("jane", 3, Decision::Warn);
    assert_eq!(
        alert.summary,
        "jane changed Helm's records by hand: Delete of Secret shop/sh.helm.release.v1.web.v3"
    );
    assert_eq!(alert.detail(AlertDetail::Release), Some("web"));
    assert_eq!(alert.key, tampering("jane", 2, Decision::Warn).key);
    assert_ne!(alert.key, tampering("joe", 3, Decision::Warn).key);
    let refused = tampering("jane", 3, Decision::Deny);
    assert_ne!(alert.key, refused.key);
    assert_eq!(
        refused.summary,
        "jane was denied changing Helm's records by hand: Delete of Secret \
         shop/sh.helm.release.v1.web.v3"
    );
}
