//! The patch that reverts a change of some fields.

use std::collections::{BTreeMap, HashMap};

use json_patch::Patch;
use serde_json::{Map, Value};

use super::{
    path::{FieldPath, Step},
    positions::{Positions, text},
};

/// The patch (RFC 6902) from `new` to an object whose fields at `paths` are as in `old`. All other
/// changes stay. If a list repeats a merge key, all items with the key are reverted, because a path
/// cannot distinguish them.
///
/// Values of both objects appear in the patch: mask a Secret first.
pub fn undo<'p>(old: &Value, new: &Value, paths: impl IntoIterator<Item = &'p FieldPath>) -> Patch {
    let mut wanted = UndoTree::default();
    for path in paths {
        wanted.add(path.steps());
    }
    let mut undone = new.clone();
    wanted.restore(&mut undone, Some(old));
    json_patch::diff(new, &undone)
}

/// The paths to revert as a tree, so that each object and list is visited once.
#[derive(Default)]
struct UndoTree<'p> {
    /// Everything below this step.
    whole: bool,
    below: BTreeMap<&'p Step, UndoTree<'p>>,
}

impl<'p> UndoTree<'p> {
    fn add(&mut self, steps: &'p [Step]) {
        let mut at = self;
        for step in steps {
            at = at.below.entry(step).or_default();
        }
        at.whole = true;
    }

    /// Whether the steps are those of an object or of a list.
    fn fits(&self, value: &Value) -> bool {
        let mut are_fields = self.below.keys().map(|step| matches!(step, Step::Field(_)));
        match value {
            Value::Object(_) => are_fields.all(|is_field| is_field),
            Value::Array(_) => !are_fields.any(|is_field| is_field),
            _ => false,
        }
    }

    /// Reverts the wanted parts of `at` to `was`.
    fn restore(&self, at: &mut Value, was: Option<&Value>) {
        if self.whole {
            if let Some(was) = was {
                at.clone_from(was);
            }
            return;
        }
        if !self.fits(at) {
            // The parent of the fields was removed with them, and returns with them.
            if let Some(was) = was.filter(|was| self.fits(was)) {
                at.clone_from(was);
            }
            return;
        }
        match at {
            Value::Object(fields) => self.fields(fields, was.and_then(Value::as_object)),
            Value::Array(items) => {
                let was = was.and_then(Value::as_array);
                self.items(items, was.map(Vec::as_slice).unwrap_or_default());
            }
            _ => {}
        }
    }

    fn fields(&self, fields: &mut Map<String, Value>, was: Option<&Map<String, Value>>) {
        for (step, wanted) in &self.below {
            let Step::Field(name) = step else { continue };
            let before = was.and_then(|was| was.get(name));
            match (fields.get_mut(name), before) {
                (Some(now), before) if !wanted.whole => wanted.restore(now, before),
                (Some(now), Some(before)) => now.clone_from(before),
                (Some(_), None) => {
                    fields.remove(name);
                }
                (None, Some(before)) => {
                    fields.insert(name.clone(), before.clone());
                }
                (None, None) => {}
            }
        }
    }

    fn items(&self, items: &mut Vec<Value>, was: &[Value]) {
        let (mut now, mut before) = (Positions::default(), Positions::default());
        let mut list = List::new(items, was);
        for (step, wanted) in &self.below {
            let (now, before) = (now.of(items, step), before.of(was, step));
            let one = match (now.as_slice(), before.as_slice()) {
                ([now], [] | [_]) if !wanted.whole => list.now(*now),
                _ => None,
            };
            match one {
                Some(item) => wanted.restore(item, before.first().and_then(|at| was.get(*at))),
                None => list.swap(step, &now, &before),
            }
        }
        *items = list.put_together();
    }
}

/// A list whose items are reverted.
struct List<'v> {
    was: &'v [Value],
    /// The current items; `None` for a removed one.
    slots: Vec<Option<Value>>,
    /// The items to insert after this many current items.
    behind: BTreeMap<usize, Vec<&'v Value>>,
    /// The items to place, by their old position, with their step.
    lost: BTreeMap<usize, Step>,
}

