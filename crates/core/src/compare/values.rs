//! Whether two values are equal to Kubernetes, and whether a value satisfies a declaration.

use super::{
    json::Json,
    keyed_list::KeyedList,
    lazy::{Fields, Opened, open, open_beside, present},
    members::Members,
    respelled::is_respelled,
    rules::{EmptyListPolicy, Rules},
    scalar::same_scalar,
    schema::{ListKind, Node, Shape},
    set_match::have_counterparts,
};

/// Whether the old and the new value are the same.
pub fn same(a: Option<Json<'_>>, b: Option<Json<'_>>, shape: Shape<'_>, rules: Rules<'_>) -> bool {
    let (a, b) = match (present(a), present(b)) {
        (None, None) => return true,
        (Some(one), None) | (None, Some(one)) => {
            return rules.empties == EmptyListPolicy::Dropped && one.text() == "[]";
        }
        (Some(a), Some(b)) => (a, b),
    };
    if a.text() == b.text() {
        return true;
    }
    if !rules.budget.read(a.text().len() + b.text().len()) {
        return false;
    }
    let a = open(a);
    match (&a, open_beside(b, Some(&a))) {
        (Opened::Object(a), Opened::Object(b)) => same_fields(a, &b, shape, rules),
        (Opened::List(a), Opened::List(b)) => same_items(a, &b, shape, rules),
        (Opened::Scalar(a), Opened::Scalar(b)) => same_scalar(shape.node(), a, b),
        _ => false,
    }
}

fn same_fields(a: &Fields<'_>, b: &Fields<'_>, shape: Shape<'_>, rules: Rules<'_>) -> bool {
    a.iter()
        .all(|(name, value)| same(Some(value), b.get(name), shape.field(name), rules))
        && b.iter().all(|(name, value)| {
            a.get(name).is_some() || same(None, Some(value), shape.field(name), rules)
        })
}

fn same_items(a: &[Json<'_>], b: &[Json<'_>], shape: Shape<'_>, rules: Rules<'_>) -> bool {
    let item = shape.item();
    if a.len() != b.len() {
        return false;
    }
    let is_same = |a: Json<'_>, b: Json<'_>| same(Some(a), Some(b), item, rules);
    let pairwise = |a: &[Json<'_>], b: &[Json<'_>]| a.iter().zip(b).all(|(a, b)| is_same(*a, *b));
    let in_any_order = |a: &[Json<'_>], b: &[Json<'_>]| {
        have_counterparts(
            a,
            b,
            |json| json.text(),
            |a, b| rules.budget.step().then(|| is_same(*a, *b)),
        )
    };
    let Node::List { kind, .. } = shape.node() else {
        return pairwise(a, b);
    };
    match kind {
        ListKind::Keyed(keys) | ListKind::Sequence(keys) | ListKind::Variables(keys) => {
            let (Some(a), Some(b)) = (KeyedList::of(a, keys), KeyedList::of(b, keys)) else {
                return pairwise(a, b);
            };
            // If variables share a name, the last one counts, so their order is significant.
            let twins_are_ordered = matches!(kind, ListKind::Variables(_));
            a.distinct().all(|one| {
                let (a, b) = (a.counterparts(one), b.counterparts(one));
                a.len() == b.len()
                    && if twins_are_ordered {
                        pairwise(&a, &b)
                    } else {
                        in_any_order(&a, &b)
                    }
            })
        }
        ListKind::Set | ListKind::Unordered => in_any_order(a, b),
        ListKind::Atomic => pairwise(a, b),
    }
}

/// What a value is compared with.
#[derive(Clone, Copy)]
pub struct ComparedValue<'a> {
    /// The value before the request in the same place, if there is one. It shows whether the API
    /// server keeps an empty value that the manifest declares.
    pub old: Option<Json<'a>>,
    /// The value that is compared with the declaration.
    pub new: Option<Json<'a>>,
}

/// Whether the new value satisfies the declaration: every declared part is present with its declared
/// value. Undeclared parts do not matter, unless they are in an atomic object.
pub fn satisfies(
    declared: Json<'_>,
    against: ComparedValue<'_>,
    shape: Shape<'_>,
    rules: Rules<'_>,
) -> bool {
    let Some(new) = present(against.new) else {
        return satisfied_by_absence(declared, present(against.old), shape, rules);
    };
    if declared.text() == new.text() {
        return true;
    }
    if !rules.budget.read(declared.text().len() + new.text().len()) {
        return false;
    }
    match (open(declared), open(new)) {
        (Opened::Object(declared), Opened::Object(new)) => {
            let old = present(against.old).and_then(Fields::of);
            let is_there = declared.iter().all(|(name, value)| {
                let against = ComparedValue {
                    // Without an old object to show it, an absent empty value is accepted.
                    old: old.as_ref().and_then(|old| old.get(name)),
                    new: new.get(name),
                };
                satisfies(value, against, shape.field(name), rules)
            });
            is_there && (!shape.is_atomic() || holds_no_more(&declared, old.as_ref(), &new, shape))
        }
        (Opened::List(declared), Opened::List(new)) => {
            let old = present(against.old).map(open);
            let old = if let Some(Opened::List(old)) = &old {
                old.as_slice()
            } else {
                &[]
            };
            satisfied_items(&declared, old, &new, shape, rules)
        }
        (Opened::Scalar(declared), Opened::Scalar(new)) => {
            same_scalar(shape.node(), declared, new)
                || rules.empties == EmptyListPolicy::Kept
                    && matches!(shape.node(), Node::Plain)
                    && is_respelled(declared, new)
        }
        _ => false,
    }
}

