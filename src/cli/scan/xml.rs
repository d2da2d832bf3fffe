//! Writes XML 1.0.

use std::fmt::Write;

/// `text` as the content of an element.
pub(super) fn content(text: &str) -> String {
    escaped(text, &['\n', '\t'])
}

/// `text` as XML. Only `kept` of its control characters stay as they are.
///
/// XML 1.0 forbids most of them, even escaped: each is shown as its JSON escape. Line breaks and tabs are escaped in an
/// attribute, because a parser would make blanks of them.
fn escaped(text: &str, kept: &[char]) -> String {
    let mut xml = String::with_capacity(text.len());
    for char in text.chars() {
        // Writing to a string cannot fail.
        let _ = match char {
            char if kept.contains(&char) => write!(xml, "{char}"),
            '&' => write!(xml, "&amp;"),
            '<' => write!(xml, "&lt;"),
            // Three characters of it would end a CDATA section that was never opened.
            '>' => write!(xml, "&gt;"),
            '"' => write!(xml, "&quot;"),
            '\'' => write!(xml, "&apos;"),
            '\t' | '\n' | '\r' | '\u{7f}'..='\u{9f}' => write!(xml, "&#{};", u32::from(char)),
            char if char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}') => {
                write!(xml, "\\u{:04x}", u32::from(char))
            }
            char => write!(xml, "{char}"),
        };
    }
    xml
}

/// The start of an element, without its end.
pub(super) fn tag(name: &str, attributes: &[(&str, &str)]) -> String {
    let mut xml = format!("<{name}");
    for (key, value) in attributes {
        let _ = write!(xml, " {key}=\"{}\"", escaped(value, &[]));
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::scan::sample::HOSTILE;

    /// The text of an attribute and of an element, after a parser has read them.
    fn read(text: &str) -> [String; 2] {
        let start = tag("a", &[("b", text)]);
        let document = format!("{start}>{}</a>", content(text));
        let document = roxmltree::Document::parse(&document).unwrap();
        let root = document.root_element();
        [root.attribute("b").unwrap(), root.text().unwrap()].map(str::to_owned)
    }

    #[test]
    fn a_parser_reads_the_same_text() {
        for text in [
            "a",
            "<a b=\"c\" d='e'>&amp;</a>",
            "]]>",
            "a\nb\tc\rd\r\n",
            "ä😀\u{85}\u{2028}",
            " a ",
        ] {
            assert_eq!(read(text), [text, text]);
        }
    }

    #[test]
    fn what_xml_forbids_is_shown() {
        let mut expected = HOSTILE.replace('\0', "\\u0000");
        expected = expected.replace('\u{1b}', "\\u001b");
        assert_eq!(read(HOSTILE), [expected.clone(), expected]);
        assert_eq!(read("\u{fffe}\u{ffff}\u{1}")[0], "\\ufffe\\uffff\\u0001");
        let large = format!("<{}", "\u{b}".repeat(100_000));
        assert_eq!(read(&large)[1].len(), 1 + 6 * 100_000);
    }
}
