//! The message of a denial: why a request was denied, and what to do instead.
//!
//! kubectl prints `Error from server (Forbidden): admission webhook "…" denied the request: ` in front of it.

use std::fmt::Write as _;

use helm_guard_core::{guard::Reason, policy::EmergencyHint, text::cut};

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
    match answer.emergency_hint {
        EmergencyHint::None => {}
        EmergencyHint::BreakGlass if answer.refusal.is_some() => {
            let scope = match &*answer.decided.request.namespace {
                "" => "-A".to_owned(),
                namespace => format!("-n {namespace}"),
            };
            let _ = write!(
                text,
                "\nIn an emergency: helm-guard break-glass open {scope} --reason <reason>"
            );
        }
        EmergencyHint::BreakGlass => {
            text.push_str("\nIn an emergency: make the change as a break-glass identity");
        }
        EmergencyHint::Runbook(url) => {
            let _ = write!(text, "\nIn an emergency: {url}");
        }
    }
    cut(&mut text, MESSAGE_BYTES);
    text
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
