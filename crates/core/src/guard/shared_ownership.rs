//! Shared ownership: a change is not a violation if another release that claims the same object declares it.

use std::{cell::OnceCell, collections::HashMap};

use super::{
    claim::{Claim, RevisionObject},
    question::Question,
};
use crate::{
    compare::{
        Fields, Json, KeyedList, Opened, Violation,
        budget::StepBudget,
        open,
        path::Step,
        rules::{EmptyListPolicy, Rules},
        schema::{ListKind, Node, Shape},
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

/// Finds values in a manifest's object and keeps the levels on the way open. Violations come in the
/// order of the manifest, so each object and list is opened once.
struct Finder<'a> {
    root: Level<'a>,
    /// The values along the last path, each with its step.
    levels: Vec<(Step, Level<'a>)>,
}

/// A value along the path.
struct Level<'a> {
    value: Json<'a>,
    shape: Shape<'a>,
    children: OnceCell<Children<'a>>,
}

/// The children of a value, by their steps.
enum Children<'a> {
    Fields(Fields<'a>),
    Items(Vec<Json<'a>>),
    Named(HashMap<Step, Json<'a>>),
    Nothing,
}

impl<'a> Finder<'a> {
    fn new(value: Json<'a>, shape: Shape<'a>) -> Self {
        Self {
            root: Level::new(value, shape),
            levels: Vec::new(),
        }
    }

    /// The value at a path.
    fn find(&mut self, steps: &[Step]) -> Option<(Json<'a>, Shape<'a>)> {
        let known = self.levels.iter().zip(steps);
        let common = known
            .take_while(|((known, _), step)| known == *step)
            .count();
        self.levels.truncate(common);
        for step in steps.iter().skip(common) {
            let child = self.last().child(step)?;
            self.levels.push((step.clone(), child));
        }
        let last = self.last();
        Some((last.value, last.shape))
    }

    fn last(&self) -> &Level<'a> {
        self.levels.last().map_or(&self.root, |(_, level)| level)
    }
}

impl<'a> Level<'a> {
    fn new(value: Json<'a>, shape: Shape<'a>) -> Self {
        Self {
            value,
            shape,
            children: OnceCell::new(),
        }
    }

    fn child(&self, step: &Step) -> Option<Self> {
        let children = self.children.get_or_init(|| self.open());
        let (value, shape) = match (step, children) {
            (Step::Field(name), Children::Fields(fields)) => {
                (fields.get(name)?, self.shape.field(name))
            }
            (Step::Index(index), Children::Items(items)) => {
                (*items.get(*index)?, self.shape.item())
            }
            (step, Children::Named(items)) => (*items.get(step)?, self.shape.item()),
            _ => return None,
        };
        Some(Self::new(value, shape))
    }

    fn open(&self) -> Children<'a> {
        match (open(self.value), self.shape.node()) {
            (Opened::Object(fields), _) => Children::Fields(fields),
            (Opened::List(items), Node::List { kind, .. }) => match (kind.keys(), kind) {
                (Some(keys), _) => {
                    let list = KeyedList::of(&items, keys);
                    let list = list.iter().flat_map(KeyedList::distinct);
                    Children::Named(list.map(|item| (item.step(keys), item.item)).collect())
                }
                (None, ListKind::Set) => {
                    let step = |item: &Json<'a>| Step::Value(item.text().to_owned());
                    Children::Named(items.iter().map(|item| (step(item), *item)).collect())
                }
                (None, _) => Children::Items(items),
            },
            (Opened::List(items), _) => Children::Items(items),
            (Opened::Scalar(_), _) => Children::Nothing,
        }
    }
}