/// For an atomic object: whether it has only declared keys, keys that it had before, and keys that the
/// API server may have filled in.
fn holds_no_more(
    declared: &Fields<'_>,
    old: Option<&Fields<'_>>,
    new: &Fields<'_>,
    shape: Shape<'_>,
) -> bool {
    let extra = new.iter().filter(|(name, _)| declared.get(name).is_none());
    let mut unexplained = extra.filter(|(name, value)| {
        let was_there = old.and_then(|old| old.get(name));
        was_there.map(Json::text) != Some(value.text()) && !may_be_filled_in(*value, shape)
    });
    unexplained.next().is_none()
}

/// Whether the API server, or a controller that writes a struct back, may have added this value to an
/// object of this shape: structs have defaults and zero values, maps have neither.
pub(super) fn may_be_filled_in(value: Json<'_>, object: Shape<'_>) -> bool {
    let is_map = matches!(object.node(), Node::MapOf(_));
    !is_map && (!matches!(value.first(), b'{' | b'[') || is_zero(value))
}

/// Whether an absent value satisfies an empty declaration. Not in a built-in kind whose old value
/// shows that the API server keeps it (`emptyDir: {}`, `automountServiceAccountToken: false`). A
/// custom resource is stored as it is sent, and its operator omits zero values when it writes the
/// resource back. Only empty structs remain, because they are a choice (`selfSigned: {}` of an
/// issuer).
fn satisfied_by_absence(
    declared: Json<'_>,
    old: Option<Json<'_>>,
    shape: Shape<'_>,
    rules: Rules<'_>,
) -> bool {
    if declared.text() == "null" {
        return true;
    }
    if declared.text() == "[]" && rules.empties == EmptyListPolicy::Dropped {
        return true;
    }
    let is_left_out = rules.empties == EmptyListPolicy::Kept
        && (declared.first() != b'{' || matches!(shape.node(), Node::MapOf(_)));
    let is_kept = || old.is_some_and(|old| same(Some(declared), Some(old), shape, rules));
    is_zero(declared) && (is_left_out || !is_kept())
}

/// Go's zero value of this type, which `omitempty` omits.
pub(super) fn is_zero(declared: Json<'_>) -> bool {
    match open(declared) {
        Opened::Object(fields) => fields.iter().all(|(_, value)| is_zero(value)),
        Opened::List(items) => items.is_empty(),
        Opened::Scalar(text) => matches!(text, "false" | "0" | "\"\"" | "null"),
    }
}

fn satisfied_items(
    declared: &[Json<'_>],
    old: &[Json<'_>],
    new: &[Json<'_>],
    shape: Shape<'_>,
    rules: Rules<'_>,
) -> bool {
    let item = shape.item();
    let holds = |declared: Json<'_>, old: Option<Json<'_>>, new: Json<'_>| {
        let against = ComparedValue {
            old,
            new: Some(new),
        };
        satisfies(declared, against, item, rules)
    };
    // Items correspond to old ones only if the list has kept its length.
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
    let Node::List { kind, .. } = shape.node() else {
        return pairwise();
    };
    match kind {
        ListKind::Keyed(_) | ListKind::Sequence(_) | ListKind::Variables(_) => {
            satisfied_keyed(declared, (old, new), kind, rules, holds).unwrap_or_else(pairwise)
        }
        ListKind::Set => {
            let members = Members::of(new);
            declared.iter().all(|one| {
                members
                    .find(*one, rules, |new| holds(*one, None, new))
                    .is_some()
            })
        }
        ListKind::Unordered => {
            declared.len() == new.len()
                && have_counterparts(
                    declared,
                    new,
                    |json| json.text(),
                    |d, n| rules.budget.step().then(|| holds(*d, None, *n)),
                )
        }
        ListKind::Atomic => pairwise(),
    }
}

fn satisfied_keyed(
    declared: &[Json<'_>],
    (old, new): (&[Json<'_>], &[Json<'_>]),
    kind: &ListKind,
    rules: Rules<'_>,
    holds: impl Fn(Json<'_>, Option<Json<'_>>, Json<'_>) -> bool,
) -> Option<bool> {
    let keys = kind.keys()?;
    let (declared, new) = (KeyedList::of(declared, keys)?, KeyedList::of(new, keys)?);
    let old = KeyedList::of(old, keys).unwrap_or_default();
    Some(declared.distinct().all(|one| {
        let old = old.counterparts(one).first().copied();
        let (declared, new) = (declared.counterparts(one), new.counterparts(one));
        if matches!(kind, ListKind::Variables(_)) {
            // If a name is repeated, the last item counts, and it may be any of the declared ones.
            let holds_last = |new: &Json<'_>| {
                declared
                    .iter()
                    .rev()
                    .any(|declared| rules.budget.step() && holds(*declared, old, *new))
            };
            return new.last().is_some_and(holds_last);
        }
        have_counterparts(
            &declared,
            &new,
            |json| json.text(),
            |d, n| rules.budget.step().then(|| holds(*d, old, *n)),
        )
    }))
}

#[cfg(test)]
mod tests;
