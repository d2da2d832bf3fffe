//! Lookups of paths in one document that does not change. Long lists are indexed once, however many paths
//! lead into them.

use std::{cell::RefCell, collections::HashMap};

use serde_json::Value;

use super::{
    lookup::{self, child},
    path::Step,
    positions::Positions,
};

/// A shorter list is searched linearly each time.
const SHORT: usize = 16;

/// The positions in the lists of one document that does not change.
#[derive(Default)]
pub struct Lists {
    /// By the address of the list in memory.
    known: RefCell<HashMap<*const Value, Positions>>,
}

impl Lists {
    /// The value at the path `steps`.
    pub fn select<'v>(&self, document: &'v Value, steps: &[Step]) -> Option<&'v Value> {
        steps
            .iter()
            .try_fold(document, |parent, step| match parent {
                Value::Array(items) => items.get(self.position(items, step)?),
                parent => child(parent, step),
            })
    }

    /// The position of `step` in a list of the document.
    pub fn position(&self, items: &[Value], step: &Step) -> Option<usize> {
        if items.len() < SHORT || matches!(step, Step::Index(_)) {
            return lookup::position(items, step);
        }
        let mut known = self.known.borrow_mut();
        let positions = known.entry(items.as_ptr()).or_default();
        positions.of(items, step).first().copied()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(keys: &[(&str, &str)]) -> Step {
        let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
        Step::Item(keys.iter().map(owned).collect())
    }

    #[test]
    fn long_and_short_lists_are_searched_alike() {
        let ports: Vec<Value> = (0..100)
            .map(|n| json!({"port": n, "name": format!("p{n}")}))
            .collect();
        let document = json!({"spec": {"ports": ports}});
        let lists = Lists::default();
        let path = ".spec.ports[port=77,protocol=TCP].name";
        let path: crate::compare::path::FieldPath = path.parse().unwrap();
        for _ in 0..2 {
            assert_eq!(lists.select(&document, path.steps()), Some(&json!("p77")));
        }
        let steps = [
            Step::Field("spec".to_owned()),
            Step::Field("ports".to_owned()),
        ];
        let items = lists.select(&document, &steps).unwrap().as_array().unwrap();
        assert_eq!(lists.position(items, &item(&[("port", "5")])), Some(5));
        assert_eq!(lists.position(items, &item(&[("port", "100")])), None);
        assert_eq!(lists.position(items, &Step::Index(7)), Some(7));
    }
}
