//! Opens JSON one level at a time.

use std::{borrow::Cow, mem};

use super::{
    json::{Children, Json},
    json_scan::{skip_signs, string_end, value_end},
};

/// A JSON value, opened by one level.
#[derive(Debug)]
pub enum Opened<'a> {
    /// An object, its values unopened.
    Object(Fields<'a>),
    /// A list, its items unopened.
    List(Vec<Json<'a>>),
    /// Anything else, as its JSON text.
    Scalar(&'a str),
}

impl<'a> Opened<'a> {
    /// The fields of an object, and none of an absent one; `None` for any other value.
    pub(super) fn fields(opened: Option<Self>) -> Option<Fields<'a>> {
        match opened {
            None => Some(Fields::default()),
            Some(Self::Object(fields)) => Some(fields),
            Some(Self::List(_) | Self::Scalar(_)) => None,
        }
    }

    /// The items of a list, and none of an absent one; `None` for any other value.
    pub(super) fn items(opened: Option<Self>) -> Option<Vec<Json<'a>>> {
        match opened {
            None => Some(Vec::new()),
            Some(Self::List(items)) => Some(items),
            Some(Self::Object(_) | Self::Scalar(_)) => None,
        }
    }
}

/// Opens `json`. What cannot be opened is a scalar that equals only itself.
pub fn open(json: Json<'_>) -> Opened<'_> {
    open_beside(json, None)
}

/// Opens `json` next to another state of the same value: common parts are not scanned again.
pub(crate) fn open_beside<'a>(json: Json<'a>, other: Option<&Opened<'_>>) -> Opened<'a> {
    let opened = json
        .children()
        .and_then(|children| match (json.first(), other) {
            (b'[', Some(Opened::List(others))) => items(children, others).map(Opened::List),
            (b'[', _) => items(children, &[]).map(Opened::List),
            (_, Some(Opened::Object(others))) => Fields::read(children, others).map(Opened::Object),
            (_, _) => Fields::read(children, &Fields::default()).map(Opened::Object),
        });
    opened.unwrap_or(Opened::Scalar(json.text()))
}

/// Opens a value as it was before and after a request.
pub(super) fn open_both<'a>(
    old: Option<Json<'a>>,
    new: Option<Json<'a>>,
) -> (Option<Opened<'a>>, Option<Opened<'a>>) {
    let old = old.map(open);
    let new = new.map(|new| open_beside(new, old.as_ref()));
    (old, new)
}

