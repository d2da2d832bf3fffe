//! Changes of fields that no manifest declares: the opposite of [`super::walk`], only computed if a
//! policy guards such fields.
//!
//! Objects are opened as there, only where they differ, and items are matched as there: by merge key
//! ([`KeyedList`], twins by [`super::twins`]), by value ([`Members`]), or by position. Objects are followed
//! to their leaves, so that a rule can exempt one key of a map.
//!
//! Invariants
//! - A path that a manifest declares is never reported, nor what is in a value that it declares as a whole.
//! - A change is reported, exempt, or part of the change where a comparison without end was aborted
//!   ([`Undeclared::too_complex`]).

#[cfg(test)]
mod tests;

use super::{
    json::Json,
    keyed_list::KeyedList,
    lazy::{Fields, Opened, items_of, member, open_both, present},
    members::Members,
    path::FieldPath,
    rules::Rules,
    schema::{ListKind, Node, Shape},
    trail::Trail,
    twins::{owned, slots, without},
    values::same,
};

/// The most changes that are reported. A request may contain very many, and a longer list is of no help.
const MOST: usize = 256;

/// The most changes that a caller is asked about: to match each with the rules of a policy costs more than
/// to find it. As many as a mebibyte of annotations has.
const MOST_LOOKED_AT: usize = 20_000;

/// A change of an undeclared field.
#[derive(Clone, Debug)]
pub struct Undeclared<'a> {
    /// Where.
    pub path: FieldPath,
    /// The value before the request.
    pub old: Option<Json<'a>>,
    /// The value after it.
    pub new: Option<Json<'a>>,
    /// Whether the comparison was aborted here: the rest of the object counts as changed.
    pub(crate) too_complex: bool,
}

/// The changes between `old` and `new` in fields that none of `declared` has, as far as each `counts`.
/// Without the status, and without the metadata of the API server and controllers: only labels and
/// annotations count there.
pub fn undeclared<'a>(
    declared: &[Json<'a>],
    (old, new): (Json<'a>, Json<'a>),
    shape: Shape<'a>,
    rules: Rules<'_>,
    counts: impl Fn(&Undeclared<'a>) -> bool,
) -> Vec<Undeclared<'a>> {
    let mut walk = UndeclaredWalk {
        rules,
        counts,
        looked_at: 0,
        found: Vec::new(),
        is_over: false,
    };
    let fields = |json| Fields::of(json).unwrap_or_default();
    let (old, new) = (fields(old), fields(new));
    for name in old.differing(&new) {
        let trail = Trail::Field(&Trail::Root, name);
        let place = Place {
            old: old.get(name),
            new: new.get(name),
            shape: shape.field(name),
            trail: &trail,
        };
        let declared = of_each(declared, |json| member(json, name));
        match name {
            "status" => {}
            "metadata" => {
                for part in ["labels", "annotations"] {
                    let of = |json| member(json, part);
                    let trail = Trail::Field(&trail, part);
                    let place = Place {
                        old: place.old.and_then(of),
                        new: place.new.and_then(of),
                        shape: Shape::plain(),
                        trail: &trail,
                    };
                    walk.at(&of_each(&declared, of), place);
                }
            }
            _ => walk.at(&declared, place),
        }
    }
    walk.found
}

fn of_each<'a>(declared: &[Json<'a>], of: impl Fn(Json<'a>) -> Option<Json<'a>>) -> Vec<Json<'a>> {
    declared.iter().filter_map(|json| of(*json)).collect()
}

/// Items before and after the request.
type BothLists<'a, 'l> = (&'l [Json<'a>], &'l [Json<'a>]);

#[derive(Clone, Copy)]
struct Place<'a, 't> {
    old: Option<Json<'a>>,
    new: Option<Json<'a>>,
    shape: Shape<'a>,
    trail: &'t Trail<'t>,
}

struct UndeclaredWalk<'a, 'b, C> {
    rules: Rules<'b>,
    counts: C,
    looked_at: usize,
    found: Vec<Undeclared<'a>>,
    is_over: bool,
}

