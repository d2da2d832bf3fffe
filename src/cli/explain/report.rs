//! The printed form of an explanation.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::writer::FieldWriter;

/// The explanation of an object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explanation {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    pub(super) releases: Vec<Declaration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_writer: Option<FieldWriter>,
    pub(super) if_changed: Vec<Consequence>,
}

/// What one revision of a release declares.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Declaration {
    pub(super) release: String,
    pub(super) namespace: String,
    pub(super) chart: String,
    pub(super) revision: u32,
    pub(super) phase: String,
    /// The template, and the line in the manifest: of the field, or of the start of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u32>,
    /// What is declared: an object, a field's value, or nothing.
    pub(super) holds: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) declared: Option<Value>,
}

/// The webhook's answer to a hypothetical change.
#[derive(Debug, Serialize)]
pub(super) struct Consequence {
    pub(super) change: &'static str,
    pub(super) verdict: &'static str,
    pub(super) reason: &'static str,
}

// Writing to a string cannot fail.
pub(super) fn table(explanation: &Explanation) -> String {
    let Explanation {
        api_version,
        kind,
        namespace,
        name,
        ..
    } = explanation;
    let place = match namespace.as_str() {
        "" => String::new(),
        namespace => format!(" in namespace {namespace:?}"),
    };
    let mut text = format!("{kind} {name:?}{place} ({api_version})\n");
    let mut row = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label:<12}{value}");
    };
    if let Some(field) = &explanation.field {
        row("field", field);
    }
    if explanation.releases.is_empty() {
        row("declared", "by no release");
    }
    for declaration in &explanation.releases {
        let Declaration {
            release,
            namespace,
            chart,
            revision,
            phase,
            ..
        } = declaration;
        let words = format!(
            "{release:?} in namespace {namespace:?}, revision {revision} ({chart}, {phase})"
        );
        row("release", &words);
        let template = declaration.template.as_deref().unwrap_or("the manifest");
        if let Some(number) = declaration.line {
            row(
                "template",
                &format!("{template}, line {number} of the manifest"),
            );
        }
        match &declaration.declared {
            Some(value) => row("declared", &value.to_string()),
            None => row("declared", declaration.holds),
        }
    }
    if explanation.field.is_some() {
        let live = explanation.live.as_ref();
        row("live", &live.map_or("nothing".to_owned(), Value::to_string));
        let writer = explanation.last_writer.as_ref();
        row(
            "written by",
            &writer.map_or("no one (default value)".to_owned(), written_by),
        );
    }
    for Consequence {
        change,
        verdict,
        reason,
    } in &explanation.if_changed
    {
        row("if", &format!("{change}: {verdict} ({reason})"));
    }
    text
}

fn written_by(writer: &FieldWriter) -> String {
    let FieldWriter {
        manager,
        operation,
        time,
    } = writer;
    match time {
        Some(time) => format!("{manager:?} ({operation}) at {time}"),
        None => format!("{manager:?} ({operation})"),
    }
}
