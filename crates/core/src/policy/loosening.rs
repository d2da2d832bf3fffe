//! Which parts become less strict when one policy replaces another.
//!
//! Invariant: a difference counts as less strict unless it is known to be stricter or to change no verdict, so a
//! new part of the policy is reported rather than missed.
//!
//! Start at [`between`]; [`sinks`] is about alert sinks.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::alerts::AlertSettings;
use crate::{api::GuardPolicySpec, text};

/// The most differences that are named.
const MOST: usize = 20;

/// Parts that change no verdict: the alert sinks, and the kill switch, which has its own alert.
const NO_VERDICT: [&str; 4] = ["alerts", "runbookURL", "suspend", "suspendReason"];

/// Lists of permissions: an additional item is less strict, a removed item is stricter.
const ALLOWANCES: [&str; 8] = [
    "ignore",
    "exemptions",
    "undeclared.except",
    "presets.enable",
    "breakGlass.identities",
    "breakGlass.approvers",
    "records.trustedNamespaces",
    "trustedNamespaces",
];

/// Values, strictest first.
const MODES: [&str; 4] = ["Deny", "Warn", "Audit", "Off"];
/// The same for `undeclared`.
const UNDECLARED: [&str; 3] = ["Deny", "Warn", "Allow"];

/// The parts of `new` that are less strict than in `old`, one per line: `mode: Deny to Audit`.
pub fn between(old: &GuardPolicySpec, new: &GuardPolicySpec) -> Vec<String> {
    let (Ok(old), Ok(new)) = (serde_json::to_value(old), serde_json::to_value(new)) else {
        return vec!["the policies could not be compared".to_owned()];
    };
    let mut looser = Vec::new();
    walk("", &old, &new, &mut looser);
    shortened(looser)
}

/// The sinks of `old` that are gone or changed in `new`, and the rate of denials, one per line.
pub fn sinks(old: &AlertSettings, new: &AlertSettings) -> Vec<String> {
    let mut changes = Vec::new();
    for sink in &old.sinks {
        match new.sinks.iter().find(|other| other.name == sink.name) {
            None => changes.push(format!("sink {} removed", sink.name)),
            Some(other) if other != sink => changes.push(format!("sink {} changed", sink.name)),
            Some(_) => {}
        }
    }
    if old.denials.is_some() && old.denials != new.denials {
        changes.push("rate of denials changed".to_owned());
    }
    shortened(changes)
}

fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST);
    if more > 0 {
        lines.truncate(MOST);
        lines.push(format!("and {more} more"));
    }
    lines
}

fn walk(at: &str, old: &Value, new: &Value, looser: &mut Vec<String>) {
    if old == new || NO_VERDICT.contains(&at) {
        return;
    }
    match (old, new) {
        _ if ALLOWANCES.contains(&at) => allowances(at, old, new, looser),
        _ if at == "overrides" => overrides(old, new, looser),
        _ if at == "records.deployers" => deployers(old, new, looser),
        _ if at == "presets.disable" => added(at, new, old, "no longer disabled", looser),
        (Value::Object(_) | Value::Null, Value::Object(_) | Value::Null) => {
            let none = Map::new();
            let (old, new) = (
                old.as_object().unwrap_or(&none),
                new.as_object().unwrap_or(&none),
            );
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let at = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                let of = |parts: &Map<String, Value>| parts.get(name).cloned().unwrap_or_default();
                walk(&at, &of(old), &of(new), looser);
            }
        }
        _ if is_stricter(at, old, new) => {}
        _ => looser.push(format!("{at}: {} to {}", shown(old), shown(new))),
    }
}

