//! The walk: which declared paths does a request move away from every declared value?
//!
//! Declared, old and new object are walked side by side. A branch is left as soon as old and new
//! are the same text, or as soon as one manifest that must agree declares nothing there. What a
//! violation is, is said once, in [`Walk::leaf`].

#[cfg(test)]
mod tests;

use serde_json::value::RawValue;

use super::{
    items::{Keyed, counterparts, keyed},
    open::{Fields, Opened, open, present},
    path::{FieldPath, Step},
    schema::{ListKind, MergeKey, Node, Shape},
    values::{Against, Empties, same, satisfies},
};

/// Which of the active manifests must declare a path for a change of it to be a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Every one: while Helm may be at work, what one of them leaves free is free.
    Every,
    /// Any one: after a failure no Helm operation is running, so a path that only one of the two
    /// declares is guarded too, though it may be removed.
    Any,
}

/// The manifests' say at one place: of one manifest, or of two while one replaces the other.
#[derive(Clone, Copy, Debug)]
pub enum Declared<'a> {
    /// One active manifest.
    One(&'a RawValue),
    /// Two active manifests; the newest first. `None`: it declares nothing here.
    Two(Option<&'a RawValue>, Option<&'a RawValue>),
}

impl<'a> Declared<'a> {
    fn each(self) -> impl Iterator<Item = &'a RawValue> {
        let (first, second) = match self {
            Self::One(one) => (Some(one), None),
            Self::Two(first, second) => (first, second),
        };
        first.into_iter().chain(second)
    }

    fn newest(self) -> Option<&'a RawValue> {
        self.each().next()
    }

    fn is_unanimous(self) -> bool {
        !matches!(self, Self::Two(None, _) | Self::Two(_, None))
    }

    /// What each manifest declares at a place that `of` finds; `None` if none declares it.
    pub fn map(self, of: impl Fn(&'a RawValue) -> Option<&'a RawValue>) -> Option<Self> {
        match self {
            Self::One(one) => present(of(one)).map(Self::One),
            Self::Two(first, second) => {
                let of = |raw: Option<&'a RawValue>| present(raw.and_then(&of));
                match (of(first), of(second)) {
                    (None, None) => None,
                    (first, second) => Some(Self::Two(first, second)),
                }
            }
        }
    }
}

/// The input of [`compare`].
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// The declared object, in each active manifest.
    pub declared: Declared<'a>,
    /// How many of them must agree.
    pub agreement: Agreement,
    /// The object before the request.
    pub old: &'a RawValue,
    /// The object after it.
    pub new: &'a RawValue,
    /// What is known of the kind's fields.
    pub shape: Shape<'a>,
    /// What becomes of empty lists.
    pub empties: Empties,
}

/// A declared path that the request moves away from every value declared for it.
#[derive(Clone, Debug)]
pub struct Violation<'a> {
    /// Where; for something removed as a whole, the topmost place that is gone.
    pub path: FieldPath,
    /// The newest active manifest's value.
    pub declared: &'a RawValue,
    /// The value before the request.
    pub old: Option<&'a RawValue>,
    /// The value after it.
    pub new: Option<&'a RawValue>,
    /// The path goes through, or ends at, a list of which nothing is known. With the schema at
    /// hand the list might turn out to have merge keys, and the change to be none.
    pub unknown_list: bool,
}

/// Every violation, in the order of the manifest's keys.
pub fn compare<'a>(comparison: &Comparison<'a>) -> Vec<Violation<'a>> {
    let mut walk = Walk {
        agreement: comparison.agreement,
        empties: comparison.empties,
        found: Vec::new(),
    };
    let place = Place {
        old: Some(comparison.old),
        new: Some(comparison.new),
        shape: comparison.shape,
        trail: &Trail::Root,
        gone: None,
        unknown_list: false,
    };
    walk.at(comparison.declared, place);
    walk.found
}

/// The way from the root to where the walk stands: on the stack, so that a walk that finds nothing
/// builds no path.
enum Trail<'t> {
    Root,
    Field(&'t Trail<'t>, &'t str),
    Item(&'t Trail<'t>, &'t Keyed<'t>, &'t [MergeKey]),
    Value(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, usize),
}

impl Trail<'_> {
    fn path(&self) -> FieldPath {
        let mut steps = Vec::new();
        let mut at = self;
        loop {
            let (parent, step) = match at {
                Trail::Root => break,
                Trail::Field(parent, name) => (parent, Step::Field((*name).to_owned())),
                Trail::Item(parent, item, keys) => (parent, item.step(keys)),
                Trail::Value(parent, value) => (parent, Step::Value((*value).to_owned())),
                Trail::Index(parent, index) => (parent, Step::Index(*index)),
            };
            steps.push(step);
            at = *parent;
        }
        steps.reverse();
        FieldPath::from(steps)
    }
}

