//! Shared ownership: a change is not a violation if another release that claims the same object declares it.

use super::{
    claim::{Claim, RevisionObject},
    question::Question,
};
use crate::{
    compare::{
        Finder, Json, Violation,
        budget::StepBudget,
        rules::{EmptyListPolicy, Rules},
        values::{ComparedValue, satisfies},
    },
    helm::lifecycle::Phase,
};

/// The other releases that claim the object.
pub(super) struct OtherManifests<'q> {
    manifests: Vec<Manifest<'q>>,
    empties: EmptyListPolicy,
    budget: StepBudget,
}

/// What one revision of another release declares.
struct Manifest<'q> {
    phase: Phase,
    object: Finder<'q>,
}

impl<'q> OtherManifests<'q> {
    /// All but `claim`.
    pub(super) fn of(question: &'q Question<'_>, claim: &Claim) -> Self {
        let shape = question.knowledge.shape();
        let others = question.claims.iter();
        let others = others.filter(|other| other.release != claim.release && other.reach.excuses());
        let manifests = others.flat_map(|other| {
            let declared = other.revisions.iter().filter_map(|revision| {
                let RevisionObject::Declared(object) = &revision.held else {
                    return None;
                };
                Some(Manifest {
                    phase: other.phase,
                    object: Finder::new(Json::of(&object.json), shape),
                })
            });
            declared.collect::<Vec<_>>()
        });
        Self {
            manifests: manifests.collect(),
            empties: question.knowledge.empties(),
            budget: StepBudget::default(),
        }
    }

    /// Whether another release declares exactly this value, or is taking the object over and does not
    /// declare the field.
    pub(super) fn excuse(&mut self, violation: &Violation<'_>) -> bool {
        let rules = Rules {
            empties: self.empties,
            budget: &self.budget,
        };
        let mut manifests = self.manifests.iter_mut();
        // If the comparison was not finished, the changes are unknown.
        !violation.too_complex
            && manifests.any(
                |manifest| match manifest.object.find(violation.path.steps()) {
                    Some((value, shape)) => {
                        let against = ComparedValue {
                            old: violation.old,
                            new: violation.new,
                        };
                        satisfies(value, against, shape, rules)
                    }
                    None => manifest.phase == Phase::Pending && violation.new.is_none(),
                },
            )
    }
}