/// Whether a single value is known to have become stricter.
fn is_stricter(at: &str, old: &Value, new: &Value) -> bool {
    let rank = |words: &[&str], value: &Value| {
        let word = value.as_str()?;
        words.iter().position(|known| *known == word)
    };
    let ranked = |words| match (rank(words, old), rank(words, new)) {
        (Some(old), Some(new)) => new < old,
        // Absent means the policy's mode: only the strictest value cannot be less strict than that.
        (None, Some(new)) => old.is_null() && new == 0,
        // Nothing is less strict than `Off`.
        (Some(_), None) => new.is_null() && old == "Off",
        _ => false,
    };
    match at {
        "undeclared.mode" => ranked(&UNDECLARED),
        "mode"
        | "records.mode"
        | "records.namespaces"
        | "records.definitions"
        | "records.deployersMode" => ranked(&MODES),
        "breakGlass.onRecordFailure" | "presets.undeclaredAutoscalers" => new == "Deny",
        "chartAnnotations" => new == "Ignore",
        "breakGlass.requireGrant" | "breakGlass.requireReason" | "breakGlass.requireTicket" => {
            new == true
        }
        "breakGlass.approvals" => new.as_u64() > old.as_u64(),
        // A shorter duration, or a new limit.
        "uninstallingMaxAge" | "breakGlass.maxDuration" | "breakGlass.reconcileWithin" => {
            match (span(old), span(new)) {
                (Some(old), Some(new)) => new < old,
                (None, Some(_)) => old.is_null(),
                _ => false,
            }
        }
        _ => false,
    }
}

fn span(value: &Value) -> Option<jiff::SignedDuration> {
    let span: crate::api::Span = value.as_str()?.parse().ok()?;
    Some(span.get())
}

fn allowances(at: &str, old: &Value, new: &Value, looser: &mut Vec<String>) {
    match (old, new) {
        (Value::Array(_) | Value::Null, Value::Array(_) | Value::Null) => {
            added(at, old, new, "added", looser);
        }
        // Approvers: by default, anyone whom RBAC allows.
        (Value::Null, _) => {}
        _ => looser.push(format!("{at}: changed")),
    }
}

/// The items of `new` that are not in `old`.
fn added(at: &str, old: &Value, new: &Value, what: &str, looser: &mut Vec<String>) {
    let old: BTreeSet<String> = items(old).map(Value::to_string).collect();
    for item in items(new) {
        if !old.contains(&item.to_string()) {
            looser.push(format!("{at}: {} {what}", shown(item)));
        }
    }
}

/// An added or removed override is less strict, unless it is known to be stricter.
fn overrides(old: &Value, new: &Value, looser: &mut Vec<String>) {
    let strictness = |item: &Value| {
        let is = |name: &str, word: &str| item.get(name).is_none_or(|mode| mode == word);
        (
            is("mode", "Deny") && is("undeclared", "Deny"),
            is("mode", "Audit") && is("undeclared", "Allow"),
        )
    };
    let known = |list: &Value| -> BTreeSet<String> { items(list).map(Value::to_string).collect() };
    let (before, after) = (known(old), known(new));
    for item in items(new).filter(|item| !before.contains(&item.to_string())) {
        let (is_strictest, _) = strictness(item);
        if !is_strictest {
            looser.push(format!("overrides: {} added", shown(item)));
        }
    }
    for item in items(old).filter(|item| !after.contains(&item.to_string())) {
        let (_, is_laxest) = strictness(item);
        if !is_laxest {
            looser.push(format!("overrides: {} removed", shown(item)));
        }
    }
}

