//! Lists: how items are matched decides which parts of a list are declared.

mod order;
mod twins;

use super::{Agreement, Walk, place::WalkPlace};
use crate::compare::{
    declared::Declared,
    json::Json,
    keyed_list::KeyedList,
    lazy::{Opened, items_of},
    members::Members,
    schema::{ListKind, MergeKey, Node},
    trail::Trail,
    values::{ComparedValue, same, satisfies},
};

/// A keyed list before and after the request.
#[derive(Clone, Copy)]
struct Keyed<'a, 'l> {
    kind: &'a ListKind,
    keys: &'a [MergeKey],
    old: &'l [Json<'a>],
    new: &'l [Json<'a>],
}

/// The items with one key.
#[derive(Clone, Copy)]
struct Items<'a, 'i> {
    /// In the newest or only manifest.
    firsts: &'i [Json<'a>],
    /// In the other one, if two are active.
    seconds: Option<&'i [Json<'a>]>,
    olds: &'i [Json<'a>],
    news: &'i [Json<'a>],
}

impl<'a> Walk<'a, '_> {
    pub(super) fn list(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>) {
        let (old, new) = place.open();
        let (Some(old), Some(new)) = (Opened::items(old), Opened::items(new)) else {
            return self.leaf(declared, place);
        };
        let Node::List { kind, .. } = place.shape.node() else {
            let place = WalkPlace {
                unknown_list: true,
                ..place
            };
            return self.positions(declared, place, (&old, &new));
        };
        match kind {
            ListKind::Keyed(keys) | ListKind::Sequence(keys) | ListKind::Variables(keys) => {
                let list = Keyed {
                    kind,
                    keys,
                    old: &old,
                    new: &new,
                };
                if self.keyed_list(declared, place, list).is_none() {
                    self.leaf(declared, place);
                }
            }
            ListKind::Set => self.set(declared, place, (&old, &new)),
            ListKind::Unordered => self.leaf(declared, place),
            ListKind::Atomic => self.positions(declared, place, (&old, &new)),
        }
    }

    /// Items are matched by their merge keys. Undeclared items do not matter, and neither does the
    /// order, except in lists where it is significant. `None` if an item has no key.
    fn keyed_list(
        &mut self,
        declared: Declared<'a>,
        place: WalkPlace<'a, '_>,
        list: Keyed<'a, '_>,
    ) -> Option<()> {
        let keys = list.keys;
        let of = |json: Json<'a>| KeyedList::of(&items_of(json)?, keys);
        let (first, second) = match declared {
            Declared::One(one) => (of(one)?, None),
            Declared::Two(first, second) => (
                first.map_or(Some(KeyedList::default()), of)?,
                Some(second.map_or(Some(KeyedList::default()), of)?),
            ),
        };
        let (old, new) = (
            KeyedList::of(list.old, keys)?,
            KeyedList::of(list.new, keys)?,
        );
        let others = second.iter().flat_map(KeyedList::distinct);
        let others = others.filter(|item| !first.holds(item));
        for item in first.distinct().chain(others) {
            let trail = Trail::Item(place.trail, item, keys);
            let place = place.below(&trail, place.shape.item(), (None, None));
            let seconds = second.as_ref().map(|second| second.counterparts(item));
            let items = Items {
                firsts: &first.counterparts(item),
                seconds: seconds.as_deref(),
                olds: &old.counterparts(item),
                news: &new.counterparts(item),
            };
            match list.kind {
                ListKind::Variables(_) => self.variable(place, items),
                _ => self.twins(place, items),
            }
        }
        if place.new.is_some() {
            let manifests: Vec<&KeyedList<'a>> = match declared {
                Declared::Two(None, _) => second.iter().collect(),
                Declared::Two(_, None) => vec![&first],
                Declared::One(_) | Declared::Two(..) => [Some(&first), second.as_ref()]
                    .into_iter()
                    .flatten()
                    .collect(),
            };
            if order::is_broken(list.kind, &manifests, &old, &new) {
                self.report(declared, place);
            }
        }
        Some(())
    }

    /// One variable, whose name may occur several times in the list; the last one counts.
    fn variable(&mut self, place: WalkPlace<'a, '_>, items: Items<'a, '_>) {
        let Items {
            firsts,
            seconds,
            olds,
            news,
        } = items;
        let declared = |index: usize| {
            let first = firsts.get(index).or(firsts.last()).copied();
            match seconds {
                None => first.map(Declared::One),
                Some(seconds) => {
                    let second = seconds.get(index).or(seconds.last()).copied();
                    (first.is_some() || second.is_some()).then_some(Declared::Two(first, second))
                }
            }
        };
        let repeats = firsts.len().max(seconds.map_or(0, <[_]>::len)) > 1;
        if !repeats || (olds.len() == news.len() && news.len() == firsts.len()) {
            // One more item than declared is a second declaration of the same thing. So each is
            // compared with the declaration.
            for index in 0..firsts.len().max(news.len()).max(1) {
                if let Some(declared) = declared(index) {
                    let values = (olds.get(index).copied(), news.get(index).copied());
                    self.at(
                        declared,
                        WalkPlace {
                            old: values.0,
                            new: values.1,
                            ..place
                        },
                    );
                }
            }
            return;
        }
        // A repeated name: the API server and Helm's own patches keep either one (helm#12438). Any
        // declared one is accepted.
        let any: Vec<Json<'a>> = firsts
            .iter()
            .chain(seconds.into_iter().flatten())
            .copied()
            .collect();
        let members = Members::of(&any);
        let is_satisfied = |new: &Json<'a>| {
            let against = ComparedValue {
                old: None,
                new: Some(*new),
            };
            let by_text = members.find(*new, self.rules, |declared| declared.text() == new.text());
            by_text.is_some()
                || any.iter().any(|declared| {
                    self.rules.budget.step()
                        && satisfies(*declared, against, place.shape, self.rules)
                })
        };
        let is_harmless = !news.is_empty() && news.iter().all(is_satisfied);
        if !is_harmless && let Some(declared) = declared(0) {
            let (old, new) = (olds.first().copied(), news.first().copied());
            self.at(declared, WalkPlace { old, new, ..place });
        }
    }

    /// Undeclared members do not matter, and neither does the order.
    fn set(
        &mut self,
        declared: Declared<'a>,
        place: WalkPlace<'a, '_>,
        (old, new): (&[Json<'a>], &[Json<'a>]),
    ) {
        let of = |json: Json<'a>| items_of(json).unwrap_or_default();
        let item = place.shape.item();
        let rules = self.rules;
        let member = |list: &Members<'_, 'a>, one: Json<'a>| {
            list.find(one, rules, |other| {
                same(Some(one), Some(other), item, rules)
            })
        };
        let (first, second) = match declared {
            Declared::One(one) => (of(one), None),
            Declared::Two(first, second) => (
                first.map(of).unwrap_or_default(),
                Some(second.map(of).unwrap_or_default()),
            ),
        };
        let (old, new) = (Members::of(old), Members::of(new));
        let (firsts, seconds) = (Members::of(&first), second.as_deref().map(Members::of));
        let mut changes = Vec::new();
        for one in first.iter().copied() {
            let slots = match &seconds {
                None => Declared::One(one),
                Some(seconds) => Declared::Two(Some(one), member(seconds, one)),
            };
            changes.push((slots, one, member(&old, one), member(&new, one)));
        }
        for one in second
            .iter()
            .flatten()
            .copied()
            .filter(|one| member(&firsts, *one).is_none())
        {
            let slots = Declared::Two(None, Some(one));
            changes.push((slots, one, member(&old, one), member(&new, one)));
        }
        for (slots, one, old, new) in changes {
            let trail = Trail::Value(place.trail, one.text());
            self.at(slots, place.below(&trail, item, (old, new)));
        }
    }

    /// An atomic list is one value. But if nothing was added or removed, each position is compared
    /// separately: existing drift in one item then does not block a change of another, and the path
    /// names the item. If one of two manifests has a list of another length, it declares nothing
    /// about single positions.
    fn positions(
        &mut self,
        declared: Declared<'a>,
        place: WalkPlace<'a, '_>,
        (old, new): (&[Json<'a>], &[Json<'a>]),
    ) {
        let lines_up = |json: Json<'a>| items_of(json).filter(|items| items.len() == old.len());
        if old.len() != new.len() || old.is_empty() {
            return self.leaf(declared, place);
        }
        let (first, second) = match declared {
            Declared::One(one) => (lines_up(one), None),
            Declared::Two(first, second) => (first.and_then(lines_up), second.and_then(lines_up)),
        };
        // If only one of two manifests has the list, they do not agree on its positions either.
        let is_alone = !declared.is_unanimous();
        let slots: Vec<Declared<'a>> = match (first, second) {
            (Some(first), Some(second)) => first
                .into_iter()
                .zip(second)
                .map(|(first, second)| Declared::Two(Some(first), Some(second)))
                .collect(),
            (Some(one), None) if is_alone => {
                let slot = |one| Declared::Two(Some(one), None);
                one.into_iter().map(slot).collect()
            }
            (None, Some(one)) if is_alone => {
                let slot = |one| Declared::Two(None, Some(one));
                one.into_iter().map(slot).collect()
            }
            (Some(one), None) | (None, Some(one)) => one.into_iter().map(Declared::One).collect(),
            (None, None) => return self.leaf(declared, place),
        };
        for (index, slot) in slots.into_iter().enumerate() {
            let trail = Trail::Index(place.trail, index);
            let values = (old.get(index).copied(), new.get(index).copied());
            self.at(slot, place.below(&trail, place.shape.item(), values));
        }
    }
}
