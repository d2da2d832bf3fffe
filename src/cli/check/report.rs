//! The printed result of one evaluated review. Values are redacted here, unless they already are.

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use helm_guard_core::{
    compare::{
        path::FieldPath,
        redact::{Redactor, Sensitivity, ShownValue},
        undo::undo,
    },
    guard::{Decision, FieldChange, Finding, Operation, Raw, Request, Verdict},
    text::plural,
};
use json_patch::Patch;
use serde::Serialize;
use serde_json::Value;

use crate::review::ReviewResult;

/// One evaluated review.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReviewReport {
    uid: String,
    operation: &'static str,
    object: ReportedObject,
    user: String,
    verdict: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exemption: Option<Arc<str>>,
    findings: Vec<Objection>,
    /// A JSON patch (RFC 6902) that restores the fields above.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<Patch>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportedObject {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    sub_resource: String,
}

/// A violation of one release.
#[derive(Debug, Serialize)]
struct Objection {
    release: String,
    namespace: String,
    revisions: Vec<u32>,
    fields: Vec<ReportedField>,
}

#[derive(Debug, Serialize)]
struct ReportedField {
    path: String,
    declared: Value,
    live: Value,
    requested: Value,
}

impl ReviewReport {
    pub(super) fn of(
        request: &Request<'_>,
        review: &ReviewResult<'_>,
        redactor: &Redactor,
    ) -> Self {
        let Verdict {
            reason,
            exemption,
            findings,
            ..
        } = &review.verdict;
        Self {
            uid: request.uid.clone().into_owned(),
            operation: request.operation.as_str(),
            object: object(request, review),
            user: request.user_info.username.clone().into_owned(),
            verdict: review.decision.as_str(),
            reason: reason.as_str(),
            exemption: exemption.clone(),
            findings: findings.iter().map(objection).collect(),
            undo: undoing(request, findings, redactor),
        }
    }

    pub(super) fn is_denied(&self) -> bool {
        self.verdict == Decision::Deny.as_str()
    }
}

fn object(request: &Request<'_>, review: &ReviewResult<'_>) -> ReportedObject {
    let found = review.object();
    let (group, version) = if request.sub_resource.is_empty() {
        (&request.kind.group, &request.kind.version)
    } else {
        (&request.resource.group, &request.resource.version)
    };
    let kind = found
        .as_ref()
        .map_or(&*request.kind.kind, |object| object.kind);
    let namespace = found
        .as_ref()
        .map_or(&*request.namespace, |object| object.namespace);
    let name = found
        .as_ref()
        .map_or(&*request.name, |object| &*object.name);
    ReportedObject {
        api_version: match &**group {
            "" => version.to_string(),
            group => format!("{group}/{version}"),
        },
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        sub_resource: request.sub_resource.clone().into_owned(),
    }
}

fn objection(finding: &Finding) -> Objection {
    Objection {
        release: finding.release.name.clone(),
        namespace: finding.release.namespace.clone(),
        revisions: finding.revisions.clone(),
        fields: finding.changes.iter().map(field).collect(),
    }
}

fn field(change: &FieldChange) -> ReportedField {
    ReportedField {
        path: change.path.to_string(),
        declared: value(&change.declared),
        live: value(&change.live),
        requested: value(&change.requested),
    }
}

/// A truncated or redacted value is not JSON anymore, so its text is shown.
fn value(shown: &ShownValue) -> Value {
    match shown {
        ShownValue::Absent => Value::Null,
        ShownValue::Text(text) => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
        }
    }
}

/// `None` if there is nothing to undo, and for a DELETE, which a patch cannot undo.
fn undoing(request: &Request<'_>, findings: &[Finding], redactor: &Redactor) -> Option<Patch> {
    let changes = || findings.iter().flat_map(|finding| &finding.changes);
    if request.operation != Operation::Update || changes().next().is_none() {
        return None;
    }
    let sensitivity = Sensitivity::of(&request.kind.group, &request.kind.kind);
    let read = |raw: Option<Raw<'_>>| -> Option<Value> {
        let mut object = serde_json::from_str(raw?.get()).ok()?;
        match sensitivity {
            // Before the patch is computed: afterwards, it is unknown which values of the patch are secret.
            Sensitivity::Secret => redactor.mask_secret(&mut object),
            Sensitivity::Open => {}
        }
        Some(object)
    };
    let (old, new) = (read(request.old_object)?, read(request.object)?);
    if request.sub_resource == "scale" {
        // The change has the path in the parent; the patch applies to the Scale.
        let replicas = FieldPath::of(["spec", "replicas"]);
        return Some(undo(&old, &new, [&replicas]));
    }
    Some(undo(&old, &new, changes().map(|change| &change.path)))
}

/// For people: a line for each review, with its violations below.
pub(super) fn table(reports: &[ReviewReport]) -> String {
    let mut text = String::new();
    for report in reports {
        write_report(&mut text, report);
    }
    text
}

/// The number of reviews for each verdict.
pub(super) fn summary(reports: &[ReviewReport]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for report in reports {
        *counts.entry(report.verdict).or_default() += 1;
    }
    let words: Vec<String> = counts
        .iter()
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    let count = reports.len();
    format!("{count} review{}: {}\n", plural(count), words.join(", "))
}

// Writing to a string cannot fail.
fn write_report(text: &mut String, report: &ReviewReport) {
    let ReportedObject {
        kind,
        namespace,
        name,
        sub_resource,
        ..
    } = &report.object;
    let subject = match (sub_resource.as_str(), namespace.as_str()) {
        ("", "") => format!("{kind} {name:?}"),
        ("", namespace) => format!("{kind} {name:?} in namespace {namespace:?}"),
        (sub, namespace) => format!("{sub} of {kind} {name:?} in namespace {namespace:?}"),
    };
    let reason = match &report.exemption {
        Some(exemption) => format!("{} by {exemption}", report.reason),
        None => report.reason.to_owned(),
    };
    let _ = writeln!(
        text,
        "{} ({reason}): {} {subject}, by {:?}",
        report.verdict, report.operation, report.user
    );
    for objection in &report.findings {
        let revisions: Vec<String> = objection.revisions.iter().map(u32::to_string).collect();
        let _ = writeln!(
            text,
            "  release {:?} in namespace {:?}, revision {}",
            objection.release,
            objection.namespace,
            revisions.join(", ")
        );
        for ReportedField {
            path,
            declared,
            live,
            requested,
        } in &objection.fields
        {
            let [declared, live, requested] = [declared, live, requested].map(shown);
            let _ = writeln!(
                text,
                "    {path}: declared {declared}, live {live}, requested {requested}"
            );
        }
    }
    if let Some(undo) = &report.undo {
        let _ = writeln!(
            text,
            "  undo: {}",
            serde_json::to_string(undo).unwrap_or_default()
        );
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        value => value.to_string(),
    }
}
