//! A script for `sh`.

use crate::cli::scan::visible::one_line;

/// A script of comments and commands.
#[derive(Debug, Default)]
pub(super) struct Shell(String);

impl Shell {
    /// A comment, which is one line whatever is in it.
    pub(super) fn comment(&mut self, text: &str) {
        self.0.push_str("# ");
        self.0.push_str(one_line(text).trim_end());
        self.0.push('\n');
    }

    pub(super) fn command(&mut self, command: &str) {
        self.0.push_str(command);
        self.0.push('\n');
    }

    pub(super) fn blank(&mut self) {
        self.0.push('\n');
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

/// `word` as one word to the shell. Names of Kubernetes are words as they are.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::name("system:web-1.a/b", "system:web-1.a/b")]
    #[case::nothing("", "''")]
    #[case::blank("a b", "'a b'")]
    #[case::command("$(id)`id`;id", "'$(id)`id`;id'")]
    #[case::quote("it's", "'it'\\''s'")]
    #[case::tilde("~", "'~'")]
    fn a_word_is_one_word(#[case] word: &str, #[case] expected: &str) {
        assert_eq!(quoted(word), expected);
    }

    #[test]
    fn a_comment_is_one_line() {
        let mut script = Shell::default();
        script.comment("a\nrm -rf b\r\u{2028}c ");
        assert_eq!(script.text(), "# a\\nrm -rf b\\r\\u2028c\n");
    }
}