/// The topmost place above the walk that the request removes.
#[derive(Clone, Copy)]
struct Gone<'a, 't> {
    trail: &'t Trail<'t>,
    declared: &'a RawValue,
    old: &'a RawValue,
}

/// Where the walk stands.
#[derive(Clone, Copy)]
struct Place<'a, 't> {
    old: Option<&'a RawValue>,
    new: Option<&'a RawValue>,
    shape: Shape<'a>,
    trail: &'t Trail<'t>,
    gone: Option<Gone<'a, 't>>,
    unknown_list: bool,
}

impl<'a> Place<'a, '_> {
    /// One step down, to a value that `old` and `new` hold there.
    fn below<'n>(
        self,
        trail: &'n Trail<'n>,
        shape: Shape<'a>,
        (old, new): (Option<&'a RawValue>, Option<&'a RawValue>),
    ) -> Place<'a, 'n>
    where
        Self: 'n,
    {
        Place {
            old,
            new,
            shape,
            trail,
            gone: self.gone,
            unknown_list: self.unknown_list,
        }
    }
}

struct Walk<'a> {
    agreement: Agreement,
    empties: Empties,
    found: Vec<Violation<'a>>,
}

impl<'a> Walk<'a> {
    fn at(&mut self, declared: Declared<'a>, mut place: Place<'a, '_>) {
        place.old = present(place.old);
        place.new = present(place.new);
        let unchanged = match (place.old, place.new) {
            (None, None) => true,
            (Some(old), Some(new)) => old.get() == new.get(),
            _ => false,
        };
        if unchanged || (self.agreement == Agreement::Every && !declared.is_unanimous()) {
            return;
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
        let is = |first: u8| {
            declared
                .each()
                .all(|raw| raw.get().as_bytes().first() == Some(&first))
        };
        if is(b'{') {
            self.object(declared, place);
        } else if is(b'[') {
            self.list(declared, place);
        } else {
            self.leaf(declared, place);
        }
    }

    fn object(&mut self, declared: Declared<'a>, place: Place<'a, '_>) {
        let (old, new) = (place.old.map(open), place.new.map(open));
        let fields = |opened: Option<Opened<'a>>| match opened {
            None => Some(Fields::default()),
            Some(Opened::Object(fields)) => Some(fields),
            Some(Opened::List(_) | Opened::Scalar(_)) => None,
        };
        let (Some(old), Some(new)) = (fields(old), fields(new)) else {
            return self.leaf(declared, place);
        };
        let manifests: Vec<Fields<'a>> = declared.each().filter_map(Fields::of).collect();
        if manifests.iter().all(Fields::is_empty) {
            return self.empty_object(declared, place, &old);
        }
        let mut manifests = manifests.into_iter();
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
    }

    /// `emptyDir: {}` says that the object is there, and nothing about what is in it: removing it is
    /// a change, with all that was added to it. Not so `annotations: {}` of a built-in kind: an
    /// empty map is dropped, so removing what was added to it restores what is declared.
    fn empty_object(&mut self, declared: Declared<'a>, place: Place<'a, '_>, old: &Fields<'_>) {
        let is_map = matches!(place.shape.node(), Node::MapOf(_));
        let is_dropped = is_map && self.empties == Empties::Dropped;
        if place.new.is_none() && (old.is_empty() || !is_dropped) {
            self.removed(declared, place);
        }
    }

