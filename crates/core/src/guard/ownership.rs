//! Transfers of an object: its ownership annotations change to another release while a release declares
//! it. Helm's `--take-ownership` does so, but anyone who writes a pending release record can do the
//! same. So it may pass, but never silently.
//!
//! Invariant: a verdict with the reason [`Reason::OwnershipTaken`] has a finding for each release that
//! loses the object, and the finding names the new owner.

use super::{
    claim::Claim,
    question::Question,
    subject::owner,
    verdict::{FieldChange, Finding, Reason, Verdict, VerdictOutcome},
};
use crate::{
    compare::{Json, at, path::FieldPath, redact::Sensitivity},
    helm::ReleaseName,
};

/// The annotations in which Helm stores the owner of an object.
const ANNOTATIONS: [&str; 2] = [
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
];

/// The same verdict; a pass names the transferred object.
pub(super) fn named(
    question: &Question<'_>,
    verdict: Verdict,
    (old, new): (Json<'_>, Json<'_>),
) -> Verdict {
    // The marks of the only release that claims an object do not change without a violation, unless a rule
    // of the policy allows it.
    let is_sole = question.claims.len() < 2 && verdict.exemption.is_none();
    if is_sole || verdict.reason.outcome() != VerdictOutcome::Pass {
        return verdict;
    }
    let Some(taker) = taker(question, old, new) else {
        return verdict;
    };
    let loses = |claim: &&Claim| *claim.release != taker && !question.is_deferred(claim);
    let losing = question.claims.iter().filter(loses);
    let findings: Vec<Finding> = losing
        .map(|claim| {
            let mut finding = claim.finding(question, changes(question, claim, (old, new)));
            finding.involved.push(taker.to_string());
            finding
        })
        .collect();
    if findings.is_empty() {
        return verdict;
    }
    Verdict {
        exemption: verdict.exemption,
        ..Verdict::with_findings(Reason::OwnershipTaken, findings)
    }
}

/// The release that the object names after the request and did not name before.
fn taker(question: &Question<'_>, old: Json<'_>, new: Json<'_>) -> Option<ReleaseName> {
    let annotations = |object| at(object, &["metadata", "annotations"]);
    // The usual case, in which nothing is parsed.
    if annotations(old).map(Json::text) == annotations(new).map(Json::text) {
        return None;
    }
    let taker = question.request.object.and_then(owner)?;
    let before = question.request.old_object.and_then(owner);
    (before.as_ref() != Some(&taker)).then_some(taker)
}

fn changes(
    question: &Question<'_>,
    claim: &Claim,
    (old, new): (Json<'_>, Json<'_>),
) -> Vec<FieldChange> {
    let sensitivity = Sensitivity::of(question.object.group, question.object.kind);
    let texts = [&claim.release.name, &claim.release.namespace];
    let changed = ANNOTATIONS
        .into_iter()
        .zip(texts)
        .filter_map(|(key, ours)| {
            let fields = ["metadata", "annotations", key];
            let [live, requested] = [old, new].map(|object| at(object, &fields));
            if live.map(Json::text) == requested.map(Json::text) {
                return None;
            }
            let path = FieldPath::of(fields);
            let show = |json: Option<&str>| question.redactor.show(sensitivity, &path, json);
            let declared = serde_json::Value::from(ours.as_str()).to_string();
            Some(FieldChange {
                declared: show(Some(&declared)),
                live: show(live.map(Json::text)),
                requested: show(requested.map(Json::text)),
                path,
            })
        });
    changed.collect()
}
