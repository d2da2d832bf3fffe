//! The words on the screen: why a request was refused, and what to do instead.
//!
//! kubectl prints `Error from server (Forbidden): admission webhook "…" denied the request: ` in
//! front of a denial's message, and `Warning: ` in front of each warning.

use std::fmt::Write as _;

use helm_guard_core::{
    guard::{Change, Decided, Decision, Finding, ObjectRef, Reason, Unread},
    helm::record::ApplyMethod,
    policy::EmergencyHint,
    text::{cut, minute, plural},
};

use super::{Answer, release_infrastructure};
use crate::record::{changes::Unkept, events::NOTE_BYTES};

/// Fields listed in a message; the rest is counted. A screen holds them, and the audit line has
/// them all.
const FIELDS_LISTED: usize = 16;

/// The longest message, in bytes. The API server sets no limit of its own, but terminals and CI
/// logs are read by people.
pub const MESSAGE_BYTES: usize = 6 * 1024;

/// The API server cuts each warning to 256 characters once all of them together exceed 4096
/// (`k8s.io/apiserver/pkg/endpoints/filters/warning.go`), so both limits are kept here.
const WARNING_CHARS: usize = 256;
const WARNINGS_CHARS: usize = 4096;

/// The message of a denial, in several lines.
///
/// It starts with a line break, so that the object starts a line of its own below what kubectl
/// prints in front.
pub fn denial(answer: &Answer<'_>) -> String {
    let mut text = String::new();
    for line in violation(answer) {
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
            "\nThe break-glass change by {who} could not be recorded, and the policy lets nothing \
             pass unrecorded: {error}"
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

/// The warnings that go with a decision: none when it needs no words.
pub fn warnings(answer: &Answer<'_>) -> Vec<String> {
    let lines = match answer.decided.decision {
        Decision::Allow if answer.decided.verdict.reason == Reason::OwnershipTaken => {
            changing_hands(&answer.decided).collect()
        }
        Decision::Allow | Decision::Deny | Decision::FailClosed | Decision::Audit => Vec::new(),
        Decision::Indeterminate => vec![indeterminate(answer)],
        Decision::Warn => violation(answer),
        Decision::BreakGlass => {
            let mut lines = vec![break_glass(answer)];
            lines.extend(conflict(answer));
            lines.extend(violation(answer));
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

fn break_glass(answer: &Answer<'_>) -> String {
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
        Err(Unkept::NotInstalled) => ("in the audit log".to_owned(), String::new()),
        Err(error) => ("in the audit log alone".to_owned(), format!(" ({error})")),
    };
    format!(
        "break-glass change by {who} recorded {recorded}{ticket}; reconcile it with the chart by \
         {by}{why_not}"
    )
}

/// Server-side apply does not take a field from another manager unless it is told to, and `helm upgrade`
/// and `helm rollback` stop there. Once for the first such release: there is seldom a second.
fn conflict(answer: &Answer<'_>) -> Option<String> {
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

/// The sentence of the Kubernetes event about a break-glass change.
pub fn announcement(decided: &Decided<'_>) -> String {
    let mut text = format!(
        "{} by {} against what Helm declares",
        decided.request.operation.as_str(),
        decided.request.user_info.username
    );
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

/// The sentence of the Kubernetes event about an autoscaler that no release declares.
pub fn undeclared_autoscaler(decided: &Decided<'_>) -> String {
    let mut text = format!(
        "{} scales it, by an autoscaler that no Helm release declares",
        decided.request.user_info.username
    );
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

/// The sentence of the Kubernetes event about an object that another release takes.
pub fn taken(decided: &Decided<'_>) -> String {
    let lines: Vec<String> = changing_hands(decided).collect();
    let who = &decided.request.user_info.username;
    let mut text = format!("{}, by {who}", lines.join("; "));
    cut(&mut text, NOTE_BYTES);
    text
}

/// Which release takes an object from which, a line for each that loses it.
fn changing_hands<'a>(decided: &'a Decided<'_>) -> impl Iterator<Item = String> + 'a {
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

/// What is violated and what to do about it, a line each.
fn violation(answer: &Answer<'_>) -> Vec<String> {
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
            .map(|finding| emergency_hint(answer, finding)),
    );
    lines
}

/// Why a request is refused that nobody could look into, and what to do instead.
fn unevaluated(answer: &Answer<'_>, unread: Unread) -> Vec<String> {
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

/// A size in MiB, with one digit behind the point.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn headline(answer: &Answer<'_>, finding: &Finding) -> String {
    let revisions = numbers(&finding.revisions);
    let s = plural(finding.revisions.len());
    let object = answer
        .decided
        .object
        .map_or_else(|| "The object".to_owned(), |id| name(id, finding));
    let end = if finding.changes.is_empty() { "" } else { ":" };
    format!(
        "{object} is declared by Helm release {} (revision{s} {revisions}, chart {}){end}",
        finding.release, finding.chart
    )
}

pub(super) fn called(object: &ObjectRef<'_>) -> String {
    format!("{} {:?}", object.kind, object.name)
}

/// The object, with its namespace where the reader can not tell it from the release's.
fn name(object: &ObjectRef<'_>, finding: &Finding) -> String {
    if object.namespace.is_empty() || object.namespace == finding.release.namespace {
        called(object)
    } else {
        format!("{} in namespace {:?}", called(object), object.namespace)
    }
}

fn field(change: &Change) -> String {
    format!("  {}: {}", change.path, values(change))
}

/// The three values of a field.
pub fn values(change: &Change) -> String {
    format!(
        "declared {}, live {}, requested {}",
        change.declared, change.live, change.requested
    )
}

/// What the account of a hook would need, where a ServiceAccount violates a release that is pending.
fn hook(answer: &Answer<'_>) -> String {
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

fn emergency_hint(answer: &Answer<'_>, finding: &Finding) -> String {
    let (release, namespace) = (&finding.release.name, &finding.release.namespace);
    if answer.decided.verdict.reason == Reason::ObjectDeleted {
        format!(
            "Remove it from the chart and run: helm upgrade {release} <chart> -n {namespace}; \
             or remove the whole release: helm uninstall {release} -n {namespace}"
        )
    } else {
        format!(
            "Change the chart or its values and run: helm upgrade {release} <chart> -n {namespace}"
        )
    }
}

fn indeterminate(answer: &Answer<'_>) -> String {
    let (object, why) = doubt(answer);
    let reason = answer.decided.verdict.reason;
    format!("{object} passes unjudged: {why} ({reason})")
}

/// Where a namespace fails closed: the API server quotes this in its refusal.
pub fn undecided(answer: &Answer<'_>) -> String {
    let (object, why) = doubt(answer);
    let reason = answer.decided.verdict.reason;
    let namespace = &answer.decided.request.namespace;
    let text = format!(
        "{object} could not be evaluated: {why} ({reason}); namespace {namespace} fails closed"
    );
    text.chars().take(WARNING_CHARS).collect()
}

/// The object, and why nobody can say whether the request violates a release.
fn doubt(answer: &Answer<'_>) -> (String, &'static str) {
    let why = match answer.decided.verdict.reason {
        Reason::VersionDiffers => "the release declares it in another API version",
        Reason::RecordUnreadable => "the release record that declares it can not be read",
        Reason::ObjectUnreadable => "the object in the request can not be read",
        Reason::SchemaUnavailable => "the schema of its kind can not be read",
        Reason::ReadThroughFailed => "the release's records could not be read again",
        Reason::OwnerUnknown => "the owner that a new owner reference names could not be read",
        Reason::DeadlineExceeded => "it took too long to say whether a release declares it",
        Reason::IndexIncomplete => "not all release records have been read yet",
        _ => "nobody can say whether a release declares it",
    };
    let object = answer
        .decided
        .object
        .map_or_else(|| "the request".to_owned(), called);
    (object, why)
}

/// One warning, as the API server takes it: no control characters, not too long.
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

/// Revision numbers, newest first: `4, 3`.
pub fn numbers(revisions: &[u32]) -> String {
    let numbers: Vec<_> = revisions.iter().map(u32::to_string).collect();
    numbers.join(", ")
}
