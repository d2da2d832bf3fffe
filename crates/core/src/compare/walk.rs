//! The walk: which declared paths a request moves away from every declared value.
//!
//! The declared, old and new objects are walked in parallel. A branch ends as soon as old and new
//! have the same text, or as soon as one manifest that must agree declares nothing there. Only
//! [`Walk::leaf`] decides what is a violation.

mod lists;
mod place;
#[cfg(test)]
mod tests;

use self::place::{Gone, OneValue, WalkPlace};
use super::{
    budget::StepBudget,
    declared::Declared,
    json::Json,
    lazy::{Fields, Opened, present},
    path::FieldPath,
    rules::{EmptyListPolicy, Rules},
    schema::{Node, Shape},
    trail::Trail,
    values::{ComparedValue, is_zero, may_be_filled_in, same, satisfies},
};

/// Which of the active manifests must declare a path for a change of it to be a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Every one: while Helm may be at work, a field that one of them does not declare is free.
    Every,
    /// Any one: after a failure, no Helm operation is running, so a path that only one of the two
    /// declares is guarded too, but may be removed.
    Any,
}

/// The input of [`compare`].
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The declared object, in each active manifest.
    pub declared: Declared<'a>,
    /// Which of them must agree.
    pub agreement: Agreement,
    /// The object before the request.
    pub old: Json<'a>,
    /// The object after it.
    pub new: Json<'a>,
    /// What is known about the kind's fields.
    pub shape: Shape<'a>,
    /// How empty lists are stored.
    pub empties: EmptyListPolicy,
}

/// A declared path that the request moves away from every value declared for it.
#[derive(Clone, Debug)]
pub struct Violation<'a> {
    /// Its path; for a removed subtree, the topmost removed place.
    pub path: FieldPath,
    /// The newest active manifest's value.
    pub declared: Json<'a>,
    /// The value before the request.
    pub old: Option<Json<'a>>,
    /// The value after it.
    pub new: Option<Json<'a>>,
    /// Whether the path goes through, or ends at, a list of unknown type. With the schema, the list
    /// might have merge keys, and there might be no violation.
    pub(crate) unknown_list: bool,
    /// For an undeclared key in an atomic object: that object. Rules match the key, and messages
    /// show the object.
    pub whole: Option<Whole<'a>>,
    /// Whether the comparison was aborted here: the rest of the object counts as changed.
    pub(crate) too_complex: bool,
}

/// An atomic object.
#[derive(Clone, Debug)]
pub struct Whole<'a> {
    /// Where.
    pub path: FieldPath,
    /// The newest active manifest's value.
    pub declared: Json<'a>,
    /// The value before the request.
    pub old: Option<Json<'a>>,
    /// The value after it.
    pub new: Option<Json<'a>>,
}

/// Every violation, in the order of the manifest's keys.
pub fn compare<'a>(comparison: &Comparison<'a>) -> Vec<Violation<'a>> {
    compare_within(comparison, &StepBudget::default())
}

/// As [`compare`], with a budget of the caller: once no step of it is left, the result is unreliable.
pub fn compare_within<'a>(comparison: &Comparison<'a>, budget: &StepBudget) -> Vec<Violation<'a>> {
    walk(comparison, budget, OldObject::Stored)
}

/// [`compare`] where `old` is a manifest itself: what led from it to a live object.
pub fn compare_with_manifest<'a>(comparison: &Comparison<'a>) -> Vec<Violation<'a>> {
    walk(comparison, &StepBudget::default(), OldObject::Declared)
}

/// What the object before the change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OldObject {
    /// An object as the API server stores it.
    Stored,
    /// A manifest. It does not show which of its empty values the API server keeps.
    Declared,
}

fn walk<'a>(
    comparison: &Comparison<'a>,
    budget: &StepBudget,
    old: OldObject,
) -> Vec<Violation<'a>> {
    let mut walk = Walk {
        agreement: comparison.agreement,
        rules: Rules {
            empties: comparison.empties,
            budget,
        },
        old,
        found: Vec::new(),
        is_over: false,
    };
    let place = WalkPlace {
        old: Some(comparison.old),
        new: Some(comparison.new),
        shape: comparison.shape,
        trail: &Trail::Root,
        gone: None,
        one_value: None,
        unknown_list: false,
    };
    walk.at(comparison.declared, place);
    walk.found
}

