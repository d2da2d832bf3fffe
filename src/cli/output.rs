//! Output of subcommands: text on standard output, notes on standard error, tables, `-o json` and `-o yaml`.
//!
//! Colors are written always and removed where they do not belong: outside of a terminal, with `NO_COLOR`, and with
//! `TERM=dumb`.

mod table;
mod terminal;
mod tone;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

pub(super) use self::{
    table::{Cell, Column, Table},
    terminal::Screen,
    tone::{Tone, tone_of, toned},
};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

/// How a listing is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; long cells are cut to fit the terminal
    #[default]
    Table,
    /// A table with all columns, and nothing cut
    Wide,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

/// `value` in a machine-readable format; `None` for tables, which each subcommand formats itself.
pub(super) fn encode(format: Format, value: &impl Serialize) -> serde_json::Result<Option<String>> {
    let value = serde_json::to_value(value)?;
    Ok(match format {
        Format::Table | Format::Wide => None,
        Format::Json => Some(format!("{value:#}\n")),
        Format::Yaml => Some(yaml(&value)),
    })
}

/// Objects in a machine-readable format, as one list in the form of kubectl.
pub(super) fn encode_list(
    format: Format,
    objects: &[impl Serialize],
) -> serde_json::Result<Option<String>> {
    encode(
        format,
        &json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    )
}

/// `value` as a YAML document.
pub fn yaml(value: &Value) -> String {
    let mut text = String::new();
    write_yaml(&mut text, value, 0);
    text
}

/// Block style with quoted strings, so that YAML 1.1 and 1.2 parsers read the same.
fn write_yaml(text: &mut String, value: &Value, indent: usize) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (n, (key, value)) in fields.iter().enumerate() {
                // The first key follows the dash of its item.
                let pad = if n == 0 { "" } else { &pad };
                let _ = write!(text, "{pad}{}:", plain_or_quoted(key));
                write_child(text, value, indent);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (n, item) in items.iter().enumerate() {
                let pad = if n == 0 { "" } else { &pad };
                let _ = write!(text, "{pad}- ");
                write_yaml(text, item, indent + 1);
            }
        }
        scalar => {
            let _ = writeln!(text, "{scalar}");
        }
    }
}

fn write_child(text: &mut String, value: &Value, indent: usize) {
    let is_block = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        let _ = write!(text, "\n{}", "  ".repeat(indent + 1));
        write_yaml(text, value, indent + 1);
    } else {
        let _ = writeln!(text, " {value}");
    }
}

/// Plain only if it consists of letters, so that it is not a number, and is not a boolean or null in YAML 1.1.
fn plain_or_quoted(key: &str) -> String {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let is_plain = !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphabetic())
        && !WORDS.contains(&key.to_ascii_lowercase().as_str());
    if is_plain {
        key.to_owned()
    } else {
        Value::from(key).to_string()
    }
}

/// Writes to standard output. A closed pipe is not an error.
pub(super) fn print(text: &[u8]) -> anyhow::Result<()> {
    match anstream::stdout().lock().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("failed to write to standard output"))
        }
        _ => Ok(()),
    }
}

/// Prints a note to standard error, because programs read standard output.
pub(super) fn print_note(text: &str) {
    let text = match text.strip_prefix("warning:") {
        Some(rest) => format!("{}{rest}", toned(Tone::Warning, "warning:")),
        None => text.to_owned(),
    };
    // An error of stderr cannot be reported anywhere.
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use helm_guard_core::yaml::{Allowance, read};

    use super::*;

    #[test]
    fn yaml_round_trips() {
        let value = json!([
            {"a": 1, "y": {"list": [], "object": {}, "nested": [[1, [2]], {"x": null}]}},
            {"no": "yes", "1": "0644", "text": "a\n\"b\": - c", "": true},
            [], {}, "plain", null, 1.5,
        ]);
        let text = encode(Format::Yaml, &value).unwrap().unwrap();
        assert_eq!(read(&text, &Allowance::default()).unwrap(), value, "{text}");
    }
}
