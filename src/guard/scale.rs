//! What one release says of a scale request: its declared replicas of the parent, against those of
//! the two Scale objects.

use serde_json::value::RawValue;

use super::{
    change::{Judged, conclude, dig, manifests},
    claim::Claim,
    excuse::excused_elsewhere,
    judge::{Question, zero},
};
use crate::{
    compare::{Comparison, compare, path::FieldPath, schema::Shape},
    policy::presets::Act,
};

/// Judges a scale request: the parent's declared replicas against those of the two Scale objects.
pub(super) fn judge_replicas(
    question: &Question<'_>,
    claim: &Claim,
    old: &RawValue,
    new: &RawValue,
) -> Judged {
    if claim.leaves_free() {
        return Judged::Passes;
    }
    let whole = manifests(claim, |_| true);
    let declared = whole
        .declared
        .and_then(|d| d.map(|raw| dig(raw, question.replicas_path)));
    let Some(declared) = declared else {
        return whole.doubt.map_or(Judged::Passes, Judged::Undecided);
    };
    let requested = |scale| dig(scale, &["spec", "replicas"]).unwrap_or(zero());
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
    if let Some(preset) = question.exemption(Act::Scale) {
        return Judged::Exempt(preset);
    }
    if let Some(doubt) = whole.doubt {
        return Judged::Undecided(doubt);
    }
    for violation in &mut violations {
        violation.path = FieldPath::of(question.replicas_path.iter().copied());
    }
    violations.retain(|violation| !excused_elsewhere(question, claim, violation));
    conclude(question, &violations)
}
