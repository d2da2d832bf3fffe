//! The bodies that each kind of sink receives.

use helm_guard_core::{
    api::{
        ChangeState,
        policy::alerts::{AlertKind, SecretKey},
    },
    policy::alerts::template::AlertDetail,
};
use serde_json::{Value, json};

use super::*;
use crate::alert::tests::{at, change, record_object};

fn rendered(format: &AlertFormat, alert: &Alert) -> Value {
    serde_json::from_str(&body(format, alert, "r0uting")).unwrap()
}

fn pager() -> AlertFormat {
    AlertFormat::PagerDuty(SecretKey {
        name: "alerts".to_owned(),
        key: "pagerduty".to_owned(),
    })
}

/// The input of a user who tries to get attention or to break the format.
fn hostile() -> Alert {
    let mut change = change();
    change.user = "<!channel>".to_owned();
    change.reason = Some("@here \"}], \"x\": [{\" <https://evil|click> & \\".to_owned());
    Alert::break_glass(&change)
}

#[test]
fn slack_gets_a_sentence_and_fields() {
    let alert =
        Alert::break_glass(&change()).with(AlertDetail::Runbook, "https://wiki.example/fire");
    let body = rendered(&AlertFormat::Slack, &alert);
    assert_eq!(
        body["text"],
        format!(":warning: helm-guard: {}", alert.summary)
    );
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["color"], "warning");
    assert_eq!(attachment["ts"], 1_800_000_000);
    let fields = attachment["fields"].as_array().unwrap();
    for (title, value) in [
        ("ticket", "INC-4711"),
        ("reason", "checkout OOM-killed"),
        ("object", "Deployment shop/checkout"),
        ("runbook", "https://wiki.example/fire"),
    ] {
        let found = fields.iter().find(|field| field["title"] == title).unwrap();
        assert_eq!(found["value"], value);
    }
}

#[test]
fn user_input_in_slack_mentions_nobody_and_is_no_link() {
    let text = rendered(&AlertFormat::Slack, &hostile()).to_string();
    for forbidden in ["<!", "<http", "@here"] {
        assert!(!text.contains(forbidden), "{forbidden} in {text}");
    }
    assert!(text.contains("&lt;!channel&gt;"), "{text}");
}

#[test]
fn a_slack_message_is_limited_to_what_is_shown() {
    let mut change = change();
    change.patch = Some("<".repeat(60_000));
    let body = body(&AlertFormat::Slack, &Alert::break_glass(&change), "");
    assert!(body.len() < 16 * 1024, "{}", body.len());
}

#[test]
fn pagerduty_opens_and_closes_an_incident() {
    let opened = rendered(&pager(), &Alert::break_glass(&change()));
    assert_eq!(opened["routing_key"], "r0uting");
    assert_eq!(opened["event_action"], "trigger");
    assert_eq!(opened["payload"]["severity"], "warning");
    assert_eq!(opened["payload"]["timestamp"], "2027-01-15T08:00:00Z");
    assert_eq!(opened["payload"]["custom_details"]["ticket"], "INC-4711");
    assert_eq!(opened["links"], Value::Null);

    let overdue = rendered(&pager(), &Alert::overdue(&change(), at(90_000)));
    assert_eq!(overdue["event_action"], "trigger");
    assert_eq!(overdue["payload"]["severity"], "critical");

    let settled = Alert::settled(&change(), ChangeState::Reverted, None, at(100_000));
    let closed = rendered(&pager(), &settled);
    assert_eq!(closed["event_action"], "resolve");
    for event in [&overdue, &closed] {
        assert_eq!(event["dedup_key"], opened["dedup_key"]);
    }
}

#[test]
fn an_event_for_pagerduty_stays_within_its_limit() {
    let mut change = change();
    // Each of these is twelve bytes of JSON.
    change.patch = Some("\u{fffd}\"".repeat(32 * 1024));
    let alert = Alert::break_glass(&change);
    assert!(rendered(&pager(), &alert)["payload"]["custom_details"]["patch"].is_string());

    let long = "x".repeat(600 * 1024);
    let text = body(&pager(), &alert, &long[..480 * 1024]);
    assert!(text.len() <= 512 * 1024, "{}", text.len());
    let event: Value = serde_json::from_str(&text).unwrap();
    let details = &event["payload"]["custom_details"];
    assert!(details["patch"].is_null() && details["user"].is_string());
}

#[test]
fn alertmanager_gets_an_alert_that_lasts_until_it_must_be_reconciled() {
    let body = rendered(&AlertFormat::Alertmanager, &Alert::break_glass(&change()));
    let key = "change/0a1b/shop/checkout";
    assert_eq!(
        body[0]["labels"],
        json!({"alertname": "HelmGuardBreakGlass", "severity": "warning", "source": "helm-guard",
            "key": key, "namespace": "shop", "release": "checkout",
            "object": "Deployment shop/checkout"})
    );
    assert_eq!(body[0]["startsAt"], "2027-01-15T08:00:00Z");
    assert_eq!(body[0]["endsAt"], "2027-01-16T08:00:00Z");
    let annotations = &body[0]["annotations"];
    assert_eq!(annotations["reason"], "checkout OOM-killed");
    assert_eq!(annotations["patch"], Value::Null);
}

