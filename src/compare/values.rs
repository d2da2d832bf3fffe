//! Whether two values are the same to Kubernetes, and whether a value satisfies a declaration.

use super::{
    items::KeyedList,
    json::Json,
    open::{Fields, Opened, open, open_beside, present},
    pairs::have_counterparts,
    scalar::same_scalar,
    schema::{ListKind, MergeKey, Node, Shape},
};

/// What becomes of an empty list that a client sends.
///
/// Built-in kinds are stored as protocol buffers, which can not tell an empty list from none; custom
/// resources are stored as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empties {
    /// Dropped: `[]` is no list.
    Dropped,
    /// Kept: `[]` is a value.
    Kept,
}

/// Old and new value are the same: nothing changes here.
pub fn same(a: Option<Json<'_>>, b: Option<Json<'_>>, shape: Shape<'_>, empties: Empties) -> bool {
    let (a, b) = match (present(a), present(b)) {
        (None, None) => return true,
        (Some(one), None) | (None, Some(one)) => {
            return empties == Empties::Dropped && one.text() == "[]";
        }
        (Some(a), Some(b)) => (a, b),
    };
    if a.text() == b.text() {
        return true;
    }
    let a = open(a);
    match (&a, open_beside(b, Some(&a))) {
        (Opened::Object(a), Opened::Object(b)) => same_fields(a, &b, shape, empties),
        (Opened::List(a), Opened::List(b)) => same_items(a, &b, shape, empties),
        (Opened::Scalar(a), Opened::Scalar(b)) => same_scalar(shape.node(), a, b),
        _ => false,
    }
}

fn same_fields(a: &Fields<'_>, b: &Fields<'_>, shape: Shape<'_>, empties: Empties) -> bool {
    a.iter()
        .all(|(name, value)| same(Some(value), b.get(name), shape.field(name), empties))
        && b.iter().all(|(name, value)| {
            a.get(name).is_some() || same(None, Some(value), shape.field(name), empties)
        })
}

fn same_items(a: &[Json<'_>], b: &[Json<'_>], shape: Shape<'_>, empties: Empties) -> bool {
    let item = shape.item();
    if a.len() != b.len() {
        return false;
    }
    let pairwise = || {
        a.iter()
            .zip(b)
            .all(|(a, b)| same(Some(*a), Some(*b), item, empties))
    };
    match shape.node() {
        Node::List {
            kind: ListKind::Keyed(keys),
            ..
        } => match (KeyedList::of(a, keys), KeyedList::of(b, keys)) {
            (Some(a), Some(b)) => a.iter().all(|one| {
                b.counterparts(one)
                    .iter()
                    .any(|two| same(Some(one.item), Some(*two), item, empties))
            }),
            _ => pairwise(),
        },
        Node::List {
            kind: ListKind::Set | ListKind::Unordered,
            ..
        } => have_counterparts(a, b, |a, b| same(Some(*a), Some(*b), item, empties)),
        _ => pairwise(),
    }
}

/// What a value is held against.
#[derive(Clone, Copy)]
pub struct Against<'a> {
    /// The value before the request, where one stands at the same place: it tells whether the API
    /// server keeps an empty value that the manifest declares.
    pub old: Option<Json<'a>>,
    /// The value that is held against the declaration.
    pub new: Option<Json<'a>>,
}

