//! Phrases that several messages share: an object, a release, the values of a field.

use helm_guard_core::{
    guard::{Decided, FieldChange, Finding, ObjectRef},
    text::plural,
};

pub(super) fn called(object: &ObjectRef<'_>) -> String {
    format!("{} {:?}", object.kind, object.name)
}

/// `Helm release shop/myapp (revision 3, chart myapp-1.2.0)`
pub(super) fn release(finding: &Finding) -> String {
    let s = plural(finding.revisions.len());
    let revisions = numbers(&finding.revisions);
    let chart = &finding.chart;
    format!(
        "Helm release {} (revision{s} {revisions}, chart {chart})",
        finding.release
    )
}

/// Revision numbers, newest first: `4, 3`.
pub(super) fn numbers(revisions: &[u32]) -> String {
    let numbers: Vec<_> = revisions.iter().map(u32::to_string).collect();
    numbers.join(", ")
}

/// The three values of a field.
pub(super) fn values(change: &FieldChange) -> String {
    format!(
        "declared {}, live {}, requested {}",
        change.declared, change.live, change.requested
    )
}

/// Which release takes an object from which, a line for each release that loses it.
pub(super) fn changing_hands<'a>(decided: &'a Decided<'_>) -> impl Iterator<Item = String> + 'a {
    let object = decided.object.map_or_else(String::new, |object| {
        format!("{} \"{}\"", object.kind, object.name)
    });
    decided.verdict.findings.iter().map(move |finding| {
        format!(
            "{object} now belongs to release {}; release {} declares it too",
            finding.involved.join(", "),
            finding.release
        )
    })
}