#[test]
fn alertmanager_gets_a_resolution_for_each_alert_of_a_change() {
    let began = [
        Alert::break_glass(&change()),
        Alert::overdue(&change(), at(90_000)),
    ];
    let settled = Alert::settled(&change(), ChangeState::Absorbed, Some(4), at(100_000));
    let ended = rendered(&AlertFormat::Alertmanager, &settled);
    for (alert, end) in began.iter().zip(ended.as_array().unwrap()) {
        let began = rendered(&AlertFormat::Alertmanager, alert);
        assert_eq!(began[0]["labels"], end["labels"]);
        assert_eq!(end["endsAt"], at(100_000).to_string());
    }
}

#[test]
fn an_alert_never_ends_before_it_starts() {
    let mut change = change();
    change.reconcile_by = change.at.clone();
    change.reconcile_by.0 = at(-50);
    let body = rendered(&AlertFormat::Alertmanager, &Alert::break_glass(&change));
    assert_eq!(body[0]["startsAt"], body[0]["endsAt"]);
}

#[test]
fn a_generic_sink_gets_the_entire_alert_as_json() {
    let alert =
        Alert::break_glass(&change()).with(AlertDetail::Runbook, "https://wiki.example/fire");
    assert_eq!(
        rendered(&AlertFormat::Json, &alert),
        json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "Alert", "event": "BreakGlass",
            "status": "firing", "severity": "warning", "key": "change/0a1b/shop/checkout",
            "summary": alert.summary,
            "at": "2027-01-15T08:00:00Z", "since": "2027-01-15T08:00:00Z",
            "user": "system:serviceaccount:ops:emergency-ops",
            "grant": "inc-4711", "ticket": "INC-4711", "reason": "checkout OOM-killed",
            "operation": "Update",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
                "name": "checkout"},
            "release": {"namespace": "shop", "name": "checkout", "chart": "web-1.2.0", "revision": 3},
            "fields": [{
                "path": ".spec.template.spec.containers[name=app].resources.limits.memory",
                "declared": "1Gi", "live": "1Gi", "requested": "2Gi",
            }],
            "patch": [{"op": "replace"}],
            "reconcileBy": "2027-01-16T08:00:00Z",
            "runbook": "https://wiki.example/fire",
        })
    );
}

#[test]
fn a_generic_sink_gets_numbers_and_lines_of_what_is_in_words() {
    let lines = ["mode: Deny to Audit".to_owned(), "user added".to_owned()];
    let alert = Alert::of_guard(
        AlertKind::PolicyLoosened,
        "u/2",
        "the policy is laxer",
        at(1),
    )
    .with_lines(&lines)
    .with(AlertDetail::Count, "7");
    let body = rendered(&AlertFormat::Json, &alert);
    assert_eq!(body["changes"], json!(lines));
    assert_eq!(body["count"], 7);
    assert_eq!(body["fields"], Value::Null);
}

#[test]
fn a_ticket_keeps_the_structure_of_its_template_whatever_the_values() {
    let template = r#"{"fields": {"summary": "[{{severity}}] {{summary}}",
        "description": {{reason}}, "labels": ["break-glass", {{namespace}}], "parent": {{state}}}}"#;
    let format = AlertFormat::Template(Template::compile(template).unwrap());
    let alert = hostile();
    let body = rendered(&format, &alert);
    assert_eq!(
        body,
        json!({"fields": {
            "summary": format!("[warning] {}", alert.summary),
            "description": alert.detail(AlertDetail::Reason).unwrap(),
            "labels": ["break-glass", "shop"],
            // A missing detail is an empty string.
            "parent": "",
        }})
    );
}

#[test]
fn every_kind_of_alert_can_be_rendered_for_every_sink() {
    let kinds = [
        Alert::break_glass(&change()),
        Alert::overdue(&change(), at(1)),
        Alert::settled(&change(), ChangeState::Void, None, at(1)),
        Alert::records_tampered(&crate::Tampering {
            user: "jane",
            operation: "Delete",
            object: &record_object(1),
            release: None,
            decision: helm_guard_core::guard::Decision::Deny,
            at: at(1),
        }),
        Alert::denials(&crate::alert::Denials {
            above: 20,
            within: helm_guard_core::api::Span::hours(1),
            user: "jane",
            object: &change().object,
            at: at(1),
        }),
        Alert::of_guard(
            AlertKind::PolicyLoosened,
            "u/2",
            "the policy is less strict",
            at(1),
        ),
        Alert::of_guard(AlertKind::Suspended, "", "the guard is suspended", at(1)).resolved(),
    ];
    let known: Vec<AlertKind> = kinds.iter().map(|alert| alert.kind).collect();
    assert_eq!(
        known,
        [
            AlertKind::BreakGlass,
            AlertKind::Overdue,
            AlertKind::Settled,
            AlertKind::RecordsTampered,
            AlertKind::Denials,
            AlertKind::PolicyLoosened,
            AlertKind::Suspended,
        ]
    );
    for alert in &kinds {
        for format in [
            AlertFormat::Slack,
            pager(),
            AlertFormat::Alertmanager,
            AlertFormat::Json,
        ] {
            let body = body(&format, alert, "");
            assert!(body.contains(&alert.summary), "{body}");
        }
    }
}
