//! A scan as SARIF 2.1.0, for code scanning and for what collects findings of several tools.
//!
//! - The classes are the rules, and a finding is a result. Its ID is a partial fingerprint, so it is the same in every
//!   scan.
//! - What could not be looked at is a notification, and then the execution was not successful.
//! - Objects in a cluster have no file. GitHub wants one, so each result has a path that names release and object.
//!
//! The schema is at [`SCHEMA`]. Start at [`sarif`].

use std::fmt::Write;

use helm_guard_core::scan::{
    DriftFinding, FindingClass, FindingSeverity, ScanReport, report::ScanFailure,
};
use serde_json::{Map, Value, json};

use super::{
    group::{self, ReleaseFinding},
    summary::{failure, unlisted},
};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// The document.
pub(super) fn sarif(report: &ScanReport) -> Value {
    let results: Vec<Value> = group::all(report).map(|one| result(&one)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "helm-guard",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": REPOSITORY,
                "rules": FindingClass::ALL.map(rule),
            }},
            "automationDetails": {"id": format!("helm-guard-scan/{}/", encoded(&report.cluster))},
            "invocations": [invocation(report)],
            "results": results,
            "properties": {"cluster": report.cluster, "summary": report.summary},
        }],
    })
}

fn rule(class: FindingClass) -> Value {
    let definition = sentence(class.definition());
    json!({
        "id": class.as_str(),
        "name": class.as_str(),
        "shortDescription": {"text": definition},
        "fullDescription": {"text": format!("{definition} {}", class.explanation())},
        "help": {"text": class.advice()},
        "helpUri": REPOSITORY,
        "defaultConfiguration": {"level": level(class.severity())},
        "properties": {"severity": class.severity(), "tags": ["drift", "helm", "kubernetes"]},
    })
}

/// With a capital letter and a period.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).chain(['.']).collect()
}

fn level(severity: FindingSeverity) -> &'static str {
    match severity {
        FindingSeverity::Info | FindingSeverity::Low => "note",
        FindingSeverity::Medium => "warning",
        FindingSeverity::High | FindingSeverity::Critical => "error",
    }
}

fn invocation(report: &ScanReport) -> Value {
    let unread = group::all(report).filter(|one| one.finding.is_error());
    let unread = unread.map(|one| {
        json!({
            "level": "error",
            "message": {"text": one.finding.message},
            "associatedRule": {"id": one.finding.class, "index": index(one.finding.class)},
            "locations": [location(&one)],
        })
    });
    let failed = |one: &ScanFailure| json!({"level": "error", "message": {"text": failure(one)}});
    let more = report.releases.iter().filter_map(unlisted);
    let more = more.map(|text| json!({"level": "warning", "message": {"text": text}}));
    let notifications = report.errors.iter().map(failed).chain(unread).chain(more);
    json!({
        "executionSuccessful": report.complete,
        "endTimeUtc": report.scanned_at,
        "toolExecutionNotifications": notifications.collect::<Vec<Value>>(),
    })
}

fn result(one: &ReleaseFinding<'_>) -> Value {
    let finding = one.finding;
    json!({
        "ruleId": finding.class,
        "ruleIndex": index(finding.class),
        "level": level(finding.severity),
        "message": {"text": finding.message},
        "locations": [location(one)],
        "partialFingerprints": {
            "findingId/v1": finding.id,
            // The one that GitHub compares.
            "primaryLocationLineHash": format!("{}:1", finding.id),
        },
        "properties": properties(one),
    })
}

fn index(class: FindingClass) -> Option<usize> {
    FindingClass::ALL.iter().position(|one| *one == class)
}

fn location(one: &ReleaseFinding<'_>) -> Value {
    let finding = one.finding;
    let object = &finding.object;
    let (namespace, release) = one.release;
    let steps = [
        namespace,
        release,
        &object.kind,
        &object.namespace,
        &object.name,
    ];
    let steps = steps.into_iter().filter(|step| !step.is_empty());
    let uri: Vec<String> = steps.map(encoded).collect();
    let parts = [&object.namespace, &object.kind, &object.name];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    let mut qualified = parts.map(String::as_str).collect::<Vec<_>>().join("/");
    let (name, kind) = match &finding.path {
        Some(path) => {
            qualified = format!("{qualified}/{path}");
            (path, "property")
        }
        None => (&object.name, "object"),
    };
    json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri.join("/")},
            "region": {"startLine": 1},
        },
        "logicalLocations": [{"name": name, "fullyQualifiedName": qualified, "kind": kind}],
    })
}

