//! Warnings: what kubectl prints after `Warning: `, for allowed requests.

use helm_guard_core::{
    guard::{Decision, Reason},
    helm::record::ApplyMethod,
    text::minute,
};

use super::{
    contents::AnswerContents,
    phrases::{called, changing_hands},
    violation,
};
use crate::record::changes::PersistError;

/// The API server truncates each warning to 256 characters if all of them together exceed 4096
/// (`k8s.io/apiserver/pkg/endpoints/filters/warning.go`), so both limits are respected here.
const WARNING_CHARS: usize = 256;
const WARNINGS_CHARS: usize = 4096;

/// The first line in mode Warn: what follows reads like a denial.
const WOULD_BE_DENIED: &str = "allowed in mode Warn; it would be denied in mode Deny:";

/// The warnings of a decision, if any.
pub(super) fn warnings(answer: &AnswerContents<'_>) -> Vec<String> {
    let lines = match answer.decided.decision {
        Decision::Allow if answer.decided.verdict.reason == Reason::OwnershipTaken => {
            changing_hands(&answer.decided).collect()
        }
        Decision::Allow | Decision::Deny | Decision::FailClosed | Decision::Audit => Vec::new(),
        Decision::Indeterminate => vec![indeterminate(answer)],
        Decision::Warn => {
            let mut lines = vec![WOULD_BE_DENIED.to_owned()];
            lines.extend(violation::lines(answer));
            lines
        }
        Decision::BreakGlass => {
            let mut lines = vec![break_glass(answer)];
            lines.extend(conflict(answer));
            lines.extend(violation::lines(answer));
            lines
        }
    };
    let mut left = WARNINGS_CHARS;
    lines
        .iter()
        .map(|line| warning(line))
        .take_while(|line| {
            let room = left.checked_sub(line.chars().count());
            left = room.unwrap_or(0);
            room.is_some()
        })
        .collect()
}

fn break_glass(answer: &AnswerContents<'_>) -> String {
    let who = &answer.decided.request.user_info.username;
    let Some(emergency) = answer.emergency else {
        return format!(
            "break-glass change by {who} would be recorded; reconcile it with the chart"
        );
    };
    let record = &emergency.record;
    let ticket = record.ticket.as_ref();
    let ticket = ticket
        .map(|ticket| format!(" ({ticket})"))
        .unwrap_or_default();
    let by = minute(record.reconcile_by.0);
    let (recorded, why_not) = match &emergency.kept {
        Ok(kept) => (format!("as {}", kept.name()), String::new()),
        Err(PersistError::NotInstalled) => ("in the audit log".to_owned(), String::new()),
        Err(error) => ("only in the audit log".to_owned(), format!(" ({error})")),
    };
    format!(
        "break-glass change by {who} recorded {recorded}{ticket}; reconcile it with the chart by \
         {by}{why_not}"
    )
}

/// Server-side apply does not take a field from another manager unless it is forced to, so `helm
/// upgrade` and `helm rollback` stop with a conflict. Only for the first such release: there is rarely a
/// second.
fn conflict(answer: &AnswerContents<'_>) -> Option<String> {
    let mut findings = answer.decided.verdict.findings.iter();
    let finding = findings.find(|finding| {
        finding.apply_method == ApplyMethod::ServerSide && !finding.changes.is_empty()
    })?;
    Some(format!(
        "Helm applies release {} server-side: an upgrade or rollback to another value will stop with \
         a conflict; --force-conflicts takes the field back",
        finding.release.name
    ))
}

fn indeterminate(answer: &AnswerContents<'_>) -> String {
    let (object, why) = doubt(answer);
    let reason = answer.decided.verdict.reason;
    format!("{object} is allowed without evaluation: {why} ({reason})")
}

/// The error for a namespace that fails closed: the API server quotes it in its denial.
pub(super) fn undecided(answer: &AnswerContents<'_>) -> String {
    let (object, why) = doubt(answer);
    let reason = answer.decided.verdict.reason;
    let namespace = &answer.decided.request.namespace;
    let text = format!(
        "{object} could not be evaluated: {why} ({reason}); namespace {namespace} fails closed"
    );
    text.chars().take(WARNING_CHARS).collect()
}

/// The object, and why the verdict is indeterminate.
fn doubt(answer: &AnswerContents<'_>) -> (String, &'static str) {
    let why = match answer.decided.verdict.reason {
        Reason::VersionDiffers => "the release declares it in another API version",
        Reason::RecordUnreadable => "the release record that declares it cannot be read",
        Reason::ObjectUnreadable => "the object in the request cannot be read",
        Reason::SchemaUnavailable => "the schema of its kind cannot be read",
        Reason::ReadThroughFailed => "the release's records could not be read again",
        Reason::OwnerUnknown => "the owner that a new owner reference names could not be read",
        Reason::DeadlineExceeded => "the evaluation took too long",
        Reason::IndexIncomplete => "not all release records have been read yet",
        _ => "it is unknown whether a release declares it",
    };
    let object = answer
        .decided
        .object
        .map_or_else(|| "the request".to_owned(), called);
    (object, why)
}

/// One warning in the form that the API server accepts: no control characters, not too long.
fn warning(line: &str) -> String {
    let mut text = String::from("helm-guard: ");
    text.extend(
        line.trim_start()
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c }),
    );
    if text.chars().count() > WARNING_CHARS {
        text = text.chars().take(WARNING_CHARS - 1).collect();
        text.push('…');
    }
    text
}
