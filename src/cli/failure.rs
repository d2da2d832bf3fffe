//! Why a command failed, on standard error.

use std::{ffi::OsString, io::Write};

use clap::{
    Command, CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    args::Args,
    invoked,
    output::{Tone, toned},
};

/// Writes `error: …` to stderr. A message of several lines keeps them; control characters go.
pub(super) fn report(message: &str) {
    let line = format!("{} {}\n", toned(Tone::Bad, "error:"), printable(message));
    // Nobody is left to tell when even this fails.
    let _ = anstream::stderr().lock().write_all(line.as_bytes());
}

/// An error and its causes, each once: what a message says already is not repeated.
pub(super) fn of_error(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

/// A mistake in the arguments, with what was meant, and where the right ones are described.
pub(super) fn of_clap(error: &clap::Error, arguments: &[OsString]) -> String {
    let help = format!("see {} --help", named_command(arguments));
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return format!("no subcommand given; {help}");
    }
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let meant =
        suggestion(error).map_or_else(String::new, |meant| format!(" (did you mean {meant:?}?)"));
    format!("{}{meant}; {help}", message.trim_end_matches('.'))
}

fn suggestion(error: &clap::Error) -> Option<String> {
    let kinds = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ];
    kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(meant) => Some(meant.clone()),
        ContextValue::Strings(meant) => meant.first().cloned(),
        _ => None,
    })
}

/// The subcommand that the arguments name: `helm-guard break-glass open`.
fn named_command(arguments: &[OsString]) -> String {
    let mut name = invoked::name().to_owned();
    let mut command: &Command = &Args::command();
    for argument in arguments.iter().skip(1) {
        let Some(found) = command.find_subcommand(argument) else {
            continue;
        };
        name.push(' ');
        name.push_str(found.get_name());
        command = found;
    }
    name
}

fn printable(message: &str) -> String {
    let lines = message.lines().map(|line| {
        let shown = line.trim_end().chars().filter(|char| !char.is_control());
        shown.collect::<String>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_cause_that_the_message_contains_is_not_repeated() {
        let inner: Result<(), _> = Err(io::Error::other("connection refused"));
        let middle = inner.map_err(|error| anyhow::anyhow!("failed to connect: {error}"));
        let error = middle.context("failed to list grants").unwrap_err();
        assert_eq!(
            of_error(&error),
            "failed to list grants: failed to connect: connection refused"
        );
        let repeated: Result<(), _> = Err(anyhow::anyhow!("connection refused"));
        let error = repeated
            .context("failed to connect: connection refused")
            .unwrap_err();
        assert_eq!(of_error(&error), "failed to connect: connection refused");
    }

    #[test]
    fn a_message_steers_no_terminal() {
        assert_eq!(printable("a\n  b\u{1b}[31m\r\nc\t"), "a\n  b[31m\nc");
    }

    #[rstest]
    #[case::subcommand(&["chekc"], "(did you mean \"check\"?); see helm-guard --help")]
    #[case::nested(&["break-glass", "opne"], "(did you mean \"open\"?); see helm-guard break-glass --help")]
    #[case::flag(&["explain", "--namespce", "x"], "(did you mean \"--namespace\"?); see helm-guard explain --help")]
    #[case::value(&["check", "-o", "jsn"], "(did you mean \"json\"?); see helm-guard check --help")]
    #[case::no_subcommand(&["policy"], "no subcommand given; see helm-guard policy --help")]
    fn a_mistake_names_what_was_meant_and_the_help_of_its_subcommand(
        #[case] arguments: &[&str],
        #[case] says: &str,
    ) {
        use clap::Parser;
        let arguments: Vec<OsString> = std::iter::once(&"helm-guard")
            .chain(arguments)
            .map(OsString::from)
            .collect();
        let error = Args::try_parse_from(&arguments).unwrap_err();
        let text = of_clap(&error, &arguments);
        assert!(text.ends_with(says), "{text}");
    }
}
