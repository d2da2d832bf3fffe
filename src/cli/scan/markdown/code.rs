//! Texts of the cluster in Markdown.

use std::fmt::Write;

use helm_guard_core::text::shortened;

use crate::cli::scan::visible::one_line;

/// At most `chars` characters of a text, as code in a cell of a table.
///
/// A span of backticks cannot hold a backtick of any kind safely, nor a pipe after a backslash: such a text is an HTML
/// element, in which every character that means something is a reference.
pub(super) fn code(text: &str, chars: usize) -> String {
    let shown = one_line(text);
    let shown = shortened(&shown, chars);
    if shown.is_empty() {
        return String::new();
    }
    // A span loses a blank at both ends.
    let is_plain = !shown.contains(['`', '|']) && shown.trim() == shown;
    if is_plain {
        return format!("`{shown}`");
    }
    format!(
        "<code>{}</code>",
        references(&shown, |char| !char.is_ascii_alphanumeric())
    )
}

/// A sentence of our own, in which an underscore or an asterisk is not markup.
pub(super) fn escaped(text: &str) -> String {
    references(&one_line(text), |char| {
        matches!(
            char,
            '<' | '>' | '&' | '@' | '`' | '*' | '_' | '|' | '[' | ']' | '#'
        )
    })
}

/// `text` with the chosen ASCII characters as HTML references.
fn references(text: &str, is_chosen: impl Fn(char) -> bool) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        // Writing to a string cannot fail.
        let _ = if char.is_ascii() && is_chosen(char) {
            write!(html, "&#{};", u32::from(char))
        } else {
            write!(html, "{char}")
        };
    }
    html
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("\"web:1\"", "`\"web:1\"`")]
    #[case::markup("*a* <@b> [", "`*a* <@b> [`")]
    #[case::backslash_at_the_end("a\\", "`a\\`")]
    #[case::pipe("a|b", "<code>a&#124;b</code>")]
    #[case::pipe_after_a_backslash("a\\|b", "<code>a&#92;&#124;b</code>")]
    #[case::backtick("a`b", "<code>a&#96;b</code>")]
    #[case::blanks(" a ", "<code>&#32;a&#32;</code>")]
    #[case::lines("a\nb\u{1b}", "`a\\nb\\u001b`")]
    #[case::nothing("", "")]
    #[case::cut("abcdefghijkl", "`abcdefghij…`")]
    #[case::markup_that_is_cut(
        "`<@`<@`<@`<@",
        "<code>&#96;&#60;&#64;&#96;&#60;&#64;&#96;&#60;&#64;&#96;…</code>"
    )]
    fn a_text_is_code_whatever_is_in_it(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(code(text, 10), expected);
    }

    #[test]
    fn a_sentence_is_no_markup() {
        assert_eq!(escaped("a_b @c <d>"), "a&#95;b &#64;c &#60;d&#62;");
    }
}
