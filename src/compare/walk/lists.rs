//! Lists: how items find their counterparts decides what of a list is declared.

use super::{
    Declared, Walk,
    place::{Place, Trail},
};
use crate::compare::{
    items::KeyedList,
    json::Json,
    open::{Opened, open},
    schema::{ListKind, MergeKey, Node},
    values::{Against, same, satisfies},
};

impl<'a> Walk<'a> {
    pub(super) fn list(&mut self, declared: Declared<'a>, place: Place<'a, '_>) {
        let (old, new) = place.open();
        let items = |opened: Option<Opened<'a>>| match opened {
            None => Some(Vec::new()),
            Some(Opened::List(items)) => Some(items),
            Some(Opened::Object(_) | Opened::Scalar(_)) => None,
        };
        let (Some(old), Some(new)) = (items(old), items(new)) else {
            return self.leaf(declared, place);
        };
        // An empty list has no items that could be missed, yet custom resources keep it.
        if place.new.is_none() && declared.each().all(|json| json.text() == "[]") {
            return self.leaf(declared, place);
        }
        match place.shape.node() {
            Node::List {
                kind: ListKind::Keyed(keys),
                ..
            } => {
                if self
                    .keyed_list(declared, place, keys, (&old, &new))
                    .is_none()
                {
                    self.leaf(declared, place);
                }
            }
            Node::List {
                kind: ListKind::Set,
                ..
            } => self.set(declared, place, (&old, &new)),
            Node::List {
                kind: ListKind::Unordered,
                ..
            } => self.leaf(declared, place),
            Node::List {
                kind: ListKind::Atomic,
                ..
            } => {
                self.positions(declared, place, (&old, &new));
            }
            _ => {
                let place = Place {
                    unknown_list: true,
                    ..place
                };
                self.positions(declared, place, (&old, &new));
            }
        }
    }

    /// Items are found by their merge keys; items that no manifest declares do not matter, nor does
    /// the order. `None` when an item has no key.
    fn keyed_list(
        &mut self,
        declared: Declared<'a>,
        place: Place<'a, '_>,
        keys: &'a [MergeKey],
        (old, new): (&[Json<'a>], &[Json<'a>]),
    ) -> Option<()> {
        let of = |json: Json<'a>| match open(json) {
            Opened::List(items) => KeyedList::of(&items, keys),
            Opened::Object(_) | Opened::Scalar(_) => None,
        };
        let (first, second) = match declared {
            Declared::One(one) => (of(one)?, None),
            Declared::Two(first, second) => (
                first.map_or(Some(KeyedList::default()), of)?,
                Some(second.map_or(Some(KeyedList::default()), of)?),
            ),
        };
        let (old, new) = (KeyedList::of(old, keys)?, KeyedList::of(new, keys)?);
        let others = second.iter().flat_map(KeyedList::distinct);
        let others = others.filter(|item| !first.holds(item));
        for item in first.distinct().chain(others) {
            let trail = Trail::Item(place.trail, item, keys);
            let olds = old.counterparts(item);
            let news = new.counterparts(item);
            let firsts = first.counterparts(item);
            let seconds = second.as_ref().map(|second| second.counterparts(item));
            let place = place.below(&trail, place.shape.item(), (None, None));
            self.item(place, &firsts, seconds.as_deref(), (&olds, &news));
        }
        Some(())
    }

    /// One item of a keyed list, which may stand in it more than once under the same key.
    fn item(
        &mut self,
        place: Place<'a, '_>,
        firsts: &[Json<'a>],
        seconds: Option<&[Json<'a>]>,
        (olds, news): (&[Json<'a>], &[Json<'a>]),
    ) {
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
            // One item more than declared is a second word on the same thing: for an environment
            // variable the last one counts. So each is held against the declaration.
            for index in 0..firsts.len().max(news.len()).max(1) {
                if let Some(declared) = declared(index) {
                    let values = (olds.get(index).copied(), news.get(index).copied());
                    self.at(
                        declared,
                        Place {
                            old: values.0,
                            new: values.1,
                            ..place
                        },
                    );
                }
            }
            return;
        }
        // A repeated key: the API server and Helm's own patches keep now the one, now the other,
        // now none (helm#12438). Whichever is declared will do.
        let any = firsts.iter().chain(seconds.into_iter().flatten());
        let satisfied = |new: Json<'_>| {
            any.clone().any(|declared| {
                let against = Against {
                    old: None,
                    new: Some(new),
                };
                satisfies(*declared, against, place.shape, self.empties)
            })
        };
        let (old, new) = (olds.first().copied(), news.first().copied());
        let harmless = match new {
            Some(_) => news.iter().all(|new| satisfied(*new)),
            None => seconds.is_some(),
        };
        if !harmless && let Some(declared) = declared(0) {
            self.at(declared, Place { old, new, ..place });
        }
    }

    /// Members that no manifest declares do not matter, nor does the order.
    fn set(
        &mut self,
        declared: Declared<'a>,
        place: Place<'a, '_>,
        (old, new): (&[Json<'a>], &[Json<'a>]),
    ) {
        let of = |json: Json<'a>| match open(json) {
            Opened::List(items) => items,
            Opened::Object(_) | Opened::Scalar(_) => Vec::new(),
        };
        let item = place.shape.item();
        let member = |list: &[Json<'a>], one: Json<'a>| {
            list.iter()
                .copied()
                .find(|other| same(Some(one), Some(*other), item, self.empties))
        };
        let (first, second) = match declared {
            Declared::One(one) => (of(one), None),
            Declared::Two(first, second) => (
                first.map(of).unwrap_or_default(),
                Some(second.map(of).unwrap_or_default()),
            ),
        };
        let mut changes = Vec::new();
        for one in first.iter().copied() {
            let slots = match &second {
                None => Declared::One(one),
                Some(second) => Declared::Two(Some(one), member(second, one)),
            };
            changes.push((slots, one, member(old, one), member(new, one)));
        }
        for one in second
            .iter()
            .flatten()
            .copied()
            .filter(|one| member(&first, *one).is_none())
        {
            let slots = Declared::Two(None, Some(one));
            changes.push((slots, one, member(old, one), member(new, one)));
        }
        for (slots, one, old, new) in changes {
            let trail = Trail::Value(place.trail, one.text());
            self.at(slots, place.below(&trail, item, (old, new)));
        }
    }

    /// An atomic list is one value. Yet where nothing was added or taken away, each position is
    /// judged alone: then drift that one item has already does not block a change to another, and
    /// the path names the item.
    fn positions(
        &mut self,
        declared: Declared<'a>,
        place: Place<'a, '_>,
        (old, new): (&[Json<'a>], &[Json<'a>]),
    ) {
        let Declared::One(one) = declared else {
            return self.leaf(declared, place);
        };
        let Opened::List(one) = open(one) else {
            return self.leaf(declared, place);
        };
        if one.len() != old.len() || old.len() != new.len() || one.is_empty() {
            return self.leaf(declared, place);
        }
        for (index, one) in one.into_iter().enumerate() {
            let trail = Trail::Index(place.trail, index);
            let values = (old.get(index).copied(), new.get(index).copied());
            self.at(
                Declared::One(one),
                place.below(&trail, place.shape.item(), values),
            );
        }
    }
}