/// Whether this is an object without non-null fields.
fn is_empty(object: Json<'_>) -> bool {
    let mut names_and_values = object.children().into_iter().flatten();
    loop {
        match (names_and_values.next(), names_and_values.next()) {
            (Some(_), Some(Ok(null))) if null.is_null() => {}
            (Some(_), _) => return false,
            (None, _) => return true,
        }
    }
}

/// The names of maps in Kubernetes. If a CRD does not describe its fields, an operator's fields with
/// these names count as maps too.
const MAPS: &[&str] = &[
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
];

struct Walk<'a, 'b> {
    agreement: Agreement,
    rules: Rules<'b>,
    old: OldObject,
    found: Vec<Violation<'a>>,
    is_over: bool,
}

impl<'a> Walk<'a, '_> {
    fn at(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>) {
        let mut place = place;
        place.old = present(place.old);
        place.new = present(place.new);
        let unchanged = place.old.map(Json::text) == place.new.map(Json::text);
        if unchanged || (self.agreement == Agreement::Every && !declared.is_unanimous()) {
            return;
        }
        let texts = [place.old, place.new, declared.newest()];
        let length = texts.iter().flatten().map(|json| json.length()).sum();
        if !self.rules.budget.read(length) {
            return self.give_up(declared, place);
        }
        let (trail, old, new) = (place.trail, place.old, place.new);
        let one_value = declared.newest().map(|declared| OneValue {
            trail,
            declared,
            old,
            new,
        });
        if place.one_value.is_none() && place.shape.is_atomic() {
            place.one_value = one_value.as_ref();
        }
        if place.gone.is_none()
            && let (Some(old), None, Some(declared)) = (place.old, place.new, declared.newest())
        {
            place.gone = Some(Gone {
                trail: place.trail,
                declared,
                old,
            });
        }
        let is = |first: u8| declared.each().all(|json| json.first() == first);
        if is(b'{') {
            self.object(declared, place);
        } else if is(b'[') {
            self.list(declared, place);
        } else {
            self.leaf(declared, place);
        }
    }

    fn object(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>) {
        let (old, new) = place.open();
        let (Some(old), Some(new)) = (Opened::fields(old), Opened::fields(new)) else {
            return self.leaf(declared, place);
        };
        if declared.each().all(is_empty) {
            if place.shape.is_atomic() {
                self.added(declared, place, (&old, &new), &[]);
            }
            return self.empty_object(declared, place, &old);
        }
        // Unchanged fields are no violation, and most of a manifest is unchanged: it is not parsed.
        let changed = old.differing(&new);
        let manifests = declared.each();
        let manifests = manifests.filter_map(|json| Fields::named(json, &changed));
        let mut manifests = manifests.collect::<Vec<Fields<'a>>>().into_iter();
        let first = manifests.next().unwrap_or_default();
        let (first, second) = match declared {
            Declared::One(_) => (first, None),
            Declared::Two(Some(_), _) => (first, Some(manifests.next().unwrap_or_default())),
            Declared::Two(None, _) => (Fields::default(), Some(first)),
        };
        for (name, value) in first.iter() {
            let slots = match &second {
                None => Declared::One(value),
                Some(second) => Declared::Two(Some(value), second.get(name)),
            };
            let trail = Trail::Field(place.trail, name);
            let values = (old.get(name), new.get(name));
            self.at(slots, place.below(&trail, place.shape.field(name), values));
        }
        for (name, value) in second.iter().flat_map(Fields::iter) {
            if self.agreement == Agreement::Any && first.get(name).is_none() {
                let trail = Trail::Field(place.trail, name);
                let values = (old.get(name), new.get(name));
                let slots = Declared::Two(None, Some(value));
                self.at(slots, place.below(&trail, place.shape.field(name), values));
            }
        }
        if place.shape.is_atomic() {
            let manifests: Vec<&Fields<'a>> = [Some(&first), second.as_ref()]
                .into_iter()
                .flatten()
                .collect();
            self.added(declared, place, (&old, &new), &manifests);
        }
    }

    /// An atomic object must contain what is declared and nothing else. Finds undeclared keys that a
    /// request adds or changes; `changed` are the declared fields that change. Keys that were added
    /// before do not matter, and may be removed.
    ///
    /// The API server fills defaults into a struct that is created or changed, so a possible default
    /// is a violation only if nothing else in the struct changes.
    fn added(
        &mut self,
        declared: Declared<'a>,
        place: WalkPlace<'a, '_>,
        (old, new): (&Fields<'a>, &Fields<'a>),
        changed: &[&Fields<'a>],
    ) {
        let is_new = place.old.is_none() || changed.iter().any(|fields| !fields.is_empty());
        for (name, value) in new.iter() {
            let (shape, was) = (place.shape.field(name), old.get(name));
            let is_declared = || changed.iter().any(|fields| fields.get(name).is_some());
            if was.map(Json::text) == Some(value.text()) || is_declared() {
                continue;
            }
            let may_be_default = may_be_filled_in(value, place.shape) && (is_new || is_zero(value));
            if may_be_default || same(was, Some(value), shape, self.rules) {
                continue;
            }
            let (Some(whole), Some(newest)) = (place.one_value, declared.newest()) else {
                return;
            };
            if self.rules.budget.is_spent() {
                return self.give_up(declared, place);
            }
            self.found.push(Violation {
                path: Trail::Field(place.trail, name).path(),
                declared: newest,
                old: was,
                new: Some(value),
                unknown_list: place.unknown_list,
                whole: Some(Whole {
                    path: whole.trail.path(),
                    declared: whole.declared,
                    old: whole.old,
                    new: whole.new,
                }),
                too_complex: false,
            });
        }
    }

    /// `emptyDir: {}` declares that the object is present, and nothing about its content: removing
    /// it, with everything that was added, is a change. `annotations: {}` of a built-in kind is
    /// different: an empty map is dropped, so removing additions restores what is declared.
    fn empty_object(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>, old: &Fields<'_>) {
        let is_map = match place.shape.node() {
            Node::MapOf(_) => true,
            Node::Plain => place.trail.ends_in(MAPS),
            _ => false,
        };
        // An operator omits an empty map of its custom resource; in a built-in kind, an existing
        // empty map is kept.
        let is_witnessed = self.old == OldObject::Stored && old.is_empty();
        let is_satisfied = is_map && (self.rules.empties == EmptyListPolicy::Kept || !is_witnessed);
        if place.new.is_none() && !is_satisfied {
            let is_unknown = matches!(place.shape.node(), Node::Plain);
            self.removed(
                declared,
                WalkPlace {
                    unknown_list: place.unknown_list || is_unknown,
                    ..place
                },
            );
        }
    }

    /// A value that is compared as a whole. It is violated if the request changes it, no manifest
    /// declares the new value, and it is not merely removed while only one manifest declares it.
    fn leaf(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>) {
        let against = ComparedValue {
            old: place.old.filter(|_| self.old == OldObject::Stored),
            new: place.new,
        };
        let is_declared = declared
            .each()
            .any(|json| satisfies(json, against, place.shape, self.rules));
        if is_declared || same(place.old, place.new, place.shape, self.rules) {
            return;
        }
        if self.rules.budget.is_spent() {
            return self.give_up(declared, place);
        }
        if place.new.is_none() {
            self.removed(declared, place);
        } else {
            self.report(declared, place);
        }
    }

    /// A removed value. While only one of two manifests declares it, it may be removed.
    fn removed(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>) {
        if declared.is_unanimous() {
            self.report(declared, place);
        }
    }

    /// No step is left: this value, and everything not compared yet, counts as changed.
    fn give_up(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>) {
        let Some(newest) = declared.newest().filter(|_| !self.is_over) else {
            return;
        };
        self.is_over = true;
        self.found.push(Violation {
            path: place.trail.path(),
            declared: newest,
            old: place.old,
            new: place.new,
            unknown_list: false,
            whole: None,
            too_complex: true,
        });
    }

    fn report(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>) {
        let Some(newest) = declared.newest() else {
            return;
        };
        let (path, declared, old) = match place.gone {
            Some(gone) => (gone.trail.path(), gone.declared, Some(gone.old)),
            None => (place.trail.path(), newest, place.old),
        };
        // Everything below a removed value is one violation.
        if self.found.last().is_none_or(|last| last.path != path) {
            self.found.push(Violation {
                path,
                declared,
                old,
                new: place.new,
                unknown_list: place.unknown_list,
                whole: None,
                too_complex: false,
            });
        }
    }
}
