//! Evaluates a DELETE of a record: what it does to the history of the release.
//!
//! Helm deletes records in two cases (`pkg/storage/storage.go`, `pkg/action/uninstall.go`): all of
//! them, oldest first, after the newest was marked `uninstalling`; and, before writing a new one, the
//! oldest beyond the limit, but never the deployed one. It deletes one record at a time, without any
//! options; kubectl and a collection delete never do.

use crate::{guard::request::Request, helm::lifecycle::RevisionStatus};

/// The result of a DELETE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The release is being uninstalled, or is already.
    Uninstalled,
    /// Helm may be making room for a new record.
    Pruned,
    /// It is already gone.
    Gone,
    /// Helm never does it.
    Loss,
}

/// Whether a DELETE has the form that Helm sends. That proves nothing, but any other form is not Helm's.
pub fn may_be_helms(request: &Request<'_>) -> bool {
    let is_plain = request.options.as_ref().is_none_or(|options| {
        options.propagation_policy.is_none()
            && options.grace_period_seconds.is_none()
            && options.preconditions.is_none()
    });
    !request.name.is_empty() && is_plain
}

/// Evaluates the deletion of a revision's record, given all records of the release.
pub fn removal(history: &[(u32, RevisionStatus)], revision: u32, may_be_helms: bool) -> Removal {
    let Some(&(last, newest)) = history.iter().max_by_key(|(revision, _)| *revision) else {
        return Removal::Gone;
    };
    if matches!(
        newest,
        RevisionStatus::Uninstalling | RevisionStatus::Uninstalled
    ) {
        return Removal::Uninstalled;
    }
    if !history.iter().any(|(known, _)| *known == revision) {
        return Removal::Gone;
    }
    let deployed = history
        .iter()
        .filter(|(_, status)| *status == RevisionStatus::Deployed)
        .map(|(revision, _)| *revision)
        .max();
    let next_to_go = history
        .iter()
        .map(|(revision, _)| *revision)
        .filter(|revision| Some(*revision) != deployed)
        .min();
    // Only the record of an interrupted operation says what it has changed. If it is the only record,
    // deleting it loses everything that is known about the release.
    let is_unfinished = revision == last && newest.is_pending();
    if may_be_helms && next_to_go == Some(revision) && !is_unfinished {
        Removal::Pruned
    } else {
        Removal::Loss
    }
}