/// What SARIF has no place for.
fn properties(one: &ReleaseFinding<'_>) -> Value {
    let finding: &DriftFinding = one.finding;
    let mut properties = Map::new();
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            properties.insert(name.to_owned(), value);
        }
    };
    add("release", one.release_name().into());
    add("severity", json!(finding.severity));
    add("object", json!(finding.object));
    add("path", json!(finding.path));
    add("declared", json!(finding.declared));
    add("live", json!(finding.live));
    add("writer", json!(finding.writer));
    add("since", json!(finding.since));
    add("consequence", json!(finding.consequence));
    add("emergencyChange", json!(finding.emergency_change));
    properties.into()
}

/// A segment of a URI reference (RFC 3986).
fn encoded(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::scan::sample::{self, HOSTILE};

    #[test]
    fn a_report_is_a_sarif_log() {
        let mut log = sarif(&sample::report());
        // The rules are shown by a test of their own.
        log["runs"][0]["tool"]["driver"]["rules"] = json!("…");
        log["runs"][0]["tool"]["driver"]["semanticVersion"] = json!("…");
        insta::assert_snapshot!("sarif", format!("{log:#}"));
    }

    #[test]
    fn every_class_is_a_rule_with_a_description_and_help() {
        let log = sarif(&sample::report());
        let rules = log["runs"][0]["tool"]["driver"]["rules"]
            .as_array()
            .unwrap();
        let ids: BTreeSet<_> = rules
            .iter()
            .map(|rule| rule["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), FindingClass::ALL.len());
        for rule in rules {
            let text = |pointer: &str| rule.pointer(pointer).and_then(Value::as_str).unwrap();
            let short = text("/shortDescription/text");
            let full = text("/fullDescription/text");
            for one in [short, full, text("/help/text")] {
                assert!(
                    one.ends_with('.') && one.starts_with(char::is_uppercase),
                    "{one}"
                );
            }
            assert!(
                full.starts_with(short) && full.len() > short.len() + 20,
                "{full}"
            );
            assert!(text("/help/text").len() > 40, "{rule}");
            assert!(["note", "warning", "error"].contains(&text("/defaultConfiguration/level")));
        }
    }

    #[test]
    fn every_finding_is_a_result_of_its_rule() {
        let report = sample::report();
        let log = sarif(&report);
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), report.findings().count());
        for (result, finding) in results.iter().zip(report.findings()) {
            let rule = result["ruleIndex"].as_u64().unwrap();
            let rule = &run["tool"]["driver"]["rules"][usize::try_from(rule).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
            assert_eq!(result["ruleId"], finding.class.as_str());
            assert_eq!(result["partialFingerprints"]["findingId/v1"], *finding.id);
            assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        }
    }

    #[test]
    fn what_was_not_looked_at_is_no_successful_execution() {
        let log = sarif(&sample::report());
        let invocation = &log["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        let notes = invocation["toolExecutionNotifications"].as_array().unwrap();
        let texts: Vec<_> = notes.iter().map(|note| &note["message"]["text"]).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(
            texts[0]
                .as_str()
                .unwrap()
                .starts_with("Ingress.networking.k8s.io")
        );
        assert_eq!(notes[1]["associatedRule"]["id"], "Unreadable");
        assert_eq!(notes[2]["level"], "warning");

        let log = sarif(&sample::of(Vec::new()));
        let invocation = &log["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], true);
        assert_eq!(invocation["toolExecutionNotifications"], json!([]));
    }

    /// What the schema demands of a URI, of strings and of identifiers.
    #[test]
    fn any_name_is_a_valid_place() {
        let mut report = sample::report();
        report.cluster = HOSTILE.to_owned();
        for finding in &mut report.releases[2].findings {
            finding.object.name = HOSTILE.to_owned();
            finding.path = Some(HOSTILE.to_owned());
        }
        let log = sarif(&report);
        let run = &log["runs"][0];
        let is_uri = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte))
        };
        let id = run["automationDetails"]["id"].as_str().unwrap();
        assert!(is_uri(id), "{id}");
        for result in run["results"].as_array().unwrap() {
            let uri = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
            let uri = uri.as_str().unwrap();
            assert!(
                is_uri(uri) && !uri.starts_with('/') && !uri.contains("//"),
                "{uri}"
            );
        }
    }
}
