//! What `explain` prints.

use std::fmt::Write;

use helm_guard_core::{
    api::reported::{ReportedField, ReportedObject, ReportedRelease, ReportedVerdict},
    scan::writers::FieldWriter,
    text::shortened,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{
    in_force::AppliedPolicy,
    output::{Tone, tone_of, toned},
};

/// The most fields without a difference that are listed for people; `-o json` has all of them.
const MAX_SAME: usize = 60;

/// The most characters of a value for people.
const MAX_VALUE_CHARS: usize = 120;

/// What is known about an object or a field of it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Explanation {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) object: ExplainedObject,
    /// The field, if one was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    /// The policy that the answers follow.
    pub(super) policy: AppliedPolicy,
    /// What each active revision of each release declares.
    pub(super) releases: Vec<Declaration>,
    /// Of a field: its live value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) live: Option<Value>,
    /// Of a field: who wrote it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) writer: Option<FieldWriter>,
    /// Of an object: every declared field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<ExplainedField>,
    /// What would be answered.
    pub(super) if_changed: Vec<Answer>,
}

/// The object that is explained.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedObject {
    #[serde(flatten)]
    pub(super) object: ReportedObject,
    /// Whether it is in the cluster.
    pub(super) exists: bool,
}

/// What one revision of a release declares.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Declaration {
    /// The release, with this revision.
    pub(super) release: ReportedRelease,
    /// `settled` or `pending`.
    pub(super) phase: String,
    /// The template, and the line in the manifest: of the field, or of the start of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<u32>,
    /// What it has: the object, the field, or nothing.
    pub(super) declares: Declares,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) declared: Option<Value>,
}

/// What a revision declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Declares {
    Nothing,
    Object,
    Field,
    ObjectWithoutField,
    /// The record cannot be read.
    Unknown,
}

impl Declares {
    fn describe(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Object => "the object",
            Self::Field => "the field",
            Self::ObjectWithoutField => "the object without this field",
            Self::Unknown => "unknown: the record cannot be read",
        }
    }
}

/// One declared field.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedField {
    #[serde(flatten)]
    pub(super) field: ReportedField,
    /// Whether they differ, as Kubernetes compares them.
    pub(super) differs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) writer: Option<FieldWriter>,
}

/// What the webhook would answer to a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Answer {
    /// The change, in words.
    pub(super) change: String,
    #[serde(flatten)]
    pub(super) verdict: ReportedVerdict,
    /// What is not known about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

// Writing to a string cannot fail.
pub(super) fn table(explanation: &Explanation) -> String {
    let ExplainedObject { object, exists } = &explanation.object;
    let ReportedObject {
        api_version,
        kind,
        namespace,
        name,
        ..
    } = object;
    let place = match namespace.as_str() {
        "" => String::new(),
        namespace => format!(" in namespace {namespace:?}"),
    };
    let mut text = format!("{kind} {name:?}{place} ({api_version})\n");
    let mut row = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label:<12}{value}");
    };
    if let Some(path) = &explanation.path {
        row("field", path);
    }
    if explanation.releases.is_empty() {
        row("declared", "by no release");
    }
    for declaration in &explanation.releases {
        release(&mut row, declaration);
    }
    match (explanation.path.is_some(), exists) {
        (_, false) => row("live", "missing: there is no such object"),
        (true, true) => {
            let live = explanation.live.as_ref();
            row("live", &live.map_or("nothing".to_owned(), Value::to_string));
            let writer = explanation.writer.as_ref();
            let unknown = match live {
                Some(_) => "no field manager: a default, or set by scaling",
                None => "nobody: it is not set",
            };
            row(
                "written by",
                &writer.map_or(unknown.to_owned(), describe_writer),
            );
        }
        (false, true) => {}
    }
    fields(&mut text, &explanation.fields);
    answers(&mut text, explanation);
    text
}

fn release(row: &mut impl FnMut(&str, &str), declaration: &Declaration) {
    let ReportedRelease {
        name,
        namespace,
        chart,
        revision,
        ..
    } = &declaration.release;
    let phase = &declaration.phase;
    row(
        "release",
        &format!("{name:?} in namespace {namespace:?}, revision {revision} ({chart}, {phase})"),
    );
    let template = declaration.template.as_deref().unwrap_or("the manifest");
    if let Some(number) = declaration.line {
        row(
            "template",
            &format!("{template}, line {number} of the manifest"),
        );
    }
    match &declaration.declared {
        Some(value) => row("declared", &value.to_string()),
        None => row("declared", declaration.declares.describe()),
    }
}

/// Fields that differ come first, with both values and the writer.
fn fields(text: &mut String, fields: &[ExplainedField]) {
    if fields.is_empty() {
        return;
    }
    let (differing, same): (Vec<&ExplainedField>, Vec<&ExplainedField>) =
        fields.iter().partition(|field| field.differs);
    let count = differing.len();
    let differ = if count == 1 { "differs" } else { "differ" };
    let _ = writeln!(
        text,
        "\nDeclared fields: {}, {count} {differ} from the live object",
        fields.len()
    );
    for field in &differing {
        let ExplainedField { field, writer, .. } = field;
        let [declared, live] = [&field.declared, &field.live].map(|value| shown(value.as_ref()));
        let _ = writeln!(
            text,
            "  {}\n    declared {declared}, live {live}",
            toned(Tone::Warning, &field.path)
        );
        if let Some(writer) = writer {
            let _ = writeln!(text, "    written by {}", describe_writer(writer));
        }
    }
    if !differing.is_empty() && !same.is_empty() {
        text.push_str("Same in the live object:\n");
    }
    for field in same.iter().take(MAX_SAME) {
        let _ = writeln!(
            text,
            "  {} = {}",
            field.field.path,
            shown(field.field.declared.as_ref())
        );
    }
    let hidden = same.len().saturating_sub(MAX_SAME);
    if hidden > 0 {
        let _ = writeln!(text, "  and {hidden} more: -o json lists all");
    }
}

/// A value in one line; long ones are cut.
fn shown(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(value) => shortened(&value.to_string(), MAX_VALUE_CHARS).into_owned(),
    }
}

fn answers(text: &mut String, explanation: &Explanation) {
    if explanation.if_changed.is_empty() {
        return;
    }
    let policy = &explanation.policy;
    let _ = writeln!(
        text,
        "\nMode {} ({})",
        policy.mode.as_str(),
        policy.source.describe()
    );
    for note in &policy.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    for Answer {
        change,
        verdict,
        note,
    } in &explanation.if_changed
    {
        let ReportedVerdict {
            verdict,
            reason,
            exemption,
        } = verdict;
        let by = exemption.as_ref().map(|rule| format!(" by {rule}"));
        let _ = writeln!(
            text,
            "  if {change}: {} ({reason}{})",
            toned(tone_of(verdict), verdict),
            by.unwrap_or_default()
        );
        if let Some(note) = note {
            let _ = writeln!(text, "     {note}");
        }
    }
}

fn describe_writer(writer: &FieldWriter) -> String {
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
