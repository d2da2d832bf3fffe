//! Whether the values of two records are the same after Go has read and rewritten them: numbers are
//! 64-bit floats.
//!
//! Invariant: however large they are, this takes no more memory than a tree of [`TREE_BYTES`] of text.
//! Helm writes the keys of an object sorted and without spaces, so two texts from Helm differ in
//! numbers alone, and need no tree.

use serde_json::Value;

/// The most bytes of JSON that are parsed into a tree, which may take fifty times as much memory.
const TREE_BYTES: usize = 1 << 20;

/// Whether two JSON texts have the same value.
pub(super) fn same(old: &str, new: &str) -> bool {
    let read = |text| serde_json::from_str::<Value>(text).ok();
    old == new
        || differ_in_numbers_alone(old.as_bytes(), new.as_bytes())
        || (old.len().max(new.len()) <= TREE_BYTES
            && read(old)
                .zip(read(new))
                .is_some_and(|(old, new)| same_values(&old, &new)))
}

fn same_values(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Number(old), Value::Number(new)) => old == new || old.as_f64() == new.as_f64(),
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same_values(old, new))
        }
        (Value::Object(old), Value::Object(new)) => {
            old.len() == new.len()
                && old
                    .iter()
                    .all(|(key, old)| new.get(key).is_some_and(|new| same_values(old, new)))
        }
        _ => old == new,
    }
}

/// Whether two texts are the same except for the notation of equal numbers.
fn differ_in_numbers_alone(mut old: &[u8], mut new: &[u8]) -> bool {
    let (mut is_string, mut is_escaped) = (false, false);
    loop {
        if !is_string {
            let (was, rest) = number(old);
            let (is, other_rest) = number(new);
            if was != is && (was.is_none() || was.and_then(float) != is.and_then(float)) {
                return false;
            }
            (old, new) = (rest, other_rest);
        }
        let (was, is) = match (old.split_first(), new.split_first()) {
            (None, None) => return true,
            (Some((was, rest)), Some((is, other_rest))) => {
                (old, new) = (rest, other_rest);
                (*was, *is)
            }
            _ => return false,
        };
        if was != is {
            return false;
        }
        match was {
            b'"' if !is_escaped => is_string = !is_string,
            b'\\' if !is_escaped => {
                is_escaped = true;
                continue;
            }
            _ => {}
        }
        is_escaped = false;
    }
}

/// The number at the start of a text, if there is one, and what follows.
fn number(text: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if !text
        .first()
        .is_some_and(|first| first.is_ascii_digit() || *first == b'-')
    {
        return (None, text);
    }
    let end = text
        .iter()
        .position(|byte| !is_part(byte))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (Some(number), rest)
}

/// `None` if it is not a number, which equals nothing. The readers of records have ruled that out.
fn float(number: &[u8]) -> Option<f64> {
    str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::as_they_are(r#"{"a":[1,"1"]}"#, r#"{"a":[1,"1"]}"#, true)]
    #[case::a_number_that_go_wrote_again(
        r#"{"a":9007199254740993}"#,
        r#"{"a":9007199254740992}"#,
        true
    )]
    #[case::a_number_in_other_words("[1e3,2]", "[1000,2]", true)]
    #[case::another_number("[1,2]", "[1,3]", false)]
    #[case::a_number_less("[1,2]", "[1]", false)]
    #[case::digits_in_a_text(r#"["9007199254740993"]"#, r#"["9007199254740992"]"#, false)]
    #[case::after_an_escaped_quote(r#"["\"1e3"]"#, r#"["\"1000"]"#, false)]
    #[case::after_an_escaped_backslash(r#"["\\",1e3]"#, r#"["\\",1000]"#, true)]
    #[case::another_order(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, true)]
    #[case::another_order_and_notation(r#"{"a":1e3,"b":2}"#, r#"{"b":2,"a":1000}"#, true)]
    #[case::another_order_and_number(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":3}"#, false)]
    #[case::another_order_around_a_list(
        r#"{"a":[1e3],"b":{"c":1e3}}"#,
        r#"{"b":{"c":1000},"a":[1000]}"#,
        true
    )]
    #[case::another_escape(r#"["\u003c"]"#, r#"["<"]"#, true)]
    #[case::a_word_for_a_number("[1]", "[true]", false)]
    #[case::nothing("{}", "{}", true)]
    fn values_are_the_same_as_go_reads_them(
        #[case] old: &str,
        #[case] new: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(same(old, new), expected);
        assert_eq!(same(new, old), expected);
    }

    /// As text: `same` would still find it in a tree, as long as the texts are short.
    #[rstest]
    #[case::after_an_escaped_backslash(r#"["\\",1e3]"#, r#"["\\",1000]"#)]
    #[case::after_an_escaped_quote(r#"["\"",1e3]"#, r#"["\"",1000]"#)]
    #[case::below_zero("[-1e3]", "[-1000]")]
    fn numbers_are_compared_without_a_tree(#[case] old: &str, #[case] new: &str) {
        assert!(differ_in_numbers_alone(old.as_bytes(), new.as_bytes()));
    }

    #[test]
    fn values_of_any_size_are_compared() {
        let values = |number: &str, text: &str| {
            let zeros = "0,".repeat(TREE_BYTES);
            format!(r#"{{"a":[{zeros}{number}],"b":{}}}"#, json!(text))
        };
        let old = values("9007199254740993", "x");
        assert!(same(&old, &values("9007199254740992", "x")));
        assert!(!same(&old, &values("9007199254740995", "x")));
        assert!(!same(&old, &values("9007199254740993", "y")));
    }
}
