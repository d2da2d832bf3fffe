//! Finds paths in field sets: `fieldsV1` of `metadata.managedFields`, in the form of structured-merge-diff.
//! A field is `f:name` there, an item of a keyed list `k:{"name":"web"}`, a member of a set `v:"a"`, and an
//! item of any other list `i:0`.

use std::{cell::RefCell, collections::HashMap};

use serde_json::{Map, Value};

use super::{lazy::unquoted, path::Step, positions::text};

/// The most sets of merge keys that are checked; the items of a list usually have the same.
const MOST_KEYS: usize = 16;

/// The field sets of one object that does not change: each list is indexed once, however many paths are
/// looked up.
#[derive(Default)]
pub(crate) struct FieldSets {
    /// By the addresses of the sets in memory.
    items: RefCell<HashMap<*const Map<String, Value>, Items>>,
}

impl FieldSets {
    /// What a set has at a path: the set below it, or the empty set of a whole value around it.
    pub(crate) fn find<'s>(
        &self,
        set: &'s Map<String, Value>,
        steps: &[Step],
    ) -> Option<&'s Map<String, Value>> {
        let mut at = set;
        for (depth, step) in steps.iter().enumerate() {
            if depth > 0 && at.is_empty() {
                return Some(at);
            }
            let below = match step {
                Step::Field(name) => at.get(&format!("f:{name}")),
                Step::Index(index) => at.get(&format!("i:{index}")),
                step => {
                    let mut items = self.items.borrow_mut();
                    let items = items
                        .entry(std::ptr::from_ref(at))
                        .or_insert_with(|| Items::of(at));
                    items.find(step).and_then(|key| at.get(key))
                }
            };
            at = below?.as_object()?;
        }
        Some(at)
    }
}

/// The items in a field set: the name of each there, by the path step that names it.
#[derive(Default)]
struct Items {
    by_value: HashMap<String, String>,
    /// By the names of the merge keys, and then by their values.
    by_keys: Vec<(Vec<String>, ByValues)>,
}

/// Names in the field set, by the values of the merge keys.
type ByValues = HashMap<Vec<String>, String>;

impl Items {
    fn of(fields: &Map<String, Value>) -> Self {
        let mut items = Self::default();
        for name in fields.keys() {
            if let Some(json) = name.strip_prefix("v:") {
                items
                    .by_value
                    .insert(unquoted(json).into_owned(), name.clone());
            } else if let Some(json) = name.strip_prefix("k:") {
                items.add(json, name);
            }
        }
        items
    }

    fn add(&mut self, json: &str, name: &str) {
        let Ok(Value::Object(own)) = serde_json::from_str(json) else {
            return;
        };
        let own = own.into_iter().map(|(key, value)| (key, text(&value)));
        let (keys, values): (Vec<String>, Vec<String>) = own.unzip();
        let known = self.by_keys.iter().position(|(known, _)| *known == keys);
        let known = match known {
            Some(at) => self.by_keys.get_mut(at),
            None if self.by_keys.len() < MOST_KEYS => {
                self.by_keys.push((keys, ByValues::new()));
                self.by_keys.last_mut()
            }
            None => None,
        };
        if let Some((_, by_values)) = known {
            by_values.insert(values, name.to_owned());
        }
    }

    fn find(&self, step: &Step) -> Option<&String> {
        match step {
            Step::Value(text) => self.by_value.get(&*unquoted(text)),
            Step::Item(pairs) => self.by_keys.iter().find_map(|(keys, by_values)| {
                let value = |key: &String| {
                    let pair = pairs.iter().find(|(name, _)| name == key);
                    pair.map(|(_, value)| value.clone())
                };
                let values: Vec<String> = keys.iter().map(value).collect::<Option<_>>()?;
                by_values.get(&values)
            }),
            Step::Field(_) | Step::Index(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(key: &str, value: &str) -> Step {
        Step::Item(vec![(key.to_owned(), value.to_owned())])
    }

    fn set(names: impl Iterator<Item = String>) -> Map<String, Value> {
        names
            .map(|name| (name, Value::Object(Map::new())))
            .collect()
    }

    #[test]
    fn an_empty_set_has_no_field() {
        let sets = FieldSets::default();
        let root = Map::new();
        assert!(
            sets.find(&root, &[Step::Field("spec".to_owned())])
                .is_none()
        );
        assert!(sets.find(&root, &[]).is_some());
    }

    #[test]
    fn each_of_many_items_is_found_by_its_keys() {
        let sets = FieldSets::default();
        let names = (0..=MOST_KEYS).map(|at| format!(r#"k:{{"name":"{at:02}"}}"#));
        let root = set(names);
        for at in 0..=MOST_KEYS {
            let steps = [item("name", &format!("{at:02}"))];
            assert!(sets.find(&root, &steps).is_some(), "{at}");
        }
    }

    #[test]
    fn items_with_more_sets_of_keys_than_any_list_are_not_found() {
        let sets = FieldSets::default();
        let names = (0..=MOST_KEYS).map(|at| format!(r#"k:{{"key{at:02}":"a"}}"#));
        let root = set(names);
        for at in 0..=MOST_KEYS {
            let steps = [item(&format!("key{at:02}"), "a")];
            assert_eq!(sets.find(&root, &steps).is_some(), at < MOST_KEYS, "{at}");
        }
    }
}
