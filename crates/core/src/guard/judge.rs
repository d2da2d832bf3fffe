//! All rules of the decision:
//!
//! - **DELETE** is a violation when every active manifest of a release holds the object, unless
//!   `helm uninstall` runs for that release.
//! - **UPDATE** is a violation when it changes a declared path to a value that no active manifest
//!   declares for it (see [`crate::compare::walk`] for what a path is).
//! - **Scale** is an UPDATE of the parent's replicas.
//! - **A status write**, and each other subresource that keeps metadata, is an UPDATE of the metadata
//!   alone. An **eviction** is the DELETE of the Pod ([`super::subject::effect`]).
//!
//! - An UPDATE that would make an exempt controller delete or change the object is evaluated as that
//!   change (see [`super::deputies`]).
//! - An UPDATE without a violation may still change undeclared fields; if the policy guards them,
//!   that is a violation too (see [`super::undeclared`]).
//!
//! Each release that claims the object is evaluated separately, so that one release cannot allow
//! what another forbids. Yet a value that *any* claiming release declares is legitimate; otherwise
//! `--take-ownership` could not transfer an object.

#[cfg(test)]
mod tests;

use super::{
    change::{Judged, judge_update},
    claim::{Claim, Deletion},
    deputies::{joined, judge_deputies},
    ownership::named,
    question::Question,
    scale::judge_replicas,
    subject::{Effect, effect, is_binding},
    undeclared::judge_undeclared,
    verdict::{Finding, Reason, Verdict, VerdictOutcome},
};
use crate::{
    compare::{Json, at},
    policy::Act,
};

/// Evaluates a request that [`super::screen`] did not answer.
pub fn judge(question: &Question<'_>) -> Verdict {
    if question.claims.is_empty() {
        return Verdict::because(Reason::NotDeclared);
    }
    match (effect(question.request), question.request.unread) {
        // A deletion is evaluated by the name of its object.
        (Some(Effect::Delete), _) => judge_delete(question),
        (Some(_), Some(unread)) => judge_unread(question, unread.reason()),
        (Some(write), None) => judge_write(question, write),
        (None, _) => Verdict::because(Reason::NotJudged),
    }
}

fn judge_write(question: &Question<'_>, effect: Effect) -> Verdict {
    let request = question.request;
    // A binding adds to metadata that is not in the request.
    let unknown = || is_binding(request).then(|| Json::of("{}"));
    let (Some(old), Some(new)) = (request.old_json().or_else(unknown), request.new_json()) else {
        return Verdict::because(Reason::ObjectUnreadable);
    };
    let kept;
    let (old, new) = if effect == Effect::UpdateMetadata {
        kept = [old, new].map(metadata_alone);
        let [old, new] = &kept;
        (Json::of(old), Json::of(new))
    } else {
        (old, new)
    };
    let judge_one = |claim: &Claim| match effect {
        Effect::Scale => judge_replicas(question, claim, old, new),
        // Metadata is the same in every version, and no other call is made for a subresource.
        Effect::Update if question.is_deferred(claim) => Judged::DeferredToOtherVersion,
        _ => judge_update(question, claim, old, new),
    };
    let judged = question.claims.iter();
    let verdict = sum_up(question, judged.map(|claim| (claim, judge_one(claim))));
    let verdict = match effect {
        Effect::Scale => verdict,
        _ => joined(verdict, judge_deputies(question, old, new)),
    };
    if verdict.reason.outcome() != VerdictOutcome::Pass || effect == Effect::Scale {
        return verdict;
    }
    let verdict = judge_undeclared(question, (old, new)).unwrap_or(verdict);
    named(question, verdict, (old, new))
}

/// A write with unknown changes: a violation if every active manifest of a release holds the object.
fn judge_unread(question: &Question<'_>, reason: Reason) -> Verdict {
    let guarding = question.claims.iter().filter(|claim| !claim.leaves_free());
    let findings: Vec<_> = guarding
        .map(|claim| claim.finding(question, Vec::new()))
        .collect();
    if findings.is_empty() {
        return Verdict::because(Reason::NothingDeclaredChanges);
    }
    Verdict::with_findings(reason, findings)
}

/// An object with the metadata of this one and nothing else.
fn metadata_alone(object: Json<'_>) -> String {
    let metadata = at(object, &["metadata"]).map_or("{}", Json::text);
    format!(r#"{{"metadata":{metadata}}}"#)
}

fn judge_delete(question: &Question<'_>) -> Verdict {
    if question.is_deleted_already() {
        return Verdict::because(Reason::NothingDeclaredChanges);
    }
    let mut findings = Vec::new();
    let mut reason = Reason::NotDeclared;
    let mut exempt = None;
    for claim in question.claims {
        if let Some(rule) = question.exemption(&question.of(claim), Act::Delete) {
            exempt = Some(rule);
            continue;
        }
        match claim.deletion() {
            Deletion::Free(Reason::NotDeclared) => {}
            Deletion::Free(why) => reason = why,
            Deletion::Unreadable => reason = Reason::RecordUnreadable,
            Deletion::RevisionObject => findings.push(claim.finding(question, Vec::new())),
        }
    }
    match (findings.is_empty(), reason.outcome(), exempt) {
        (false, ..) => Verdict::with_findings(Reason::ObjectDeleted, findings),
        (true, VerdictOutcome::Pass, Some(rule)) => Verdict::exempt(rule),
        (true, ..) => Verdict::because(reason),
    }
}

/// Combines the results of all releases: a violation outweighs an indeterminate result, which
/// outweighs a pass.
fn sum_up<'c>(
    question: &Question<'_>,
    judged: impl Iterator<Item = (&'c Claim, Judged)>,
) -> Verdict {
    let mut findings: Vec<Finding> = Vec::new();
    let mut undecided = None;
    let mut exempt = None;
    let mut deferred = None;
    let mut autoscaled = Vec::new();
    for (claim, judged) in judged {
        match judged {
            Judged::Passes => {}
            Judged::DeferredToOtherVersion => deferred = Some(Reason::JudgedInDeclaredVersion),
            Judged::Exempt(preset) => exempt = Some(preset),
            Judged::Autoscaled(preset, changes) => {
                exempt = Some(preset);
                autoscaled.push(claim.finding(question, changes));
            }
            Judged::Undecided(reason) => undecided = Some(reason),
            Judged::Violates(changes) => findings.push(claim.finding(question, changes)),
        }
    }
    if !findings.is_empty() {
        return Verdict::with_findings(Reason::FieldsChanged, findings);
    }
    match (undecided.or(deferred), exempt) {
        (Some(reason), _) => Verdict::because(reason),
        (None, rule) if !autoscaled.is_empty() => Verdict {
            exemption: rule,
            ..Verdict::with_findings(Reason::UndeclaredAutoscaler, autoscaled)
        },
        (None, Some(rule)) => Verdict::exempt(rule),
        (None, None) => Verdict::because(Reason::NothingDeclaredChanges),
    }
}
