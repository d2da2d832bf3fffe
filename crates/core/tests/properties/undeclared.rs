//! Changes of undeclared fields, against a reference that compares trees by the types of the model.

use helm_guard_core::compare::{
    Json,
    budget::StepBudget,
    path::{FieldPath, Step},
    rules::{EmptyListPolicy, Rules},
    undeclared::undeclared,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    edit::{Node, get_mut, item_step, nodes, plain},
    for_all, is_at_or_above,
    model::{KindUnderTest, ModelKey, Ty, identity},
    server::{is_empty, roll},
    vandalised,
};

/// The reference: every path that changes, with whether the manifest declares it.
struct Reference<'s> {
    empties: EmptyListPolicy,
    /// Each change, and the value that is declared there.
    found: Vec<(FieldPath, Option<&'s Value>)>,
    /// Items of which several have one key, and a manifest declares some: which one is declared decides what is
    /// reported, and [`each_change_is_a_violation_or_undeclared`] is about that.
    repeated: Vec<FieldPath>,
}

type Both<'v> = (Option<&'v Value>, Option<&'v Value>);

fn fields(value: Option<&Value>) -> Option<Vec<&String>> {
    match value {
        None => Some(Vec::new()),
        Some(Value::Object(fields)) => Some(fields.keys().collect()),
        Some(_) => None,
    }
}

fn items(value: Option<&Value>) -> Option<&[Value]> {
    match value {
        None => Some(&[]),
        Some(Value::Array(items)) => Some(items),
        Some(_) => None,
    }
}

