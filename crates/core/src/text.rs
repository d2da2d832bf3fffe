//! Text for people: messages, lists and times, with a bound on foreign text.

pub mod suggest;

use std::{borrow::Cow, fmt::Display};

use jiff::Timestamp;

/// Marks where a text was cut.
const MARK: &str = "…";

/// Cuts a text to at most `bytes`, between characters, and marks the cut.
pub fn cut(text: &mut String, bytes: usize) {
    if text.len() <= bytes {
        return;
    }
    let mut end = bytes.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(MARK);
}

/// The first `chars` characters, with a mark if there are more.
pub fn shortened(text: &str, chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}{MARK}", text.get(..end).unwrap_or_default())),
    }
}

/// A list of which only the first `most` items are shown: `a, b and 3 more`.
pub fn list<T: Display>(items: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut items = items.into_iter();
    let shown: Vec<String> = items
        .by_ref()
        .take(most)
        .map(|item| item.to_string())
        .collect();
    let shown = shown.join(", ");
    match items.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A count with its noun: `1 request`, `2 requests`.
pub fn counted(count: impl TryInto<usize>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(usize::MAX);
    format!("{count} {noun}{}", plural(count))
}

/// The ending of a noun after a count: none after one.
pub fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// A time to the minute.
pub fn minute(at: Timestamp) -> impl Display {
    at.strftime("%Y-%m-%dT%H:%MZ")
}

/// A time to the second.
pub fn second(at: Timestamp) -> impl Display {
    at.strftime("%Y-%m-%dT%H:%M:%SZ")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::short("abc", 3, "abc")]
    #[case::long("abcdef", 5, "ab…")]
    #[case::between_characters("aäöü", 6, "aä…")]
    #[case::no_room("abc", 1, "…")]
    fn a_cut_text_says_so(#[case] text: &str, #[case] bytes: usize, #[case] expected: &str) {
        let mut text = text.to_owned();
        cut(&mut text, bytes);
        assert_eq!(text, expected);
    }

    #[rstest]
    #[case::short("äöü", 3, "äöü")]
    #[case::long("äöüß", 3, "äöü…")]
    fn characters_are_counted(#[case] text: &str, #[case] chars: usize, #[case] expected: &str) {
        assert_eq!(shortened(text, chars), expected);
    }

    #[rstest]
    #[case::none(&[], "")]
    #[case::all(&["a", "b"], "a, b")]
    #[case::some(&["a", "b", "c", "d"], "a, b and 2 more")]
    fn a_list_counts_what_it_leaves_out(#[case] items: &[&str], #[case] expected: &str) {
        assert_eq!(list(items, 2), expected);
    }

    #[rstest]
    #[case::none(0, "0 requests")]
    #[case::one(1, "1 request")]
    #[case::some(2, "2 requests")]
    fn a_noun_agrees_with_its_count(#[case] count: u64, #[case] expected: &str) {
        assert_eq!(counted(count, "request"), expected);
    }

    #[test]
    fn times_are_for_people() {
        let at: Timestamp = "2026-11-21T03:04:05.678Z".parse().unwrap();
        assert_eq!(minute(at).to_string(), "2026-11-21T03:04Z");
        assert_eq!(second(at).to_string(), "2026-11-21T03:04:05Z");
    }
}
