//! Helm's own requests while an operation runs: what would be a violation, and may be Helm's own write
//! rewritten by a mutating webhook, or that of a hook of the chart.
//!
//! Invariants
//! - The question is asked of every release that is violated: one pending release opens nothing of
//!   another.
//! - The marks of ownership are never changed in flight: without them the object is out of sight.

use super::{
    claim::Claim,
    request::Request,
    verdict::{Change, Verdict},
};
use crate::{
    compare::path::Step,
    helm::{ReleaseName, lifecycle::Phase},
};

/// The field managers of Helm, Flux's helm-controller and Terraform's Helm provider (whose name
/// ends with its version).
pub const HELM_WRITERS: &[&str] = &["helm", "helm-controller", "terraform-provider-helm*"];

/// Labels and annotations by which an object is known as Helm's.
const MARKS: [[&str; 3]; 3] = [
    ["metadata", "labels", "app.kubernetes.io/managed-by"],
    ["metadata", "annotations", "meta.helm.sh/release-name"],
    ["metadata", "annotations", "meta.helm.sh/release-namespace"],
];

/// Whether the client calls itself one of `writers`. It proves nothing: whoever relies on it asks the API
/// server whether the user may write the records.
pub fn is_helm_writer(request: &Request<'_>, writers: &[&str]) -> bool {
    let Some(manager) = request.field_manager() else {
        return false;
    };
    writers.iter().any(|writer| match writer.strip_suffix('*') {
        Some(prefix) => manager.starts_with(prefix),
        None => manager == *writer,
    })
}

/// Whether a violation may be a request of the operations that run: every violated release is pending,
/// and the request comes from one of `writers` or from the ServiceAccount of one of its hooks. The
/// claims returned are those whose records the user must be able to write, which the caller asks the
/// API server; a hook's account is named by the record itself.
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

/// Namespace and name of the ServiceAccount that a user is.
pub fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// A mark itself, or all of the metadata that holds it.
fn touches_a_mark(change: &Change) -> bool {
    let steps = change.path.steps();
    MARKS.iter().any(|mark| {
        steps
            .iter()
            .zip(mark)
            .all(|(step, field)| matches!(step, Step::Field(name) if **name == **field))
    })
}