impl<'s> Reference<'s> {
    fn of(subject: &KindUnderTest, declared: &'s Value, old: &'s Value, new: &'s Value) -> Self {
        let mut reference = Self {
            empties: subject.empties,
            found: Vec::new(),
            repeated: Vec::new(),
        };
        // Of the metadata, only labels and annotations count.
        let get = |value: &'s Value, path: &[&str]| {
            path.iter().try_fold(value, |value, name| value.get(name))
        };
        let places = [vec!["metadata", "labels"], vec!["metadata", "annotations"]];
        let fields = [old, new].into_iter().filter_map(Value::as_object);
        let mut names: Vec<&str> = fields.flat_map(Map::keys).map(String::as_str).collect();
        names.retain(|name| !["metadata", "status"].contains(name));
        names.sort_unstable();
        names.dedup();
        for place in places
            .into_iter()
            .chain(names.into_iter().map(|name| vec![name]))
        {
            let ty = place
                .iter()
                .try_fold(&subject.ty, |ty, name| ty.below(name));
            let both = (get(old, &place), get(new, &place));
            let path = FieldPath::of(place.iter().copied());
            reference.at(ty, get(declared, &place), both, &path);
        }
        reference
    }

    fn undeclared(&self) -> Vec<String> {
        let found = self.found.iter().filter(|(_, declared)| declared.is_none());
        found.map(|(path, _)| path.to_string()).collect()
    }

    fn is_same(&self, (old, new): Both<'_>) -> bool {
        let is_nothing = |value: Option<&Value>| {
            let drops = self.empties == EmptyListPolicy::Dropped;
            value.is_none_or(|value| drops && *value == json!([]))
        };
        old == new || is_nothing(old) && is_nothing(new)
    }

    fn at(
        &mut self,
        ty: Option<&Ty>,
        declared: Option<&'s Value>,
        both: Both<'_>,
        path: &FieldPath,
    ) {
        if self.is_same(both) {
            return;
        }
        let ty = match ty {
            Some(Ty::Whole(object)) => Some(&**object),
            ty => ty,
        };
        let (old, new) = both;
        if let (Some(olds), Some(news), Some(_)) = (fields(old), fields(new), fields(declared))
            && !(olds.is_empty() && news.is_empty())
        {
            let mut names: Vec<&String> = olds.into_iter().chain(news).collect();
            names.sort();
            names.dedup();
            for name in names {
                let of = |value: Option<&Value>| value.and_then(|value| value.get(name)).cloned();
                let (old, new) = (of(old), of(new));
                let declared = declared.and_then(|declared| declared.get(name));
                let ty = ty.and_then(|ty| ty.below(name));
                let path = path.join(Step::Field(name.clone()));
                self.at(ty, declared, (old.as_ref(), new.as_ref()), &path);
            }
        } else if let (Some(olds), Some(news), Some(declareds)) =
            (items(old), items(new), items(declared))
            && !(olds.is_empty() && news.is_empty())
        {
            self.list(ty, declared.map(|_| declareds), (olds, news), both, path);
        } else {
            self.found.push((path.clone(), declared));
        }
    }

    fn list(
        &mut self,
        ty: Option<&Ty>,
        declared: Option<&'s [Value]>,
        (olds, news): (&[Value], &[Value]),
        both: Both<'_>,
        path: &FieldPath,
    ) {
        static LIST: Value = Value::Bool(true);
        let as_one = declared.map(|_| &LIST);
        let all = || olds.iter().chain(news).chain(declared.unwrap_or_default());
        match ty {
            Some(Ty::Keyed(keys, item) | Ty::Sequence(keys, item))
                if all().all(|one| keys.iter().any(|key| one.get(key.field).is_some())) =>
            {
                let mut names: Vec<Value> = olds
                    .iter()
                    .chain(news)
                    .map(|one| named(one, keys))
                    .collect();
                names.sort_by_key(Value::to_string);
                names.dedup();
                for name in names {
                    let of = |items: &[Value]| -> Vec<Value> {
                        items
                            .iter()
                            .filter(|one| named(one, keys) == name)
                            .cloned()
                            .collect()
                    };
                    let (olds, news) = (of(olds), of(news));
                    let mut declareds = declared
                        .into_iter()
                        .flatten()
                        .filter(|one| named(one, keys) == name);
                    let path = path.join(item_step(olds.first().or(news.first()).unwrap(), keys));
                    if olds.len() > 1 || news.len() > 1 {
                        if declareds.next().is_some() {
                            self.repeated.push(path);
                            continue;
                        }
                        let (went, came) = (without(&olds, &news), without(&news, &olds));
                        for at in 0..went.len().max(came.len()) {
                            self.at(Some(item), None, (went.get(at), came.get(at)), &path);
                        }
                        continue;
                    }
                    self.at(
                        Some(item),
                        declareds.next(),
                        (olds.first(), news.first()),
                        &path,
                    );
                }
            }
            Some(Ty::Set) => {
                let went = olds.iter().filter(|one| !news.contains(one));
                let came = news.iter().filter(|one| !olds.contains(one));
                for one in went.chain(came) {
                    let declared = declared.into_iter().flatten().find(|other| *other == one);
                    self.found
                        .push((path.join(Step::Value(one.to_string())), declared));
                }
            }
            // An item without a key, so that the list is one value.
            Some(Ty::Keyed(..) | Ty::Sequence(..)) => self.found.push((path.clone(), as_one)),
            // What a declared item allows in it, nobody reports.
            Some(Ty::Unordered(_)) => {
                let unsure = declared.map(|_| &Value::Null);
                self.found.push((path.clone(), unsure));
            }
            _ => match declared {
                Some(declared) if declared.len() == olds.len() && olds.len() == news.len() => {
                    let item = match ty {
                        Some(Ty::Atomic(item)) => Some(&**item),
                        _ => None,
                    };
                    for (index, declared) in declared.iter().enumerate() {
                        let path = path.join(Step::Index(index));
                        self.at(
                            item,
                            Some(declared),
                            (olds.get(index), news.get(index)),
                            &path,
                        );
                    }
                }
                _ => {
                    if !self.is_same(both) {
                        self.found.push((path.clone(), as_one));
                    }
                }
            },
        }
    }
}

/// The items of the first list that the second one does not have.
fn without(items: &[Value], others: &[Value]) -> Vec<Value> {
    let mut others = others.to_vec();
    let mut left = items.to_vec();
    left.retain(|item| match others.iter().position(|other| other == item) {
        Some(at) => {
            others.remove(at);
            false
        }
        None => true,
    });
    left
}

/// The merge keys as texts: 80 and "80" are one key.
fn named(item: &Value, keys: &[ModelKey]) -> Value {
    let key = identity(item, keys);
    key.as_array()
        .into_iter()
        .flatten()
        .map(plain)
        .map(Value::from)
        .collect()
}

