//! What a table is printed on.

use std::{env, fmt::Write};

use super::Format;

/// Narrower terminals get a table of this width.
const NARROWEST: usize = 40;

/// What a table is printed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Screen {
    /// The width in characters; `None` if nothing has to fit, as in a pipe.
    pub(in crate::cli) width: Option<usize>,
    /// Whether all columns are shown, and none is cut.
    pub(in crate::cli) is_wide: bool,
}

impl Screen {
    /// Standard output. An exported `COLUMNS` counts first, also in a pipe.
    pub(in crate::cli) fn of_stdout(format: Format) -> Self {
        let exported = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let of_terminal = || terminal_size::terminal_size_of(std::io::stdout());
        let width = exported.or_else(|| of_terminal().map(|(width, _)| usize::from(width.0)));
        Self {
            width: width.map(|width| width.max(NARROWEST)),
            is_wide: format == Format::Wide,
        }
    }

    /// A text in lines that fit, each after the indent, without control characters. Writing to a string cannot fail.
    pub(in crate::cli) fn wrapped(self, indent: &str, text: &str) -> String {
        let width = self.width.unwrap_or(usize::MAX);
        let mut lines = String::new();
        let mut line = String::new();
        for word in text.split_whitespace() {
            let length = indent.len() + line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && length > width {
                let _ = writeln!(lines, "{indent}{line}");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(word.chars().filter(|char| !char.is_control()));
        }
        let _ = writeln!(lines, "{indent}{line}");
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_between_words() {
        let screen = Screen {
            width: Some(16),
            is_wide: false,
        };
        let text = screen.wrapped("  ", "a release declares the autoscaler");
        assert_eq!(text, "  a release\n  declares the\n  autoscaler\n");
        let piped = Screen::default().wrapped("  ", "a release declares\u{1b} the autoscaler");
        assert_eq!(piped, "  a release declares the autoscaler\n");
    }
}
