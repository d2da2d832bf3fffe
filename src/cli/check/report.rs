//! The printed result of one evaluated review. Values are redacted here, unless they already are.

use std::{collections::BTreeMap, fmt::Write};

use helm_guard_core::{
    api::{
        API_VERSION,
        reported::{ReportedField, ReportedFinding, ReportedObject, ReportedUser, ReportedVerdict},
    },
    compare::{
        path::FieldPath,
        redact::{Redactor, Sensitivity},
        undo::undo,
    },
    guard::{Decision, Finding, Operation, Raw, Request},
    text::{list, plural},
};
use json_patch::Patch;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::{
        in_force::AppliedPolicy,
        output::{tone_of, toned},
    },
    review::ReviewResult,
};

/// All evaluated reviews.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct CheckReport {
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
            *summary.entry(review.verdict.verdict).or_default() += 1;
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
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct CheckedReview {
    /// UID of the admission request.
    uid: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    operation: &'static str,
    object: ReportedObject,
    #[serde(flatten)]
    user: ReportedUser,
    #[serde(flatten)]
    verdict: ReportedVerdict,
    /// The enforcement mode that applies.
    mode: &'static str,
    /// What each release objects to.
    findings: Vec<ReportedFinding>,
    /// RFC 6902: takes the fields above back to what they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<Value>>")]
    undo: Option<Patch>,
}

impl CheckedReview {
    pub(super) fn of(
        request: &Request<'_>,
        review: &ReviewResult<'_>,
        redactor: &Redactor,
    ) -> Self {
        let findings = &review.verdict.findings;
        Self {
            uid: request.uid.clone().into_owned(),
            operation: request.operation.as_str(),
            object: ReportedObject::of(request, review.object().as_ref()),
            user: ReportedUser::of(&request.user_info),
            verdict: ReportedVerdict::of(review.decision, &review.verdict),
            mode: review.mode.as_str(),
            findings: findings.iter().map(Into::into).collect(),
            undo: undoing(request, findings, redactor),
        }
    }

    pub(super) fn is_denied(&self) -> bool {
        self.verdict.verdict == Decision::Deny.as_str()
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
    let ReportedVerdict {
        verdict,
        reason,
        exemption,
    } = &report.verdict;
    let by = exemption.as_ref().map(|rule| format!(" by {rule}"));
    let _ = writeln!(
        text,
        "{} ({reason}{}): {} {subject}, by {:?}",
        toned(tone_of(verdict), verdict),
        by.unwrap_or_default(),
        report.operation,
        report.user.user
    );
    for ReportedFinding {
        release,
        revisions,
        fields,
    } in &report.findings
    {
        let _ = writeln!(
            text,
            "  release {:?} in namespace {:?}, revision{} {}",
            release.name,
            release.namespace,
            plural(revisions.len()),
            list(revisions, usize::MAX)
        );
        for ReportedField {
            path,
            declared,
            live,
            requested,
            ..
        } in fields
        {
            let [declared, live, requested] =
                [declared, live, requested].map(|value| shown(value.as_ref()));
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

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