/// If no deployers are listed, anyone may deploy.
fn deployers(old: &Value, new: &Value, looser: &mut Vec<String>) {
    let at = "records.deployers";
    match (items(old).next(), items(new).next()) {
        (Some(_), None) => looser.push(format!(
            "{at}: no deployers are listed anymore, so anyone may deploy"
        )),
        (Some(_), Some(_)) => added(at, old, new, "added", looser),
        (None, _) => {}
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A value in a few words: its name, if it has one.
fn shown(value: &Value) -> String {
    const CHARS: usize = 120;
    let text = match value {
        Value::Null => return "nothing".to_owned(),
        Value::String(word) => word.clone(),
        Value::Object(parts) => match parts.get("name").and_then(Value::as_str) {
            Some(name) => name.to_owned(),
            None => value.to_string(),
        },
        other => other.to_string(),
    };
    text::shortened(&text, CHARS).into_owned()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::policy::document;

    fn spec(value: &Value) -> GuardPolicySpec {
        document::spec(value).unwrap()
    }

    fn looser(old: &Value, new: &Value) -> Vec<String> {
        between(&spec(old), &spec(new))
    }

    fn exemption(name: &str) -> Value {
        json!({"name": name, "subjects": {"users": ["ada"]}, "kinds": [{"kind": "Secret"}], "paths": ["/data"]})
    }

    #[rstest]
    #[case::mode(json!({"mode": "Deny"}), json!({"mode": "Audit"}), "mode: Deny to Audit")]
    #[case::mode_not_said(json!({}), json!({"mode": "Warn"}), "mode: Deny to Warn")]
    #[case::undeclared(
        json!({"undeclared": {"mode": "Deny"}}), json!({}), "undeclared.mode: Deny to Allow"
    )]
    #[case::exception(
        json!({"undeclared": {"mode": "Deny"}}),
        json!({"undeclared": {"mode": "Deny", "except": [{"paths": ["/data"]}]}}),
        "undeclared.except: {"
    )]
    #[case::exemption(
        json!({"exemptions": [exemption("a")]}),
        json!({"exemptions": [exemption("a"), exemption("b")]}),
        "exemptions: b added"
    )]
    #[case::wider_exemption(
        json!({"exemptions": [exemption("a")]}),
        json!({"exemptions": [{"name": "a", "subjects": {"users": ["ada", "bob"]},
            "kinds": [{"kind": "Secret"}], "paths": ["/data"]}]}),
        "exemptions: a added"
    )]
    #[case::ignored_field(
        json!({}),
        json!({"ignore": [{"name": "replicas", "paths": ["/spec/replicas"]}]}),
        "ignore: replicas added"
    )]
    #[case::namespace_left_out(
        json!({}),
        json!({"overrides": [{"match": {"namespaces": {"names": ["shop"]}}, "mode": "Audit"}]}),
        "overrides: {"
    )]
    #[case::strict_override_removed(
        json!({"mode": "Warn", "overrides": [{"match": {"namespaces": {"names": ["bank"]}}, "mode": "Deny"}]}),
        json!({"mode": "Warn"}),
        "removed"
    )]
    #[case::preset(
        json!({}), json!({"presets": {"enable": [{"name": "pvc-growth"}]}}), "presets.enable: pvc-growth added"
    )]
    #[case::preset_back(
        json!({"presets": {"disable": ["job-ttl"]}}), json!({}), "presets.disable: job-ttl no longer disabled"
    )]
    #[case::undeclared_autoscalers(
        json!({"presets": {"undeclaredAutoscalers": "Deny"}}), json!({}), "presets.undeclaredAutoscalers"
    )]
    #[case::namespace_whose_records_claim_anything(
        json!({}), json!({"records": {"trustedNamespaces": ["flux-system"]}}), "flux-system added"
    )]
    #[case::records_off(
        json!({}), json!({"records": {"mode": "Off"}}), "records.mode: nothing to Off"
    )]
    #[case::strict_records_gone(
        json!({"mode": "Audit", "records": {"mode": "Deny"}}),
        json!({"mode": "Audit"}),
        "records.mode: Deny to nothing"
    )]
    #[case::deployers_emptied(
        json!({"records": {"deployers": [{"subjects": {"users": ["ci"]}}]}}),
        json!({}),
        "anyone may deploy"
    )]
    #[case::another_deployer(
        json!({"records": {"deployers": [{"subjects": {"users": ["ci"]}}]}}),
        json!({"records": {"deployers": [{"subjects": {"users": ["ci"]}}, {"subjects": {"users": ["bob"]}}]}}),
        "records.deployers: "
    )]
    #[case::chart_annotations(
        json!({}), json!({"chartAnnotations": "Honor"}), "chartAnnotations: Ignore to Honor"
    )]
    #[case::unlimited_uninstalls(
        json!({"uninstallingMaxAge": "1h"}), json!({}), "uninstallingMaxAge: 1h to nothing"
    )]
    #[case::grants_last_longer(
        json!({}), json!({"breakGlass": {"maxDuration": "8h"}}), "breakGlass.maxDuration: 4h to 8h"
    )]
    #[case::fewer_approvals(
        json!({"breakGlass": {"approvals": 2, "requireGrant": true}}),
        json!({"breakGlass": {"approvals": 1, "requireGrant": true}}),
        "breakGlass.approvals: 2 to 1"
    )]
    #[case::anyone_approves(
        json!({"breakGlass": {"approvers": {"users": ["ada"]}}}), json!({}), "breakGlass.approvers"
    )]
    #[case::unrecorded_changes_pass(
        json!({"breakGlass": {"onRecordFailure": "Deny"}}), json!({}), "breakGlass.onRecordFailure"
    )]
    fn less_strict_parts_are_named(#[case] old: Value, #[case] new: Value, #[case] says: &str) {
        let found = looser(&old, &new);
        assert!(found.len() == 1 && found[0].contains(says), "{found:?}");
        let back = looser(&new, &old);
        let goes_both_ways = says.contains("exemptions: a");
        assert!(goes_both_ways || back.is_empty(), "{back:?}");
    }

    #[rstest]
    #[case::the_same(json!({"mode": "Warn"}), json!({"mode": "Warn"}))]
    #[case::the_order_of_rules(
        json!({"exemptions": [exemption("a"), exemption("b")]}),
        json!({"exemptions": [exemption("b"), exemption("a")]})
    )]
    #[case::another_runbook(json!({}), json!({"runbookURL": "https://example.com"}))]
    #[case::the_kill_switch_has_its_own_alert(json!({}), json!({"suspend": true}))]
    fn stricter_parts_are_not_named(#[case] old: Value, #[case] new: Value) {
        assert_eq!(looser(&old, &new), Vec::<String>::new());
    }

    #[test]
    fn a_long_list_is_cut() {
        let many: Vec<Value> = (0..100).map(|n| exemption(&format!("e{n}"))).collect();
        let found = looser(&json!({}), &json!({"exemptions": many}));
        assert_eq!(found.len(), MOST + 1);
        assert_eq!(found[MOST], "and 80 more");
    }

    #[rstest]
    #[case::removed(json!([]), &["sink chat removed"])]
    #[case::elsewhere(
        json!([{"name": "chat", "type": "slack", "url": "http://127.0.0.1:9/x"}]), &["sink chat changed"]
    )]
    #[case::hears_less(
        json!([{"name": "chat", "type": "slack", "url": "http://127.0.0.1:9/", "events": ["Settled"]}]),
        &["sink chat changed"]
    )]
    #[case::one_more(
        json!([{"name": "chat", "type": "slack", "url": "http://127.0.0.1:9/"},
            {"name": "more", "type": "slack", "url": "http://127.0.0.1:9/"}]),
        &[]
    )]
    fn a_removed_or_changed_sink_is_named(#[case] sinks: Value, #[case] says: &[&str]) {
        let plan = |sinks: Value| {
            let spec = spec(&json!({"alerts": {"sinks": sinks}}));
            AlertSettings::compile(&spec.alerts, None).unwrap()
        };
        let before = plan(json!([{"name": "chat", "type": "slack", "url": "http://127.0.0.1:9/"}]));
        assert_eq!(super::sinks(&before, &plan(sinks)), says);
    }
}