/// The new value satisfies the declaration: every declared part of it is there with its declared
/// value. Parts that are not declared do not matter.
pub fn satisfies(
    declared: Json<'_>,
    against: Against<'_>,
    shape: Shape<'_>,
    empties: Empties,
) -> bool {
    let Some(new) = present(against.new) else {
        return satisfied_by_absence(declared, present(against.old), shape, empties);
    };
    if declared.text() == new.text() {
        return true;
    }
    match (open(declared), open(new)) {
        (Opened::Object(declared), Opened::Object(new)) => {
            let old = present(against.old).and_then(Fields::of);
            declared.iter().all(|(name, value)| {
                let against = Against {
                    // Where there is no old object to tell, an absent empty value is forgiven.
                    old: old.as_ref().and_then(|old| old.get(name)),
                    new: new.get(name),
                };
                satisfies(value, against, shape.field(name), empties)
            })
        }
        (Opened::List(declared), Opened::List(new)) => {
            let old = present(against.old).map(open);
            let old = if let Some(Opened::List(old)) = &old {
                old.as_slice()
            } else {
                &[]
            };
            satisfied_items(&declared, old, &new, shape, empties)
        }
        (Opened::Scalar(declared), Opened::Scalar(new)) => same_scalar(shape.node(), declared, new),
        _ => false,
    }
}

/// An absent value satisfies an empty declaration, unless the old value shows that the API server
/// keeps it (`emptyDir: {}`, `automountServiceAccountToken: false`).
fn satisfied_by_absence(
    declared: Json<'_>,
    old: Option<Json<'_>>,
    shape: Shape<'_>,
    empties: Empties,
) -> bool {
    if declared.text() == "null" {
        return true;
    }
    if declared.text() == "[]" && empties == Empties::Dropped {
        return true;
    }
    let kept = old.is_some_and(|old| same(Some(declared), Some(old), shape, empties));
    is_empty(declared) && !kept
}

/// Go's zero value of whatever type this is, which `omitempty` leaves out.
fn is_empty(declared: Json<'_>) -> bool {
    match open(declared) {
        Opened::Object(fields) => fields.iter().all(|(_, value)| is_empty(value)),
        Opened::List(items) => items.is_empty(),
        Opened::Scalar(text) => matches!(text, "false" | "0" | "\"\"" | "null"),
    }
}

fn satisfied_items(
    declared: &[Json<'_>],
    old: &[Json<'_>],
    new: &[Json<'_>],
    shape: Shape<'_>,
    empties: Empties,
) -> bool {
    let item = shape.item();
    let holds = |declared: Json<'_>, old: Option<Json<'_>>, new: Json<'_>| {
        satisfies(
            declared,
            Against {
                old,
                new: Some(new),
            },
            item,
            empties,
        )
    };
    // Items line up with old ones only where the list has kept its length.
    let old_at = |index: usize| {
        (old.len() == new.len())
            .then(|| old.get(index).copied())
            .flatten()
    };
    let pairwise = || {
        declared.len() == new.len()
            && declared
                .iter()
                .zip(new)
                .enumerate()
                .all(|(index, (declared, new))| holds(*declared, old_at(index), *new))
    };
    match shape.node() {
        Node::List {
            kind: ListKind::Keyed(keys),
            ..
        } => satisfied_keyed(declared, old, new, keys, holds).unwrap_or_else(pairwise),
        Node::List {
            kind: ListKind::Set,
            ..
        } => declared
            .iter()
            .all(|declared| new.iter().any(|new| holds(*declared, None, *new))),
        Node::List {
            kind: ListKind::Unordered,
            ..
        } => {
            declared.len() == new.len()
                && have_counterparts(declared, new, |d, n| holds(*d, None, *n))
        }
        _ => pairwise(),
    }
}

fn satisfied_keyed(
    declared: &[Json<'_>],
    old: &[Json<'_>],
    new: &[Json<'_>],
    keys: &[MergeKey],
    holds: impl Fn(Json<'_>, Option<Json<'_>>, Json<'_>) -> bool,
) -> Option<bool> {
    let (declared, new) = (KeyedList::of(declared, keys)?, KeyedList::of(new, keys)?);
    let old = KeyedList::of(old, keys).unwrap_or_default();
    Some(declared.iter().all(|one| {
        let old = old.counterparts(one).first().copied();
        new.counterparts(one)
            .iter()
            .any(|new| holds(one.item, old, *new))
    }))
}

#[cfg(test)]
mod tests;
