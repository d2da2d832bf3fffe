//! The message of a denial: why a request was denied, and what to do instead.
//!
//! kubectl prints `Error from server (Forbidden): admission webhook "…" denied the request: ` in front of it.

use std::fmt::Write as _;

use helm_guard_core::{
    guard::Reason,
    policy::{EmergencyAccess, EmergencyHint},
    text::cut,
};

use super::{contents::AnswerContents, violation};

/// The longest message, in bytes. The API server sets no limit of its own, but terminals and CI
/// logs are read by people.
pub(super) const MESSAGE_BYTES: usize = 6 * 1024;

/// The message of a denial, in several lines.
///
/// It starts with a line break, so that the object starts a line of its own below what kubectl
/// prints in front.
pub(super) fn denial(answer: &AnswerContents<'_>) -> String {
    let mut text = String::new();
    for line in violation::lines(answer) {
        text.push('\n');
        text.push_str(&line);
    }
    text.push_str(&hook(answer));
    let who = &answer.decided.request.user_info.username;
    if let Some(refusal) = answer.refusal {
        let _ = write!(text, "\nNot a break-glass change by {who}: {refusal}");
    }
    if let Some(Err(error)) = answer.emergency.map(|emergency| &emergency.kept) {
        let _ = write!(
            text,
            "\nThe break-glass change by {who} could not be recorded, and the policy requires a \
             record: {error}"
        );
    }
    if let Some(hint) = emergency(answer) {
        let _ = write!(text, "\nIn an emergency: {hint}");
    }
    cut(&mut text, MESSAGE_BYTES);
    text
}

/// What to do in an emergency: the runbook, which may know better, and the command.
fn emergency(answer: &AnswerContents<'_>) -> Option<String> {
    let EmergencyHint { runbook, access } = answer.emergency_hint;
    let command = match access {
        EmergencyAccess::None => None,
        EmergencyAccess::Identity if runbook.is_some() => None,
        EmergencyAccess::Identity => Some("make the change as a break-glass identity".to_owned()),
        EmergencyAccess::Token => {
            let scope = match &*answer.decided.request.namespace {
                "" => "-A".to_owned(),
                namespace => format!("-n {namespace}"),
            };
            Some(format!(
                "helm-guard break-glass open {scope} --reason <reason>"
            ))
        }
    };
    match (runbook, command) {
        (Some(url), Some(command)) => Some(format!("{url}, or {command}")),
        (Some(url), None) => Some(url.to_owned()),
        (None, command) => command,
    }
}

/// What the account of a hook would need, if a ServiceAccount violates a pending release.
fn hook(answer: &AnswerContents<'_>) -> String {
    let verdict = &answer.decided.verdict;
    let is_object = matches!(
        verdict.reason,
        Reason::FieldsChanged | Reason::ObjectDeleted | Reason::UndeclaredChanged
    );
    let account = verdict
        .findings
        .iter()
        .flat_map(|found| &found.involved)
        .next();
    match account {
        Some(account) if is_object => format!(
            "\nIf a hook of the chart did this: it passes where the hook's Job or Pod names its \
             serviceAccountName; another account needs an exemption (spec.exemptions of the policy, \
             subjects.serviceAccounts: [{account}])"
        ),
        _ => String::new(),
    }
}
