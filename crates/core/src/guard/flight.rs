//! Helm's own requests while an operation runs. What would be a violation may be Helm's own write that
//! a mutating webhook changed, or the write of a chart's hook.
//!
//! Invariants
//! - Every violated release is checked: a pending release allows nothing in another one.
//! - The marks of ownership never change in flight: without them, the guard loses sight of the object.

use super::{
    claim::Claim,
    request::Request,
    verdict::{FieldChange, Verdict},
};
use crate::{
    compare::path::Step,
    helm::{ReleaseName, lifecycle::Phase},
};

/// The field managers of Helm, Flux's helm-controller and Terraform's Helm provider (whose name
/// ends with its version).
pub const HELM_WRITERS: &[&str] = &["helm", "helm-controller", "terraform-provider-helm*"];

/// The labels and annotations that mark an object as Helm's.
const MARKS: [[&str; 3]; 3] = [
    ["metadata", "labels", "app.kubernetes.io/managed-by"],
    ["metadata", "annotations", "meta.helm.sh/release-name"],
    ["metadata", "annotations", "meta.helm.sh/release-namespace"],
];

/// Whether the client calls itself one of `writers`. This proves nothing: callers also ask the API server
/// whether the user may write the records.
pub fn is_helm_writer(request: &Request<'_>, writers: &[&str]) -> bool {
    let manager = request.field_manager();
    manager.is_some_and(|manager| is_helm_manager(manager, writers))
}

/// Whether a field manager is one of `writers`, each of which is a name or a prefix with a `*`.
pub fn is_helm_manager(manager: &str, writers: &[&str]) -> bool {
    writers.iter().any(|writer| match writer.strip_suffix('*') {
        Some(prefix) => manager.starts_with(prefix),
        None => manager == *writer,
    })
}

/// Whether a violation may belong to a running operation: every violated release is pending, and the
/// request comes from one of `writers` or from the ServiceAccount of one of its hooks. The claims
/// returned are those whose records the user must be able to write, which the caller asks the API
/// server. For a hook's account the list is empty, because the record itself names it.
pub fn in_flight<'c>(
    request: &Request<'_>,
    verdict: &Verdict,
    claims: &'c [Claim],
    writers: &[&str],
) -> Option<Vec<&'c Claim>> {
    let changes = verdict.findings.iter().flat_map(|found| &found.changes);
    if verdict.findings.is_empty() || changes.into_iter().any(touches_a_mark) {
        return None;
    }
    let is_writer = is_helm_writer(request, writers);
    let mut to_ask = Vec::new();
    for finding in &verdict.findings {
        let mut violated = claims_of(&finding.release, claims).peekable();
        violated.peek()?;
        for claim in violated {
            let is_hook = is_hook_account(claim, &request.user_info.username);
            match (claim.phase, is_writer, is_hook) {
                (Phase::Pending, _, true) => {}
                (Phase::Pending, true, false) => to_ask.push(claim),
                _ => return None,
            }
        }
    }
    Some(to_ask)
}

/// The claims of the releases that are violated.
pub fn violated<'c>(verdict: &Verdict, claims: &'c [Claim]) -> Vec<&'c Claim> {
    let releases = verdict.findings.iter().map(|finding| &finding.release);
    releases
        .flat_map(|release| claims_of(release, claims))
        .collect()
}

/// A release has more than one where its records are in more than one place.
fn claims_of<'c>(release: &ReleaseName, claims: &'c [Claim]) -> impl Iterator<Item = &'c Claim> {
    claims
        .iter()
        .filter(move |claim| *claim.release == *release)
}

/// Whether the user is the ServiceAccount of a hook of the revision that is pending.
fn is_hook_account(claim: &Claim, user: &str) -> bool {
    service_account(user).is_some_and(|(namespace, name)| {
        namespace == claim.release.namespace
            && claim.hook_accounts.iter().any(|account| **account == *name)
    })
}

/// Namespace and name of the user's ServiceAccount, if it is one.
pub fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// A mark itself, or all of the metadata that holds it.
fn touches_a_mark(change: &FieldChange) -> bool {
    let steps = change.path.steps();
    MARKS.iter().any(|mark| {
        steps
            .iter()
            .zip(mark)
            .all(|(step, field)| matches!(step, Step::Field(name) if **name == **field))
    })
}
