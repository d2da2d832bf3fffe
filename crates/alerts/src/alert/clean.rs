//! Text of other people, without what a terminal or a chat would interpret, and within a length.

use helm_guard_core::api::reported::ReportedField;
use serde_json::Value;

/// Fields of a change, a line each.
pub(super) fn fields(fields: &[ReportedField]) -> String {
    let value = |value: &Option<Value>| match value {
        Some(value) => one_line(&value.to_string()),
        None => "nothing".to_owned(),
    };
    let lines = fields.iter().map(|field| {
        format!(
            "{}: declared {}, live {}, requested {}",
            one_line(&field.path),
            value(&field.declared),
            value(&field.live),
            value(&field.requested)
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The same without control characters. Its size has a bound already.
pub(super) fn clean_field(field: &ReportedField) -> ReportedField {
    let value = |value: &Option<Value>| value.as_ref().map(clean_value);
    ReportedField {
        path: one_line(&field.path),
        declared: value(&field.declared),
        live: value(&field.live),
        requested: value(&field.requested),
        described: field.described.clone(),
    }
}

fn clean_value(value: &Value) -> Value {
    match value {
        Value::String(text) => one_line(text).into(),
        Value::Array(items) => items.iter().map(clean_value).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (one_line(name), clean_value(value)))
            .collect(),
        other => other.clone(),
    }
}

/// One line, without characters that a terminal or a chat would interpret, cut to a maximum length.
pub(super) fn clean(text: &str, chars: usize) -> String {
    cut(text.chars().map(printable), chars)
}

/// The same, with line breaks.
pub(super) fn clean_lines(text: &str, chars: usize) -> String {
    let keep = |c| if c == '\n' { c } else { printable(c) };
    cut(text.chars().map(keep), chars)
}

fn one_line(text: &str) -> String {
    text.chars().map(printable).collect()
}

fn cut(text: impl Iterator<Item = char>, chars: usize) -> String {
    let mut cut: String = text.take(chars + 1).collect();
    if let Some((last, _)) = cut.char_indices().nth(chars.saturating_sub(1))
        && cut.chars().nth(chars).is_some()
    {
        cut.truncate(last);
        cut.push('\u{2026}');
    }
    cut
}

/// Rejects control characters, and those that change the direction of text, which make one name look like
/// another.
fn printable(c: char) -> char {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let separates = matches!(c, '\u{2028}' | '\u{2029}');
    if c.is_control() || turns || separates {
        ' '
    } else {
        c
    }
}