impl KindUnderTest {
    fn undeclared(&self, declared: &Value, old: &Value, new: &Value) -> Vec<FieldPath> {
        let texts = [declared, old, new].map(Value::to_string);
        let [declared, old, new] = texts.each_ref().map(|text| Json::of(text));
        let rules = Rules {
            empties: self.empties,
            budget: &StepBudget::default(),
        };
        let found = undeclared(&[declared], (old, new), self.shape, rules, |_| true);
        found.into_iter().map(|change| change.path).collect()
    }
}

fn printed(paths: &[FieldPath]) -> Vec<String> {
    let mut paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
    paths.sort();
    paths
}

#[test]
fn exactly_the_undeclared_changes_of_the_reference_are_found() {
    for_all(|subject, object, seed| {
        let old = subject.lived_in(object, seed);
        let new = vandalised(&subject.ty, &old, seed.rotate_left(13));
        let reference = Reference::of(subject, object, &old, &new);
        let mut expected = reference.undeclared();
        expected.sort();
        let mut found = subject.undeclared(object, &old, &new);
        found.retain(|path| {
            !reference
                .repeated
                .iter()
                .any(|one| is_at_or_above(one, path))
        });
        prop_assert_eq!(printed(&found), expected);
        Ok(())
    });
}

#[test]
fn nothing_declared_is_reported_as_undeclared() {
    for_all(|subject, object, seed| {
        let old = subject.lived_in(object, seed);
        let new = vandalised(&subject.ty, &old, seed.rotate_left(13));
        let declared = nodes(&subject.ty, object);
        for path in subject.undeclared(object, &old, &new) {
            let node = declared.iter().find(|node| node.path == path);
            prop_assert!(node.is_none(), "{path} is declared");
        }
        // Of what was there before and what is there now, one declares each change.
        let [gone, come] = [&old, &new].map(|declared| subject.undeclared(declared, &old, &new));
        let both = gone.iter().find(|path| come.contains(path));
        prop_assert!(both.is_none(), "{both:?} is declared");
        Ok(())
    });
}

#[test]
fn each_change_is_a_violation_or_undeclared() {
    for_all(|subject, object, seed| {
        let repeated = with_a_twin(&subject.ty, object, seed);
        for object in [object, &repeated] {
            let old = subject.lived_in(object, seed);
            let old = with_a_twin(&subject.ty, &old, seed.rotate_left(7));
            let new = vandalised(&subject.ty, &old, seed.rotate_left(13));
            let mut reported = subject.undeclared(object, &old, &new);
            let violations = subject.judge(object, &old, &new);
            reported.extend(violations.into_iter().map(|found| found.path));
            for (path, declared) in &Reference::of(subject, object, &old, &new).found {
                // Whether an empty value is stored or left out does not matter to a declaration of it.
                let may_go = declared.is_some_and(|value| is_empty(value) || value.is_null());
                let is_reported = reported.iter().any(|reported| {
                    is_at_or_above(reported, path) || is_at_or_above(path, reported)
                });
                prop_assert!(
                    may_go || is_reported,
                    "{path} is neither, but {:?}",
                    printed(&reported)
                );
            }
        }
        Ok(())
    });
}

fn is_env(node: &Node) -> bool {
    matches!(node.path.steps().last(), Some(Step::Field(name)) if name == "env")
}

/// The object with another item of the same key in one of its lists, as the API server accepts it for ports.
fn with_a_twin(ty: &Ty, object: &Value, seed: u64) -> Value {
    let mut object = object.clone();
    let lists: Vec<_> = nodes(ty, &object)
        .into_iter()
        // Of variables with one name, the last counts.
        .filter(|node| matches!(node.ty, Ty::Keyed(..)) && !is_env(node))
        .collect();
    let Some(list) =
        lists.get(usize::try_from(roll(seed, "", "twin") % 64).unwrap() % lists.len().max(1))
    else {
        return object;
    };
    let (Ty::Keyed(keys, _), Some(Value::Array(items))) =
        (&list.ty, get_mut(&mut object, &list.at))
    else {
        return object;
    };
    if let Some(Value::Object(first)) = items.first() {
        let mut twin = first.clone();
        for (name, value) in &mut twin {
            if !keys.iter().any(|key| key.field == name) && value.is_string() {
                *value = json!(format!("{} of a twin", plain(value)));
            }
        }
        items.push(twin.into());
    }
    object
}
