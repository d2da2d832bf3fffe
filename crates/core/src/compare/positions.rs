//! Which items of a list a path step names. Each list is indexed once, however many paths lead into it: a
//! request may violate as many paths as an object has items.

use std::collections::HashMap;

use serde_json::Value;

use super::{lazy::unquoted, path::Step};

/// The most combinations of present merge keys that are indexed: each item may leave others at their defaults.
const MOST_WAYS: usize = 64;

/// The positions in one list.
#[derive(Default)]
pub(crate) struct Positions {
    by_names: HashMap<Vec<String>, Vec<Way>>,
}

/// The items that have the same subset of the wanted keys.
struct Way {
    has: Vec<bool>,
    at: HashMap<Vec<String>, Vec<usize>>,
}

impl Positions {
    /// The positions of the items that `step` names in `items`, which is always the same list. There
    /// are several if the list repeats a key.
    pub(crate) fn of(&mut self, items: &[Value], step: &Step) -> Vec<usize> {
        match step {
            Step::Field(_) => Vec::new(),
            Step::Index(index) => (*index < items.len())
                .then_some(*index)
                .into_iter()
                .collect(),
            Step::Value(text) => self.find(items, &[("", text.as_str())]),
            Step::Item(keys) => {
                let keys: Vec<(&str, &str)> = keys
                    .iter()
                    .map(|(name, text)| (name.as_str(), text.as_str()))
                    .collect();
                self.find(items, &keys)
            }
        }
    }

    /// An empty name means the item itself.
    fn find(&mut self, items: &[Value], keys: &[(&str, &str)]) -> Vec<usize> {
        let names: Vec<String> = keys.iter().map(|(name, _)| (*name).to_owned()).collect();
        let ways = self
            .by_names
            .entry(names)
            .or_insert_with_key(|names| ways(items, names));
        let found = |texts: Vec<String>| {
            let at = |way: &Way| {
                let own = texts.iter().zip(&way.has).filter(|(_, has)| **has);
                let own: Vec<String> = own.map(|(text, _)| text.clone()).collect();
                way.at.get(&own).cloned()
            };
            let is_whole = |way: &&Way| way.has.iter().all(|has| *has);
            // An item may omit a key with a default; but if another item has the key, that item is
            // meant.
            ways.iter()
                .filter(is_whole)
                .find_map(at)
                .or_else(|| ways.iter().filter_map(at).min())
        };
        found(keys.iter().map(|(_, text)| (*text).to_owned()).collect())
            .or_else(|| {
                found(
                    keys.iter()
                        .map(|(_, text)| unquoted(text).into_owned())
                        .collect(),
                )
            })
            .unwrap_or_default()
    }
}

fn ways(items: &[Value], names: &[String]) -> Vec<Way> {
    let mut ways: Vec<Way> = Vec::new();
    for (position, item) in items.iter().enumerate() {
        let own: Vec<Option<String>> = names
            .iter()
            .map(|name| match name.as_str() {
                "" => Some(text(item)),
                name => item.get(name).filter(|value| !value.is_null()).map(text),
            })
            .collect();
        let has: Vec<bool> = own.iter().map(Option::is_some).collect();
        let texts: Vec<String> = own.into_iter().flatten().collect();
        // An item without any key has no name.
        if texts.is_empty() {
            continue;
        }
        let way = match ways.iter().position(|way| way.has == has) {
            Some(at) => ways.get_mut(at),
            None if ways.len() < MOST_WAYS => {
                let at = HashMap::new();
                ways.push(Way { has, at });
                ways.last_mut()
            }
            None => None,
        };
        if let Some(way) = way {
            way.at.entry(texts).or_default().push(position);
        }
    }
    ways
}

/// In the form of a path: JSON text, but a string without its quotes.
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn item(keys: &[(&str, &str)]) -> Step {
        let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
        Step::Item(keys.iter().map(owned).collect())
    }

    fn value(text: &str) -> Step {
        Step::Value(text.to_owned())
    }

    #[rstest]
    #[case::item(json!([{"n": "a"}, {"n": "b"}]), item(&[("n", "b")]), &[1])]
    #[case::number(json!([{"p": 1}, {"p": 2}]), item(&[("p", "2")]), &[1])]
    #[case::two_keys(json!([{"p": 1, "q": "T"}, {"p": 1, "q": "U"}]), item(&[("p", "1"), ("q", "U")]), &[1])]
    #[case::a_default(json!([{"p": 2}, {"p": 1}]), item(&[("p", "1"), ("q", "T")]), &[1])]
    #[case::null_is_a_default(json!([{"p": 1, "q": null}]), item(&[("p", "1"), ("q", "T")]), &[0])]
    #[case::the_one_that_says_it(json!([{"p": 1}, {"p": 1, "q": "T"}]), item(&[("p", "1"), ("q", "T")]), &[1])]
    #[case::twins(json!([{"p": 1}, {"p": 2}, {"p": 1}]), item(&[("p", "1")]), &[0, 2])]
    #[case::nameless(json!([{"x": 1}]), item(&[("p", "1")]), &[])]
    #[case::no_such_item(json!([{"p": 1}]), item(&[("p", "2")]), &[])]
    #[case::member(json!(["a", "b"]), value("b"), &[1])]
    #[case::member_in_quotes(json!(["a", "b"]), value("\"b\""), &[1])]
    #[case::member_with_an_escape(json!(["<"]), value("\"\\u003c\""), &[0])]
    #[case::member_that_is_a_number(json!(["a", 2]), value("2"), &[1])]
    #[case::no_member(json!(["a"]), value("b"), &[])]
    #[case::index(json!([1, 2]), Step::Index(1), &[1])]
    #[case::past_the_end(json!([1]), Step::Index(1), &[])]
    #[case::field(json!([1]), Step::Field("0".to_owned()), &[])]
    fn a_step_leads_to_the_items_of_its_key(
        #[case] list: Value,
        #[case] step: Step,
        #[case] expected: &[usize],
    ) {
        let items = list.as_array().unwrap();
        assert_eq!(Positions::default().of(items, &step), expected);
    }

    #[test]
    fn the_combinations_of_omitted_keys_are_bounded() {
        let names: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
        let items: Vec<Value> = (1..2_000_u32)
            .map(|n| {
                let own = names
                    .iter()
                    .enumerate()
                    .filter(|(bit, _)| n >> bit & 1 == 1);
                own.map(|(_, name)| (name.clone(), json!("x"))).collect()
            })
            .collect();
        assert_eq!(ways(&items, &names).len(), MOST_WAYS);
    }
}
