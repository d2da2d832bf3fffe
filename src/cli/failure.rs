//! The one line that says why a command failed.

use std::io::{self, Write};

/// Writes `error: …` to stderr, as one line whatever is in the message.
pub(super) fn report(message: &str) {
    let mut line = String::from("error: ");
    line.push_str(&on_one_line(message));
    line.push('\n');
    // An error of stderr cannot be reported anywhere.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// The error of clap, without usage, tips and exit code 2.
pub(super) fn of_clap(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let said = first.strip_prefix("error: ").unwrap_or(first);
    format!("{}; see helm-guard --help", said.trim_end_matches('.'))
}

fn on_one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_several_lines_becomes_one() {
        assert_eq!(on_one_line("a\n  b\r\n\tc"), "a b c");
    }
}
