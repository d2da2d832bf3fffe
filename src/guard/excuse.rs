//! What takes a violation back: the word of another release that claims the same object.

use super::{
    claim::{Claim, Held},
    judge::Question,
};
use crate::{
    compare::{
        Json, KeyedList, Opened, Violation, member, open,
        path::Step,
        schema::{ListKind, Node, Shape},
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
            let document = Json::of(&object.json);
            match find(document, shape, violation.path.steps()) {
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
fn find<'a>(root: Json<'a>, shape: Shape<'a>, steps: &[Step]) -> Option<(Json<'a>, Shape<'a>)> {
    let mut at = (root, shape);
    for step in steps {
        at = match step {
            Step::Field(name) => (member(at.0, name)?, at.1.field(name)),
            Step::Index(index) => (items(at.0)?.get(*index).copied()?, at.1.item()),
            Step::Value(value) => {
                let is_it = |item: &Json<'_>| item.text() == value;
                (items(at.0)?.into_iter().find(is_it)?, at.1.item())
            }
            Step::Item(_) => {
                let Node::List {
                    kind: ListKind::Keyed(keys),
                    ..
                } = at.1.node()
                else {
                    return None;
                };
                let list = KeyedList::of(&items(at.0)?, keys)?;
                let found = list.iter().find(|item| item.step(keys) == *step)?;
                (found.item, at.1.item())
            }
        };
    }
    Some(at)
}

fn items(list: Json<'_>) -> Option<Vec<Json<'_>>> {
    match open(list) {
        Opened::List(items) => Some(items),
        Opened::Object(_) | Opened::Scalar(_) => None,
    }
}