/// The items of a list; `None` for any other value.
pub(super) fn items_of(json: Json<'_>) -> Option<Vec<Json<'_>>> {
    Opened::items(Some(open(json)))
}

fn items<'a>(mut children: Children<'a>, others: &[Json<'_>]) -> Option<Vec<Json<'a>>> {
    let mut items = Vec::with_capacity(others.len());
    while let Some(item) = children.next_beside(others.get(items.len()).copied()) {
        items.push(item.ok()?);
    }
    Some(items)
}

/// `json`, unless it is null: to Kubernetes, a null field is absent.
pub fn present(json: Option<Json<'_>>) -> Option<Json<'_>> {
    json.filter(|json| !json.is_null())
}

/// The non-null fields of an object, sorted by name. If a name is repeated, the last field counts,
/// as in Go.
#[derive(Debug, Default)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

impl<'a> Fields<'a> {
    /// The fields of `json`; `None` if it is not an object.
    pub fn of(json: Json<'a>) -> Option<Self> {
        match open(json) {
            Opened::Object(fields) => Some(fields),
            Opened::List(_) | Opened::Scalar(_) => None,
        }
    }

    /// `None` if the children are not alternating names and values.
    fn read(mut names_and_values: Children<'a>, others: &Fields<'_>) -> Option<Self> {
        let mut fields = Vec::with_capacity(16);
        while let Some(name) = names_and_values.next() {
            let name = unquoted(name.ok()?.text());
            let value = names_and_values.next_beside(others.get(&name))?.ok()?;
            fields.push((name, value));
        }
        // Go writes maps in sorted order and structs in declaration order.
        if !fields.is_sorted_by(|(a, _), (b, _)| a < b) {
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            fields.dedup_by(|later, earlier| {
                let is_repeated = later.0 == earlier.0;
                if is_repeated {
                    mem::swap(later, earlier);
                }
                is_repeated
            });
        }
        fields.retain(|(_, value)| !value.is_null());
        Some(Self(fields))
    }

    /// The fields of `json`, an object of a manifest, that have one of these sorted names. Scans only up
    /// to the last of them, because a manifest repeats no name. `None` if it is not an object.
    pub fn named(json: Json<'a>, names: &[&str]) -> Option<Self> {
        let mut names_and_values = json.children().filter(|_| json.first() == b'{')?;
        let mut fields = Vec::with_capacity(names.len());
        while fields.len() < names.len()
            && let Some(name) = names_and_values.next()
        {
            let name = unquoted(name.ok()?.text());
            let is_named = names.binary_search(&&*name).is_ok();
            if is_named && fields.len() + 1 == names.len() {
                fields.push((name, names_and_values.last_value()?.ok()?));
                break;
            }
            let value = names_and_values.next()?.ok()?;
            if is_named {
                fields.push((name, value));
            }
        }
        fields.retain(|(_, value)| !value.is_null());
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Some(Self(fields))
    }

    /// The names of the fields that differ between `self` and `other`, sorted.
    pub fn differing<'n>(&'n self, other: &'n Self) -> Vec<&'n str> {
        let is_other = |fields: &Self, name: &str, value: Json<'_>| {
            fields.get(name).map(Json::text) != Some(value.text())
        };
        let changed = self
            .iter()
            .filter(|(name, value)| is_other(other, name, *value));
        let added = other.iter().filter(|(name, _)| self.get(name).is_none());
        let mut names: Vec<_> = changed.chain(added).map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }

    /// The value of a field, unless it is absent or null.
    pub fn get(&self, name: &str) -> Option<Json<'a>> {
        let found = self
            .0
            .binary_search_by(|(field, _)| (**field).cmp(name))
            .ok()?;
        self.0.get(found).map(|(_, value)| *value)
    }

    /// All fields that are not null.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Json<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    /// Whether there is no non-null field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The value of one field of `json`, unless it is absent or null: like [`Fields::get`], for callers
/// that need only this one.
pub fn member<'a>(json: Json<'a>, name: &str) -> Option<Json<'a>> {
    let mut names_and_values = json.children().filter(|_| json.first() == b'{')?;
    let mut found = None;
    while let (Some(Ok(field)), Some(Ok(value))) =
        (names_and_values.next(), names_and_values.next())
    {
        if unquoted(field.text()) == name {
            found = Some(value);
        }
    }
    present(found)
}

/// The value at a path of plain fields, unless it is absent or null.
pub fn at<'a>(json: Json<'a>, path: &[&str]) -> Option<Json<'a>> {
    path.iter()
        .try_fold(json, |json, field| member(json, field))
}

/// The unescaped content of a JSON string; any other text unchanged.
pub fn unquoted(json: &str) -> Cow<'_, str> {
    let inner = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        Some(_) => serde_json::from_str(json).map_or(Cow::Borrowed(json), Cow::Owned),
        None => Cow::Borrowed(json),
    }
}

/// Like [`at`], for a text whose end need not be known: scans only up to the value. Uses the first field of
/// each name, because a text from an API server repeats none.
pub fn dig<'a>(text: &'a str, path: &[&str]) -> Option<&'a str> {
    let found = path
        .iter()
        .try_fold(text, |object, name| first_member(object, name))?;
    let end = value_end(found.as_bytes(), 0)?;
    found.get(..end).filter(|value| *value != "null")
}

