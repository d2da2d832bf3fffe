//! Texts of the cluster as one can see them. A terminal follows control characters, and characters that turn the
//! direction of text make a reader see another text than the one that is there.

use std::fmt::Write;

/// `text` with each such character as its JSON escape, so that two texts that differ look different, and JSON stays the
/// same JSON. Those in `kept` stay.
pub(super) fn visible(text: &str, kept: &[char]) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if !is_invisible(char) || kept.contains(&char) {
            shown.push(char);
            continue;
        }
        // Writing to a string cannot fail.
        let _ = match char {
            '\n' => write!(shown, "\\n"),
            '\r' => write!(shown, "\\r"),
            '\t' => write!(shown, "\\t"),
            char => write!(shown, "\\u{:04x}", u32::from(char)),
        };
    }
    shown
}

/// The same on one line.
pub(super) fn one_line(text: &str) -> String {
    visible(text, &[])
}

/// None of these is outside of the first plane, so each has one JSON escape.
fn is_invisible(char: char) -> bool {
    let is_direction =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // Line breaks to YAML and to JavaScript, byte order marks, and code points that are not characters.
    let is_break = matches!(
        char,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    );
    char.is_control() || is_direction || is_break
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("a \"b\" ä 😀", "a \"b\" ä 😀")]
    #[case::terminal("a\u{1b}[31m\u{9b}2J", "a\\u001b[31m\\u009b2J")]
    #[case::lines("a\nb\r\tc\0", "a\\nb\\r\\tc\\u0000")]
    #[case::direction("a\u{202e}b\u{2066}", "a\\u202eb\\u2066")]
    #[case::other_breaks(
        "\u{85}\u{2028}\u{feff}\u{ffff}\u{7f}",
        "\\u0085\\u2028\\ufeff\\uffff\\u007f"
    )]
    fn what_a_reader_would_not_see_is_shown(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(one_line(text), expected);
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "\u{85}\u{2028}\u{202e}\u{7f}\u{feff}\u{1b}\n\\ \"😀";
        let json = serde_json::Value::from(text).to_string();
        let shown = one_line(&json);
        assert_ne!(shown, json);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn lines_can_be_kept() {
        assert_eq!(visible("a\n\tb\u{1b}", &['\n', '\t']), "a\n\tb\\u001b");
    }
}
