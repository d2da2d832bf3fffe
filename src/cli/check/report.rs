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

use crate::{
    cli::{
        in_force::AppliedPolicy,
        output::{API_VERSION, tone_of, toned},
    },
    review::ReviewResult,
};

/// All evaluated reviews.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckReport {
    api_version: &'static str,
    kind: &'static str,
    policy: AppliedPolicy,
    /// How many got which verdict.
    summary: BTreeMap<&'static str, usize>,
    pub(super) reviews: Vec<CheckedReview>,
}

impl CheckReport {
    pub(super) fn new(policy: AppliedPolicy, reviews: Vec<CheckedReview>) -> Self {
        let mut summary = BTreeMap::new();
        for review in &reviews {
            *summary.entry(review.verdict).or_default() += 1;
        }
        Self {
            api_version: API_VERSION,
            kind: "CheckReport",
            policy,
            summary,
            reviews,
        }
    }
}

/// One evaluated review.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckedReview {
    uid: String,
    operation: &'static str,
    object: ReportedObject,
    user: ReportedUser,
    verdict: &'static str,
    reason: &'static str,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exemption: Option<Arc<str>>,
    /// The releases that object.
    releases: Vec<Objection>,
    /// RFC 6902: takes the fields above back to what they were.
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
    subresource: String,
}

#[derive(Debug, Serialize)]
struct ReportedUser {
    name: String,
}

/// A violation of one release.
#[derive(Debug, Serialize)]
struct Objection {
    namespace: String,
    name: String,
    chart: String,
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

impl CheckedReview {
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
            user: ReportedUser {
                name: request.user_info.username.clone().into_owned(),
            },
            verdict: review.decision.as_str(),
            reason: reason.as_str(),
            mode: review.mode.as_str(),
            exemption: exemption.clone(),
            releases: findings.iter().map(objection).collect(),
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
        subresource: request.sub_resource.clone().into_owned(),
    }
}

fn objection(finding: &Finding) -> Objection {
    Objection {
        namespace: finding.release.namespace.clone(),
        name: finding.release.name.clone(),
        chart: finding.chart.to_string(),
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

/// For people: a line a review, and what is behind it below; then how many got which verdict.
pub(super) fn table(report: &CheckReport) -> String {
    let mut text = String::new();
    for review in &report.reviews {
        write_review(&mut text, review);
    }
    let verdicts: Vec<String> = report
        .summary
        .iter()
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    let count = report.reviews.len();
    let _ = writeln!(
        text,
        "{count} review{} in mode {} ({}): {}",
        plural(count),
        report.policy.mode.as_str(),
        report.policy.source.describe(),
        verdicts.join(", ")
    );
    for note in &report.policy.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

// Writing to a string cannot fail.
fn write_review(text: &mut String, report: &CheckedReview) {
    let ReportedObject {
        kind,
        namespace,
        name,
        subresource,
        ..
    } = &report.object;
    let subject = match (subresource.as_str(), namespace.as_str()) {
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
        toned(tone_of(report.verdict), report.verdict),
        report.operation,
        report.user.name
    );
    for objection in &report.releases {
        let revisions: Vec<String> = objection.revisions.iter().map(u32::to_string).collect();
        let _ = writeln!(
            text,
            "  release {:?} in namespace {:?}, revision {}",
            objection.name,
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