impl<'v> List<'v> {
    fn new(items: &[Value], was: &'v [Value]) -> Self {
        Self {
            was,
            slots: items.iter().cloned().map(Some).collect(),
            behind: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }

    fn now(&mut self, at: usize) -> Option<&mut Value> {
        self.slots.get_mut(at)?.as_mut()
    }

    /// Replaces the items at `now` by those that were at `before`.
    fn swap(&mut self, step: &Step, now: &[usize], before: &[usize]) {
        let items = before.iter().filter_map(|at| self.was.get(*at));
        let mut items = items.collect::<Vec<_>>().into_iter();
        for at in now {
            if let Some(slot) = self.slots.get_mut(*at) {
                *slot = items.next().cloned();
            }
        }
        match (now.last(), step) {
            (Some(last), _) => self.behind.entry(last + 1).or_default().extend(items),
            (None, Step::Index(_)) => {
                let end = self.slots.len();
                self.behind.entry(end).or_default().extend(items);
            }
            (None, step) => {
                let lost = before.iter().map(|at| (*at, step.clone()));
                self.lost.extend(lost);
            }
        }
    }

    /// A lost item is inserted after its old predecessor.
    fn put_together(mut self) -> Vec<Value> {
        if let Some(step) = self.lost.values().next() {
            let slots = self.slots.iter().enumerate();
            let places: HashMap<Vec<String>, usize> = slots
                .filter_map(|(at, item)| Some((name(item.as_ref()?, step), at + 1)))
                .collect();
            let mut place = 0;
            for (at, item) in self.was.iter().enumerate() {
                if self.lost.contains_key(&at) {
                    self.behind.entry(place).or_default().push(item);
                } else if let Some(known) = places.get(&name(item, step)) {
                    place = *known;
                }
            }
        }
        let Self {
            slots, mut behind, ..
        } = self;
        let mut items = Vec::with_capacity(slots.len());
        items.extend(behind.remove(&0).unwrap_or_default().into_iter().cloned());
        for (at, item) in slots.into_iter().enumerate() {
            items.extend(item);
            let next = behind.remove(&(at + 1)).unwrap_or_default();
            items.extend(next.into_iter().cloned());
        }
        items
    }
}

/// What identifies an item among steps of this kind: its other fields may have changed.
fn name(item: &Value, step: &Step) -> Vec<String> {
    match step {
        Step::Item(keys) => {
            let values = keys.iter().map(|(key, _)| item.get(key));
            values
                .map(|value| value.map(text).unwrap_or_default())
                .collect()
        }
        _ => vec![text(item)],
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn field(name: &str) -> Step {
        Step::Field(name.to_owned())
    }

    fn item(name: &str) -> Step {
        Step::Item(vec![("name".to_owned(), name.to_owned())])
    }

    #[rstest]
    #[case::changed(json!({"a": 1, "b": 1}), json!({"a": 2, "b": 2}), vec![field("a")], json!({"a": 1, "b": 2}))]
    #[case::removed(json!({"a": 1}), json!({}), vec![field("a")], json!({"a": 1}))]
    #[case::added(json!({}), json!({"a": 1, "b": 2}), vec![field("a")], json!({"b": 2}))]
    #[case::with_its_parent(
        json!({"a": {"b": 1, "c": 2}}), json!({}), vec![field("a"), field("b")], json!({"a": {"b": 1, "c": 2}})
    )]
    #[case::parent_of_another_type(
        json!({"a": {"b": 1}}), json!({"a": 5}), vec![field("a"), field("b")], json!({"a": {"b": 1}})
    )]
    #[case::item_that_moved(
        json!([{"name": "x", "v": 1}, {"name": "y", "v": 1}]),
        json!([{"name": "new"}, {"name": "y", "v": 2}, {"name": "x", "v": 1}]),
        vec![item("y"), field("v")],
        json!([{"name": "new"}, {"name": "y", "v": 1}, {"name": "x", "v": 1}])
    )]
    #[case::one_field_of_an_item(
        json!([{"name": "x", "v": 1, "w": 1}]),
        json!([{"name": "x", "v": 2, "w": 2}]),
        vec![item("x"), field("v")],
        json!([{"name": "x", "v": 1, "w": 2}])
    )]
    #[case::item_that_neither_has(
        json!([{"name": "x"}]), json!([{"name": "x", "v": 1}]), vec![item("y")], json!([{"name": "x", "v": 1}])
    )]
    #[case::item_that_went(
        json!([{"name": "x"}]), json!([{"name": "y"}]), vec![item("x")], json!([{"name": "x"}, {"name": "y"}])
    )]
    #[case::item_that_went_comes_back_to_its_place(
        json!([{"name": "x"}, {"name": "y", "v": 1}, {"name": "z"}]),
        json!([{"name": "new"}, {"name": "x", "v": 2}, {"name": "z"}]),
        vec![item("y")],
        json!([{"name": "new"}, {"name": "x", "v": 2}, {"name": "y", "v": 1}, {"name": "z"}])
    )]
    #[case::item_beside_one_that_leaves_a_key_to_its_default(
        json!([{"port": 80, "v": 1}, {"port": 80, "protocol": "UDP", "v": 1}]),
        json!([{"port": 80, "v": 1}, {"port": 80, "protocol": "UDP", "v": 2}]),
        vec![
            Step::Item(vec![("port".into(), "80".into()), ("protocol".into(), "UDP".into())]),
            field("v"),
        ],
        json!([{"port": 80, "v": 1}, {"port": 80, "protocol": "UDP", "v": 1}])
    )]
    #[case::twin_that_went(
        json!([{"name": "x", "v": 1}, {"name": "y"}, {"name": "x", "v": 2}]),
        json!([{"name": "x", "v": 1}, {"name": "y"}]),
        vec![item("x")],
        json!([{"name": "x", "v": 1}, {"name": "x", "v": 2}, {"name": "y"}])
    )]
    #[case::twin_that_changed(
        json!([{"name": "x", "v": 1}, {"name": "x", "v": 2}]),
        json!([{"name": "x", "v": 1}, {"name": "new"}, {"name": "x", "v": 3}]),
        vec![item("x"), field("v")],
        json!([{"name": "x", "v": 1}, {"name": "new"}, {"name": "x", "v": 2}])
    )]
    #[case::twins_that_went(
        json!([{"name": "y"}, {"name": "x", "v": 1}, {"name": "x", "v": 2}]),
        json!([{"name": "y"}, {"name": "z"}]),
        vec![item("x")],
        json!([{"name": "y"}, {"name": "x", "v": 1}, {"name": "x", "v": 2}, {"name": "z"}])
    )]
    #[case::twin_that_came(
        json!([{"name": "x", "v": 1}]),
        json!([{"name": "x", "v": 1}, {"name": "x", "v": 2}]),
        vec![item("x")],
        json!([{"name": "x", "v": 1}])
    )]
    #[case::items_that_went_one_after_the_other(
        json!([{"name": "w"}, {"name": "x"}, {"name": "y"}]),
        json!([{"name": "w"}, {"name": "z"}]),
        vec![item("y")],
        json!([{"name": "w"}, {"name": "y"}, {"name": "z"}])
    )]
    #[case::value_of_a_set(
        json!(["a", "b"]), json!(["b"]), vec![Step::Value("\"a\"".to_owned())], json!(["a", "b"])
    )]
    #[case::position(json!([1, 2]), json!([1, 3]), vec![Step::Index(1)], json!([1, 2]))]
    #[case::beside_another(
        json!({"a": {"b": 1, "c": 1}}), json!({"a": {"b": 2, "c": 2}}), vec![field("a"), field("b")],
        json!({"a": {"b": 1, "c": 2}})
    )]
    #[case::removed_beside_another(
        json!({"a": 1, "b": 1}), json!({"b": 2}), vec![field("a")], json!({"a": 1, "b": 2})
    )]
    #[case::position_that_went(json!([1, 2, 3]), json!([1]), vec![Step::Index(2)], json!([1, 3]))]
    #[case::value_that_came(
        json!(["a"]), json!(["a", "b"]), vec![Step::Value("\"b\"".to_owned())], json!(["a"])
    )]
    #[case::with_its_list(
        json!({"a": [1], "b": 1}), json!({"a": {}, "b": 2}), vec![field("a"), Step::Index(0)],
        json!({"a": [1], "b": 2})
    )]
    #[case::the_object_itself(json!({"a": 1}), json!({"b": 1}), vec![], json!({"a": 1}))]
    #[case::nowhere(json!({"a": 1}), json!({"a": 2}), vec![field("x"), field("y")], json!({"a": 2}))]
    fn only_the_named_paths_are_reverted(
        #[case] old: Value,
        #[case] new: Value,
        #[case] steps: Vec<Step>,
        #[case] expected: Value,
    ) {
        let path = FieldPath::from(steps);
        let patch = undo(&old, &new, [&path]);
        let mut patched = new;
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched, expected);
    }

    #[test]
    fn many_items_return_to_their_places() {
        let name = |n: usize| json!({"name": format!("i{n}"), "v": n});
        let old: Vec<Value> = (0..50).map(name).collect();
        let new: Vec<Value> = (0..50).step_by(7).map(name).collect();
        let paths: Vec<FieldPath> = (0..50)
            .map(|n| FieldPath::from(vec![item(&format!("i{n}"))]))
            .collect();
        let (old, new) = (json!(old), json!(new));
        let mut patched = new.clone();
        json_patch::patch(&mut patched, &undo(&old, &new, &paths)).unwrap();
        assert_eq!(patched, old);
    }

    #[test]
    fn added_and_removed_positions_are_reverted_together() {
        let paths: Vec<FieldPath> = (0..4)
            .map(|n| FieldPath::from(vec![Step::Index(n)]))
            .collect();
        for (old, new) in [
            (json!([1, 2, 3, 4]), json!([9])),
            (json!([1]), json!([1, 2, 3, 4])),
            (json!([]), json!([1, 2])),
        ] {
            let mut patched = new.clone();
            json_patch::patch(&mut patched, &undo(&old, &new, &paths)).unwrap();
            assert_eq!(patched, old);
        }
    }
}