impl<'a, C: Fn(&Undeclared<'a>) -> bool> UndeclaredWalk<'a, '_, C> {
    fn at(&mut self, declared: &[Json<'a>], place: Place<'a, '_>) {
        let (old, new) = (present(place.old), present(place.new));
        let place = Place { old, new, ..place };
        if self.is_over || old.map(Json::text) == new.map(Json::text) {
            return;
        }
        let values = || old.iter().chain(&new).chain(declared);
        if !self
            .rules
            .budget
            .read(values().map(|json| json.length()).sum())
        {
            return self.give_up(place);
        }
        let all = |first: u8| values().all(|json| json.first() == first);
        if all(b'{') {
            self.object(declared, place);
        } else if all(b'[') {
            self.list(declared, place);
        } else {
            self.leaf(declared, place);
        }
    }

    fn object(&mut self, declared: &[Json<'a>], place: Place<'a, '_>) {
        let (old, new) = open_both(place.old, place.new);
        let (Some(old), Some(new)) = (Opened::fields(old), Opened::fields(new)) else {
            return self.leaf(declared, place);
        };
        if old.is_empty() && new.is_empty() {
            return self.leaf(declared, place);
        }
        let names = old.differing(&new);
        let manifests = declared
            .iter()
            .filter_map(|json| Fields::named(*json, &names));
        let manifests: Vec<Fields<'a>> = manifests.collect();
        for name in names {
            let declared: Vec<Json<'a>> =
                manifests.iter().filter_map(|one| one.get(name)).collect();
            let place = Place {
                old: old.get(name),
                new: new.get(name),
                shape: place.shape.field(name),
                trail: &Trail::Field(place.trail, name),
            };
            self.at(&declared, place);
        }
    }

    fn list(&mut self, declared: &[Json<'a>], place: Place<'a, '_>) {
        let (old, new) = open_both(place.old, place.new);
        let (Some(old), Some(new)) = (Opened::items(old), Opened::items(new)) else {
            return self.leaf(declared, place);
        };
        if old.is_empty() && new.is_empty() {
            return self.leaf(declared, place);
        }
        let both = (old.as_slice(), new.as_slice());
        match place.shape.node() {
            Node::List { kind, .. } if kind.keys().is_some() => {
                if self.keyed_list(declared, place, kind, both).is_none() {
                    self.leaf(declared, place);
                }
            }
            Node::List {
                kind: ListKind::Set,
                ..
            } => self.set(declared, place, both),
            Node::List {
                kind: ListKind::Unordered,
                ..
            } => self.leaf(declared, place),
            _ => self.positions(declared, place, both),
        }
    }

    /// `None` if an item has no key, so that the list is one value.
    fn keyed_list(
        &mut self,
        declared: &[Json<'a>],
        place: Place<'a, '_>,
        kind: &'a ListKind,
        (old, new): BothLists<'a, '_>,
    ) -> Option<()> {
        let keys = kind.keys()?;
        let (old, new) = (KeyedList::of(old, keys)?, KeyedList::of(new, keys)?);
        let manifests = declared
            .iter()
            .map(|json| KeyedList::of(&items_of(*json)?, keys));
        let manifests = manifests.collect::<Option<Vec<KeyedList<'a>>>>()?;
        let added = new.distinct().filter(|item| !old.holds(item));
        for item in old.distinct().chain(added) {
            let place = Place {
                shape: place.shape.item(),
                trail: &Trail::Item(place.trail, item, keys),
                ..place
            };
            let manifests: Vec<Vec<Json<'a>>> =
                manifests.iter().map(|one| one.counterparts(item)).collect();
            let (olds, news) = (old.counterparts(item), new.counterparts(item));
            let is_one = |items: &Vec<Json<'a>>| items.len() <= 1;
            let are_single = is_one(&olds) && is_one(&news) && manifests.iter().all(is_one);
            // Of variables with one name, the last counts: all declare the same thing.
            if are_single || matches!(kind, ListKind::Variables(_)) {
                let declared = manifests.concat();
                for (old, new) in side_by_side(&olds, &news) {
                    self.at(&declared, Place { old, new, ..place });
                }
            } else {
                self.twins(&manifests, place, (&olds, &news));
            }
        }
        Some(())
    }

    /// Separate items of one key, of which a manifest may declare several. An item that stays takes a
    /// declaration that it satisfies; what changes is compared with those that are left.
    fn twins(
        &mut self,
        manifests: &[Vec<Json<'a>>],
        place: Place<'a, '_>,
        (olds, news): BothLists<'a, '_>,
    ) {
        let (shape, rules) = (place.shape, self.rules);
        let (went, came) = (without(olds, news), without(news, olds));
        let stayed = without(olds, &went);
        let left: Vec<Vec<Json<'a>>> = manifests
            .iter()
            .map(|manifest| {
                let owners = owned(&slots(manifest, None, shape, rules), &stayed, shape, rules);
                let declared = manifest.iter().zip(owners);
                let left = declared.filter(|(_, owner)| owner.is_none());
                left.map(|(declared, _)| *declared).collect()
            })
            .collect();
        let (mut went, unmet) = twins_of(&left, &went, shape, rules);
        let (mut came, unmet_now) = twins_of(&left, &came, shape, rules);
        // Those of one declaration belong together.
        went.sort_by_key(|twin| twin.rank);
        came.sort_by_key(|twin| twin.rank);
        let declared = |twin: Option<&Twin<'a>>, unmet: &[Json<'a>]| match twin {
            Some(twin) if twin.declared.is_empty() => unmet.to_vec(),
            Some(twin) => twin.declared.clone(),
            None => Vec::new(),
        };
        for at in 0..went.len().max(came.len()) {
            if self.is_over {
                return;
            }
            let (old, new) = (went.get(at), came.get(at));
            let declared = [declared(old, &unmet), declared(new, &unmet_now)].concat();
            let (old, new) = (old.map(|twin| twin.item), new.map(|twin| twin.item));
            self.at(&declared, Place { old, new, ..place });
        }
    }

    fn set(&mut self, declared: &[Json<'a>], place: Place<'a, '_>, (old, new): BothLists<'a, '_>) {
        let (shape, rules) = (place.shape.item(), self.rules);
        let member = |list: &Members<'_, 'a>, one: Json<'a>| {
            list.find(one, rules, |other| {
                same(Some(one), Some(other), shape, rules)
            })
        };
        let declared = declared.iter().filter_map(|json| items_of(*json));
        let declared: Vec<Vec<Json<'a>>> = declared.collect();
        let manifests: Vec<Members<'_, 'a>> = declared.iter().map(|one| Members::of(one)).collect();
        let (olds, news) = (Members::of(old), Members::of(new));
        let went = old.iter().filter(|one| member(&news, **one).is_none());
        let came = new.iter().filter(|one| member(&olds, **one).is_none());
        let went = went.map(|one| (*one, Some(*one), None));
        for (one, old, new) in went.chain(came.map(|one| (*one, None, Some(*one)))) {
            let declared = manifests.iter().filter_map(|list| member(list, one));
            let place = Place {
                old,
                new,
                shape,
                trail: &Trail::Value(place.trail, one.text()),
            };
            self.at(&declared.collect::<Vec<_>>(), place);
        }
    }

    /// A list without keys is one value. But if nothing was added or removed, a manifest declares each
    /// position separately, and perhaps not everything in it.
    fn positions(
        &mut self,
        declared: &[Json<'a>],
        place: Place<'a, '_>,
        (old, new): BothLists<'a, '_>,
    ) {
        let lines_up = |items: &Vec<Json<'a>>| items.len() == old.len() && items.len() == new.len();
        let manifests = declared.iter().filter_map(|json| items_of(*json));
        let manifests: Vec<Vec<Json<'a>>> = manifests.filter(lines_up).collect();
        if manifests.is_empty() {
            return self.leaf(declared, place);
        }
        for (index, (old, new)) in side_by_side(old, new).enumerate() {
            let declared = manifests
                .iter()
                .filter_map(|items| items.get(index).copied());
            let place = Place {
                old,
                new,
                shape: place.shape.item(),
                trail: &Trail::Index(place.trail, index),
            };
            self.at(&declared.collect::<Vec<_>>(), place);
        }
    }

    fn leaf(&mut self, declared: &[Json<'a>], place: Place<'a, '_>) {
        if !declared.is_empty() || same(place.old, place.new, place.shape, self.rules) {
            return;
        }
        if self.rules.budget.is_spent() || self.looked_at >= MOST_LOOKED_AT {
            return self.give_up(place);
        }
        self.looked_at += 1;
        self.report(place, false);
        self.is_over = self.found.len() >= MOST;
    }

    /// No step is left: this value, and everything not compared yet, counts as changed.
    fn give_up(&mut self, place: Place<'a, '_>) {
        if !self.is_over {
            self.is_over = true;
            self.report(place, true);
        }
    }

    fn report(&mut self, place: Place<'a, '_>, too_complex: bool) {
        let change = Undeclared {
            path: place.trail.path(),
            old: place.old,
            new: place.new,
            too_complex,
        };
        if (self.counts)(&change) {
            self.found.push(change);
        }
    }
}

/// The items of two lists at each position.
fn side_by_side<'a, 'l>(
    olds: &'l [Json<'a>],
    news: &'l [Json<'a>],
) -> impl Iterator<Item = (Option<Json<'a>>, Option<Json<'a>>)> + use<'a, 'l> {
    let at = |index: usize| (olds.get(index).copied(), news.get(index).copied());
    (0..olds.len().max(news.len())).map(at)
}

/// One of several items with the same key.
struct Twin<'a> {
    item: Json<'a>,
    /// The declared items that it satisfies.
    declared: Vec<Json<'a>>,
    /// The first of them, in the order of the manifests.
    rank: usize,
}

/// The items with their declarations, and the declarations that none of them satisfies.
fn twins_of<'a>(
    manifests: &[Vec<Json<'a>>],
    items: &[Json<'a>],
    shape: Shape<'_>,
    rules: Rules<'_>,
) -> (Vec<Twin<'a>>, Vec<Json<'a>>) {
    let twin = |item: &Json<'a>| Twin {
        item: *item,
        declared: Vec::new(),
        rank: usize::MAX,
    };
    let mut twins: Vec<Twin<'a>> = items.iter().map(twin).collect();
    let mut unmet = Vec::new();
    let owners = manifests.iter().flat_map(|manifest| {
        let owners = owned(&slots(manifest, None, shape, rules), items, shape, rules);
        manifest.iter().copied().zip(owners)
    });
    for (rank, (declared, owner)) in owners.enumerate() {
        match owner.and_then(|at| twins.get_mut(at)) {
            Some(twin) => {
                twin.declared.push(declared);
                twin.rank = twin.rank.min(rank);
            }
            None => unmet.push(declared),
        }
    }
    (twins, unmet)
}