    fn list(&mut self, declared: Declared<'a>, place: Place<'a, '_>) {
        let (old, new) = (place.old.map(open), place.new.map(open));
        let items = |opened: Option<Opened<'a>>| match opened {
            None => Some(Vec::new()),
            Some(Opened::List(items)) => Some(items),
            Some(Opened::Object(_) | Opened::Scalar(_)) => None,
        };
        let (Some(old), Some(new)) = (items(old), items(new)) else {
            return self.leaf(declared, place);
        };
        // An empty list has no items that could be missed, yet custom resources keep it.
        if place.new.is_none() && declared.each().all(|raw| raw.get() == "[]") {
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
        (old, new): (&[&'a RawValue], &[&'a RawValue]),
    ) -> Option<()> {
        let of = |raw: &'a RawValue| match open(raw) {
            Opened::List(items) => keyed(&items, keys),
            Opened::Object(_) | Opened::Scalar(_) => None,
        };
        let (first, second) = match declared {
            Declared::One(one) => (of(one)?, None),
            Declared::Two(first, second) => (
                first.map_or(Some(Vec::new()), of)?,
                Some(second.map_or(Some(Vec::new()), of)?),
            ),
        };
        let (old, new) = (keyed(old, keys)?, keyed(new, keys)?);
        let newest = first.iter().map(|item| (item, true));
        let others = second.iter().flatten().map(|item| (item, false));
        for (index, (item, is_newest)) in newest.chain(others).enumerate() {
            let before = if is_newest {
                &first
            } else {
                second.as_deref().unwrap_or_default()
            };
            let position = if is_newest {
                index
            } else {
                index - first.len()
            };
            let seen = |list: &[Keyed<'a>]| list.iter().any(|other| other.matches(item));
            if before.get(..position).is_some_and(seen) || (!is_newest && seen(&first)) {
                continue;
            }
            let trail = Trail::Item(place.trail, item, keys);
            let olds = counterparts(&old, item);
            let news = counterparts(&new, item);
            let firsts = counterparts(&first, item);
            let seconds = second.as_ref().map(|second| counterparts(second, item));
            let place = place.below(&trail, place.shape.item(), (None, None));
            self.item(place, &firsts, seconds.as_deref(), (&olds, &news));
        }
        Some(())
    }

    /// One item of a keyed list, which may stand in it more than once under the same key.
    fn item(
        &mut self,
        place: Place<'a, '_>,
        firsts: &[&'a RawValue],
        seconds: Option<&[&'a RawValue]>,
        (olds, news): (&[&'a RawValue], &[&'a RawValue]),
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
        let satisfied = |new: &RawValue| {
            any.clone().any(|declared| {
                let against = Against {
                    old: None,
                    new: Some(new),
                };
                satisfies(declared, against, place.shape, self.empties)
            })
        };
        let (old, new) = (olds.first().copied(), news.first().copied());
        let harmless = match new {
            Some(_) => news.iter().all(|new| satisfied(new)),
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
        (old, new): (&[&'a RawValue], &[&'a RawValue]),
    ) {
        let of = |raw: &'a RawValue| match open(raw) {
            Opened::List(items) => items,
            Opened::Object(_) | Opened::Scalar(_) => Vec::new(),
        };
        let item = place.shape.item();
        let member = |list: &[&'a RawValue], one: &RawValue| {
            list.iter()
                .copied()
                .find(|other| same(Some(one), Some(other), item, self.empties))
        };
        let (first, second) = match declared {
            Declared::One(one) => (of(one), None),
            Declared::Two(first, second) => (
                first.map(of).unwrap_or_default(),
                Some(second.map(of).unwrap_or_default()),
            ),
        };
        let mut changes = Vec::new();
        for one in &first {
            let slots = match &second {
                None => Declared::One(one),
                Some(second) => Declared::Two(Some(one), member(second, one)),
            };
            changes.push((slots, *one, member(old, one), member(new, one)));
        }
        for one in second
            .iter()
            .flatten()
            .filter(|one| member(&first, one).is_none())
        {
            let slots = Declared::Two(None, Some(one));
            changes.push((slots, *one, member(old, one), member(new, one)));
        }
        for (slots, one, old, new) in changes {
            let trail = Trail::Value(place.trail, one.get());
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
        (old, new): (&[&'a RawValue], &[&'a RawValue]),
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

    /// A value that is judged as a whole. It is violated when the request changes it, no manifest
    /// declares what it becomes, and it is not merely gone where only one manifest wants it.
    fn leaf(&mut self, declared: Declared<'a>, place: Place<'a, '_>) {
        let against = Against {
            old: place.old,
            new: place.new,
        };
        let is_declared = declared
            .each()
            .any(|raw| satisfies(raw, against, place.shape, self.empties));
        if is_declared || same(place.old, place.new, place.shape, self.empties) {
            return;
        }
        if place.new.is_none() {
            self.removed(declared, place);
        } else {
            self.report(declared, place);
        }
    }

    /// A value that is gone. While only one of two manifests wants it, it may go.
    fn removed(&mut self, declared: Declared<'a>, place: Place<'a, '_>) {
        if declared.is_unanimous() {
            self.report(declared, place);
        }
    }

    fn report(&mut self, declared: Declared<'a>, place: Place<'a, '_>) {
        let Some(newest) = declared.newest() else {
            return;
        };
        let (path, declared, old) = match place.gone {
            Some(gone) => (gone.trail.path(), gone.declared, Some(gone.old)),
            None => (place.trail.path(), newest, place.old),
        };
        // Everything below something that is gone is one violation.
        if self.found.last().is_none_or(|last| last.path != path) {
            self.found.push(Violation {
                path,
                declared,
                old,
                new: place.new,
                unknown_list: place.unknown_list,
            });
        }
    }
}
