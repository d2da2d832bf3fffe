//! What takes a violation back: the word of another release that claims the same object.

use serde_json::value::RawValue;

use super::{
    change::parsed,
    claim::{Claim, Held},
    judge::Question,
};
use crate::{
    compare::{
        Fields, Violation,
        path::Step,
        schema::Shape,
        values::{Against, satisfies},
    },
    helm::lifecycle::Phase,
};

/// Another release that claims the object declares the very value, or is taking the object over
/// and does not declare the field.
pub(super) fn excused_elsewhere(
    question: &Question<'_>,
    claim: &Claim,
    violation: &Violation<'_>,
) -> bool {
    let others = question
        .claims
        .iter()
        .filter(|other| other.release != claim.release);
    let shape = question.knowledge.shape();
    let empties = question.knowledge.empties();
    others
        .flat_map(|other| {
            other
                .revisions
                .iter()
                .map(move |revision| (other, revision))
        })
        .any(|(other, revision)| {
            let Held::Declared(object) = &revision.held else {
                return false;
            };
            let Some(root) = parsed(object) else {
                return false;
            };
            match find(root, shape, violation.path.steps()) {
                Some((value, shape)) => {
                    let against = Against {
                        old: violation.old,
                        new: violation.new,
                    };
                    satisfies(value, against, shape, empties)
                }
                None => other.phase == Phase::Pending && violation.new.is_none(),
            }
        })
}

/// The value at a path of a manifest's object.
fn find<'a>(
    root: &'a RawValue,
    shape: Shape<'a>,
    steps: &[Step],
) -> Option<(&'a RawValue, Shape<'a>)> {
    let mut at = (root, shape);
    for step in steps {
        at = match step {
            Step::Field(name) => (Fields::of(at.0)?.get(name)?, at.1.field(name)),
            Step::Index(index) => {
                let items: Vec<&RawValue> = serde_json::from_str(at.0.get()).ok()?;
                (items.get(*index).copied()?, at.1.item())
            }
            Step::Value(value) => {
                let items: Vec<&RawValue> = serde_json::from_str(at.0.get()).ok()?;
                (
                    items.into_iter().find(|item| item.get() == value)?,
                    at.1.item(),
                )
            }
            Step::Item(keys) => {
                let items: Vec<&RawValue> = serde_json::from_str(at.0.get()).ok()?;
                let is_it = |item: &&RawValue| {
                    let Some(fields) = Fields::of(item) else {
                        return false;
                    };
                    keys.iter().all(|(key, value)| {
                        fields
                            .get(key)
                            .is_none_or(|found| found.get().trim_matches('"') == value)
                    })
                };
                (items.into_iter().find(is_it)?, at.1.item())
            }
        };
    }
    Some(at)
}
