//! The result of a scale request for one release.

use super::{
    change::{Judged, conclude, manifests, policy_change, shown},
    claim::Claim,
    question::Question,
    shared_ownership::OtherManifests,
};
use crate::{
    compare::{Comparison, Json, Violation, at, compare, path::FieldPath, schema::Shape},
    policy::Act,
};

/// Evaluates a scale request: the parent's declared replicas against those of the two Scale objects.
pub(super) fn judge_replicas(
    question: &Question<'_>,
    claim: &Claim,
    old: Json<'_>,
    new: Json<'_>,
) -> Judged {
    if claim.leaves_free() {
        return Judged::Passes;
    }
    let whole = manifests(claim, |_| true);
    let declared = whole
        .declared
        .and_then(|d| d.map(|json| at(json, question.replicas_path)));
    let Some(declared) = declared else {
        return whole.doubt.map_or(Judged::Passes, Judged::Undecided);
    };
    // A Scale without replicas means 0.
    let zero = Json::of("0");
    let requested = |scale| at(scale, &["spec", "replicas"]).unwrap_or(zero);
    let comparison = Comparison {
        declared,
        agreement: claim.agreement(),
        old: requested(old),
        new: requested(new),
        shape: Shape::plain(),
        empties: question.knowledge.empties(),
    };
    let mut violations = compare(&comparison);
    if violations.is_empty() {
        return Judged::Passes;
    }
    for violation in &mut violations {
        violation.path = FieldPath::of(question.replicas_path.iter().copied());
    }
    // A rule that allows changing the replicas allows it here too.
    let of = question.of(claim);
    let by_path =
        |violation: &Violation<'_>| question.exemption(&of, Act::Change(policy_change(violation)));
    let exempt = question
        .exemption(&of, Act::Scale)
        .or_else(|| violations.first().and_then(by_path));
    if let Some(rule) = exempt {
        return Judged::Exempt(rule);
    }
    if let Some(rule) = question.undeclared_autoscaler(&of) {
        let changes = violations
            .iter()
            .map(|violation| shown(question, violation));
        return Judged::Autoscaled(rule, changes.collect());
    }
    if let Some(doubt) = whole.doubt {
        return Judged::Undecided(doubt);
    }
    let mut others = OtherManifests::of(question, claim);
    violations.retain(|violation| !others.excuse(violation));
    conclude(question, &violations)
}
