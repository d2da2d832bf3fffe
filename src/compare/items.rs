//! How the items of a keyed list find their counterparts in another version of the list.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{open::Fields, path::Step, schema::MergeKey};

/// An item of a keyed list with the values of its merge keys.
#[derive(Debug)]
pub struct Keyed<'a> {
    key: Vec<Cow<'a, str>>,
    /// The item.
    pub item: &'a RawValue,
}

impl Keyed<'_> {
    /// Both stand for the same item.
    pub fn matches(&self, other: &Keyed<'_>) -> bool {
        self.key == other.key
    }

    /// The step of a path that names this item.
    pub fn step(&self, keys: &[MergeKey]) -> Step {
        let pairs = keys
            .iter()
            .zip(&self.key)
            .filter(|(_, value)| !value.is_empty());
        Step::Item(
            pairs
                .map(|(key, value)| (key.field.to_string(), value.to_string()))
                .collect(),
        )
    }
}

/// The items with their keys; `None` when an item has no key at all, so that the list can only be
/// compared as a whole.
pub fn keyed<'a>(items: &[&'a RawValue], keys: &'a [MergeKey]) -> Option<Vec<Keyed<'a>>> {
    items
        .iter()
        .map(|item| {
            let fields = Fields::of(item)?;
            let mut found = false;
            let key = keys
                .iter()
                .map(|key| match fields.get(&key.field) {
                    Some(value) => {
                        found = true;
                        text(value.get())
                    }
                    // The API server fills the default in before it merges.
                    None => key.default.as_deref().map_or(Cow::Borrowed(""), text),
                })
                .collect();
            found.then_some(Keyed { key, item })
        })
        .collect()
}

/// The items of `list` that `wanted` stands for: more than one where a list repeats a key, as
/// environment variables may.
pub fn counterparts<'a>(list: &[Keyed<'a>], wanted: &Keyed<'_>) -> Vec<&'a RawValue> {
    list.iter()
        .filter(|item| item.matches(wanted))
        .map(|item| item.item)
        .collect()
}

/// A key's value without quotes: what a person reads, and equal however it was escaped.
fn text(json: &str) -> Cow<'_, str> {
    match json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        Some(_) => serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned),
        None => Cow::Borrowed(json),
    }
}
