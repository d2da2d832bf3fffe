//! The sentences of Kubernetes events on the object of a request.

use std::fmt::Write as _;

use helm_guard_core::{guard::Decided, text::cut};

use super::phrases::{changing_hands, numbers, values};
use crate::record::events::NOTE_BYTES;

/// The sentence of the Kubernetes event about a break-glass change.
pub(crate) fn announcement(decided: &Decided<'_>) -> String {
    let text = format!(
        "{} by {} against what Helm declares",
        decided.request.operation.as_str(),
        decided.request.user_info.username
    );
    with_findings(text, decided)
}

/// The sentence of the Kubernetes event about an autoscaler that no release declares.
pub(crate) fn undeclared_autoscaler(decided: &Decided<'_>) -> String {
    let text = format!(
        "{} scales it, through an autoscaler that no Helm release declares",
        decided.request.user_info.username
    );
    with_findings(text, decided)
}

/// The sentence of the Kubernetes event about an object that another release takes.
pub(crate) fn taken(decided: &Decided<'_>) -> String {
    let lines: Vec<String> = changing_hands(decided).collect();
    let who = &decided.request.user_info.username;
    let mut text = format!("{}, by {who}", lines.join("; "));
    cut(&mut text, NOTE_BYTES);
    text
}

/// A note with what each release declares.
fn with_findings(mut text: String, decided: &Decided<'_>) -> String {
    for finding in &decided.verdict.findings {
        let _ = write!(
            text,
            "; release {} (revision {}, chart {})",
            finding.release,
            numbers(&finding.revisions),
            finding.chart
        );
        for change in &finding.changes {
            let _ = write!(text, ", {}: {}", change.path, values(change));
        }
    }
    cut(&mut text, NOTE_BYTES);
    text
}