/// The text from the value of a field on; `text` begins with the object.
fn first_member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let bytes = text.as_bytes();
    let mut at = 1;
    if bytes.first() != Some(&b'{') {
        return None;
    }
    loop {
        let start = skip_signs(bytes, at);
        let end = string_end(bytes, start).filter(|_| bytes.get(start) == Some(&b'"'))?;
        let value = skip_signs(bytes, end);
        if unquoted(text.get(start..end)?) == name {
            return text.get(value..);
        }
        at = value_end(bytes, value)?;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::compare::json::Json;

    #[test]
    fn fields_are_found_in_any_order_and_nulls_are_absent() {
        let document = Json::of(r#"{ "b":1,"a" : {"x":2}, "c":null,"d\u002fe":3 }"#);
        let fields = Fields::of(document).unwrap();
        let get = |name| fields.get(name).map(Json::text);
        assert_eq!(get("a"), Some(r#"{"x":2}"#));
        assert_eq!(get("d/e"), Some("3"));
        assert_eq!(get("c"), None);
        assert_eq!(get("z"), None);
        let names: Vec<_> = fields.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "d/e"]);
        for name in ["a", "b", "c", "d/e", "z"] {
            let found = member(document, name).map(Json::text);
            assert_eq!(found, get(name), "{name}");
        }
    }

    #[rstest]
    #[case(r#"{"a":1,"b":2,"a":3}"#, Some("3"))]
    #[case(r#"{"a":1,"\u0061":3}"#, Some("3"))]
    #[case(r#"{"a":1,"a":null}"#, None)]
    #[case(r#"{"b":0,"a":null,"a":2,"a":3}"#, Some("3"))]
    fn the_last_of_repeated_fields_counts(#[case] text: &str, #[case] expected: Option<&str>) {
        let document = Json::of(text);
        let fields = Fields::of(document).unwrap();
        assert_eq!(fields.get("a").map(Json::text), expected);
        let listed = fields.iter().find(|(name, _)| *name == "a");
        assert_eq!(listed.map(|(_, value)| value.text()), expected);
        assert_eq!(member(document, "a").map(Json::text), expected);
    }

    #[test]
    fn only_the_differing_fields_of_a_manifest_are_read() {
        let of = |text| Fields::of(Json::of(text)).unwrap();
        let old = of(r#"{"d":1,"c":{"x":1},"b":[],"a":"same"}"#);
        let new = of(r#"{"e":5,"d":2,"c":{"x":2},"a":"same"}"#);
        let names = old.differing(&new);
        assert_eq!(names, ["b", "c", "d", "e"]);
        let manifest = Json::of(r#"{"a":0,"b":null,"c":{"x":{}},"e":[1],"z":{"#);
        // Nothing after the last of them is scanned: `z` does not end.
        let Some(fields) = Fields::named(manifest, &["c", "e"]) else {
            panic!("an object")
        };
        let read: Vec<_> = fields
            .iter()
            .map(|(name, json)| (name, json.text()))
            .collect();
        assert_eq!(read, [("c", r#"{"x":{}}"#), ("e", "[1]")]);
        let last = fields.get("e").unwrap();
        assert!(matches!(open(last), Opened::List(items) if items.len() == 1));
    }

    #[test]
    fn a_list_is_not_an_object() {
        let list = Json::of("[1, [2], {}]");
        assert!(Fields::of(list).is_none());
        assert!(member(list, "1").is_none());
        let Opened::List(items) = open(list) else {
            panic!("a list")
        };
        let items: Vec<_> = items.into_iter().map(Json::text).collect();
        assert_eq!(items, ["1", "[2]", "{}"]);
    }

    #[rstest]
    #[case(&["metadata", "name"], Some(r#""web""#))]
    #[case(&["metadata", "labels"], Some(r#"{"}":"{"}"#))]
    #[case(&["metadata", "labels", "}"], Some(r#""{""#))]
    #[case(&["metadata", "a\"b"], Some("[[1],2]"))]
    #[case(&["metadata"], Some(r#"{"labels": {"}":"{"}, "uid":null,"a\"b":[[1],2],"name":"web"}"#))]
    #[case(&["metadata", "uid"], None)]
    #[case(&["metadata", "nothing"], None)]
    #[case(&["metadata", "name", "first"], None)]
    #[case(&["spec"], Some("-1.5e3"))]
    fn a_value_is_found_by_a_path_of_fields(#[case] path: &[&str], #[case] expected: Option<&str>) {
        let text = r#"{"kind":"A", "metadata": {"labels": {"}":"{"}, "uid":null,"a\"b":[[1],2],"name":"web"},"spec": -1.5e3 }"#;
        assert_eq!(dig(text, path), expected);
    }

    #[test]
    fn fields_in_reverse_order_are_found() {
        let document = Json::of(r#"{"e":5,"d":4,"c":3,"b":2,"a":1}"#);
        let fields = Fields::of(document).unwrap();
        for (name, value) in [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")] {
            assert_eq!(fields.get(name).map(Json::text), Some(value));
        }
    }

    #[test]
    fn an_object_of_nulls_is_empty() {
        for (text, empty) in [
            ("{}", true),
            (r#"{"a":null}"#, true),
            (r#"{"a":null,"b":0}"#, false),
        ] {
            let document = Json::of(text);
            let fields = Fields::of(document).unwrap();
            assert_eq!(fields.is_empty(), empty, "{text}");
        }
    }

    #[test]
    fn a_null_is_not_present() {
        assert!(present(None).is_none());
        assert!(present(Some(Json::of("null"))).is_none());
        assert!(present(Some(Json::of("0"))).is_some());
    }
}
