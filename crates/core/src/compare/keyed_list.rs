//! How items of a keyed list match those in another version of the list.

use std::{borrow::Cow, cmp::Ordering};

use super::{
    json::Json,
    lazy::{member, unquoted},
    path::Step,
    schema::MergeKey,
};

/// An item of a keyed list with the values of its merge keys.
#[derive(Debug)]
pub struct Keyed<'a> {
    key: Vec<Cow<'a, str>>,
    /// The whole item, with its merge keys.
    pub item: Json<'a>,
}

impl<'a> Keyed<'a> {
    /// An item with this name, for lookups in a list with that single merge key.
    pub fn named<'n>(&self, name: &'n str) -> Keyed<'n>
    where
        'a: 'n,
    {
        Keyed {
            key: vec![Cow::Borrowed(name)],
            item: self.item,
        }
    }

    /// The path step that names this item.
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

/// A keyed list: its items in order, with an index of their keys.
#[derive(Debug, Default)]
pub struct KeyedList<'a> {
    items: Vec<Keyed<'a>>,
    /// The positions of the items, sorted by key, then by position.
    by_key: Vec<usize>,
}

impl<'a> KeyedList<'a> {
    /// The items with their keys; `None` when an item has no key at all, so that the list can only
    /// be compared as a whole.
    pub fn of(items: &[Json<'a>], keys: &'a [MergeKey]) -> Option<Self> {
        let items = items
            .iter()
            .map(|item| keyed(*item, keys))
            .collect::<Option<Vec<_>>>()?;
        let mut by_key: Vec<usize> = (0..items.len()).collect();
        let key = |at: &usize| items.get(*at).map(|item| &item.key);
        by_key.sort_by(|a, b| key(a).cmp(&key(b)));
        Some(Self { items, by_key })
    }

    /// All items, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Keyed<'a>> {
        self.items.iter()
    }

    /// One item for each key, in order.
    pub fn distinct(&self) -> impl Iterator<Item = &Keyed<'a>> {
        let is_first = |(at, item): &(usize, &Keyed<'a>)| self.positions(item).first() == Some(at);
        self.items
            .iter()
            .enumerate()
            .filter(is_first)
            .map(|(_, item)| item)
    }

    /// The items with the key of `wanted`, in order. There are several if a list repeats a key, as
    /// environment variables may.
    pub(crate) fn counterparts(&self, wanted: &Keyed<'_>) -> Vec<Json<'a>> {
        let positions = self.positions(wanted).iter();
        positions
            .filter_map(|at| self.items.get(*at))
            .map(|item| item.item)
            .collect()
    }

    /// Whether there is an item with the key of `wanted`.
    pub fn holds(&self, wanted: &Keyed<'_>) -> bool {
        !self.positions(wanted).is_empty()
    }

    /// The position of the first item with the key of `wanted`.
    pub fn position(&self, wanted: &Keyed<'_>) -> Option<usize> {
        self.positions(wanted).first().copied()
    }

    fn positions(&self, wanted: &Keyed<'_>) -> &[usize] {
        let order = |at: &usize| self.items.get(*at).map(|item| item.key.cmp(&wanted.key));
        let start = self
            .by_key
            .partition_point(|at| order(at) == Some(Ordering::Less));
        let rest = self.by_key.get(start..).unwrap_or_default();
        let count = rest.partition_point(|at| order(at) == Some(Ordering::Equal));
        rest.get(..count).unwrap_or_default()
    }
}

fn keyed<'a>(item: Json<'a>, keys: &'a [MergeKey]) -> Option<Keyed<'a>> {
    let mut found = false;
    let key = keys
        .iter()
        .map(|key| match member(item, &key.field) {
            Some(value) => {
                found = true;
                unquoted(value.text())
            }
            // The API server fills in the default before it merges.
            None => key.default.as_deref().map_or(Cow::Borrowed(""), unquoted),
        })
        .collect();
    found.then_some(Keyed { key, item })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::json::Json;

    fn merge_key(field: &str, default: Option<&str>) -> MergeKey {
        MergeKey {
            field: field.into(),
            default: default.map(Into::into),
        }
    }

    #[test]
    fn a_key_is_the_same_with_any_escapes() {
        let keys = [merge_key("name", None)];
        let (plain, escaped, other) = (
            Json::of(r#"{"name":"a/b"}"#),
            Json::of(r#"{"name":"a\u002fb"}"#),
            Json::of(r#"{"name":"a"}"#),
        );
        let list = KeyedList::of(&[other, plain, escaped], &keys).unwrap();
        let items: Vec<_> = list.iter().collect();
        assert_eq!(items[1].step(&keys), items[2].step(&keys));
        assert_ne!(items[0].step(&keys), items[1].step(&keys));
        let found = list.counterparts(items[2]).into_iter().map(Json::text);
        let texts: Vec<_> = found.collect();
        assert_eq!(texts, [r#"{"name":"a/b"}"#, r#"{"name":"a\u002fb"}"#]);
        let distinct: Vec<_> = list.distinct().map(|item| item.item.text()).collect();
        assert_eq!(distinct, [r#"{"name":"a"}"#, r#"{"name":"a/b"}"#]);
    }

    #[test]
    fn an_omitted_key_has_its_default_and_is_unnamed_without_one() {
        let keys = [
            merge_key("port", None),
            merge_key("protocol", Some("\"TCP\"")),
            merge_key("name", None),
        ];
        let (short, long, udp) = (
            Json::of(r#"{"port":80}"#),
            Json::of(r#"{"port":80,"protocol":"TCP"}"#),
            Json::of(r#"{"port":80,"protocol":"UDP"}"#),
        );
        let list = KeyedList::of(&[short], &keys).unwrap();
        let others = KeyedList::of(&[long, udp], &keys).unwrap();
        let held: Vec<_> = others.iter().map(|item| list.holds(item)).collect();
        assert_eq!(held, [true, false]);
        let named = [("port", "80"), ("protocol", "TCP")];
        let steps: Vec<_> = list.iter().map(|item| item.step(&keys)).collect();
        assert_eq!(
            steps,
            [Step::Item(
                named.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
            )]
        );
    }

    #[test]
    fn a_list_with_an_item_that_has_no_key_is_not_keyed() {
        let keys = [
            merge_key("port", None),
            merge_key("protocol", Some("\"TCP\"")),
        ];
        let (named, nameless, text) = (
            Json::of(r#"{"port":80}"#),
            Json::of(r#"{"targetPort":80}"#),
            Json::of(r#""80""#),
        );
        assert!(KeyedList::of(&[named, nameless], &keys).is_none());
        assert!(KeyedList::of(&[named, text], &keys).is_none());
        let empty = KeyedList::of(&[], &keys).unwrap();
        assert_eq!(empty.iter().count(), 0);
    }
}
