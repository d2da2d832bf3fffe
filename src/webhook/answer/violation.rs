//! The violation and the remedy, a line each: the same for denials and warnings.

use helm_guard_core::{
    compare::redact::ShownValue,
    guard::{FieldChange, Finding, ObjectRef, Reason, Unread},
    helm::record::ApplyMethod,
    text::plural,
};

use super::{
    contents::AnswerContents,
    phrases::{called, release, values},
    release_infrastructure,
};

/// Fields listed in a message; the rest is counted. They fit on a screen, and the audit line has
/// them all.
const FIELDS_LISTED: usize = 16;

/// The violation and the remedy, a line each.
pub(super) fn lines(answer: &AnswerContents<'_>) -> Vec<String> {
    if let Some(lines) = release_infrastructure::lines(&answer.decided) {
        return lines;
    }
    if let Some(unread) = answer.decided.request.unread
        && unread.reason() == answer.decided.verdict.reason
    {
        return unevaluated(answer, unread);
    }
    let reason = answer.decided.verdict.reason;
    let mut lines = Vec::new();
    let mut room = FIELDS_LISTED;
    let mut unlisted = 0;
    for finding in &answer.decided.verdict.findings {
        lines.push(headline(answer, finding));
        let listed = finding.changes.len().min(room);
        lines.extend(finding.changes.iter().take(listed).map(field));
        let leads_to = finding.involved.iter().take(match reason {
            Reason::LeadsToDeletion | Reason::LeadsToChange => listed,
            _ => 0,
        });
        lines.extend(leads_to.map(|what| format!("  This has consequences: {what}")));
        room -= listed;
        unlisted += finding.changes.len() - listed;
    }
    if unlisted > 0 {
        lines.push(format!("  and {unlisted} more field{}", plural(unlisted)));
    }
    lines.extend(
        answer
            .decided
            .verdict
            .findings
            .iter()
            .flat_map(|finding| remedy(answer, finding)),
    );
    lines
}

/// Why an unread request is denied, and what to do instead.
fn unevaluated(answer: &AnswerContents<'_>, unread: Unread) -> Vec<String> {
    let (why, instead) = match unread {
        Unread::TooLarge { size, limit } => (
            format!(
                "The admission review of {} is larger than the {} that helm-guard evaluates",
                mebibytes(size),
                mebibytes(limit as u64)
            ),
            "Make the object smaller, or change it through its chart",
        ),
        Unread::OverBudget { size } => (
            format!(
                "helm-guard is evaluating as many large admission reviews as its memory allows, and \
                 has no room for this one of {}",
                mebibytes(size)
            ),
            "Try again in a moment",
        ),
        Unread::Late => (
            "The admission review did not arrive in time".to_owned(),
            "Try again in a moment",
        ),
    };
    let findings = &answer.decided.verdict.findings;
    let mut lines: Vec<_> = findings
        .iter()
        .take(FIELDS_LISTED)
        .map(|finding| headline(answer, finding))
        .collect();
    if lines.is_empty() {
        let request = answer.decided.request;
        let kind = &request.kind.kind;
        lines.push(match &*request.name {
            "" => format!("A {kind} may be declared by a Helm release"),
            name => format!("{kind} {name:?} may be declared by a Helm release"),
        });
    }
    lines.push(format!(
        "{why}: whether the request changes a declared field is unknown"
    ));
    lines.push(instead.to_owned());
    lines
}

/// A size in MiB, with one decimal.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn headline(answer: &AnswerContents<'_>, finding: &Finding) -> String {
    let object = answer
        .decided
        .object
        .map_or_else(|| "The object".to_owned(), |id| name(id, finding));
    let end = if finding.changes.is_empty() { "" } else { ":" };
    format!("{object} is declared by {}{end}", release(finding))
}

/// The object, with its namespace if it differs from the release's.
fn name(object: &ObjectRef<'_>, finding: &Finding) -> String {
    if object.namespace.is_empty() || object.namespace == finding.release.namespace {
        called(object)
    } else {
        format!("{} in namespace {:?}", called(object), object.namespace)
    }
}

fn field(change: &FieldChange) -> String {
    format!("  {}: {}", change.path, values(change))
}

/// One command a line, so that each can be copied.
fn remedy(answer: &AnswerContents<'_>, finding: &Finding) -> Vec<String> {
    let (release, namespace) = (&finding.release.name, &finding.release.namespace);
    if answer.decided.verdict.reason == Reason::ObjectDeleted {
        return vec![
            format!(
                "Remove it from the chart and run: helm upgrade {release} <chart> -n {namespace}"
            ),
            format!("Or remove the whole release: helm uninstall {release} -n {namespace}"),
        ];
    }
    let force = if is_owned_by_others(finding) {
        " --force-conflicts (another field manager wrote the live value)"
    } else {
        ""
    };
    vec![format!(
        "Change the chart or its values and run: helm upgrade {release} <chart> -n {namespace}{force}"
    )]
}

/// Whether Helm's server-side apply stops with a conflict when the chart changes one of these fields: Helm did not write
/// the live value, so another field manager owns it.
fn is_owned_by_others(finding: &Finding) -> bool {
    let differs =
        |change: &FieldChange| change.live != ShownValue::Absent && change.live != change.declared;
    finding.apply_method == ApplyMethod::ServerSide && finding.changes.iter().any(differs)
}
