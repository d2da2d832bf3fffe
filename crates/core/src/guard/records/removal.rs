//! What a DELETE does to a release's history.
//!
//! Helm deletes records in two cases (`pkg/storage/storage.go`, `pkg/action/uninstall.go`): all of
//! them, oldest first, after the newest was marked `uninstalling`; and, before it writes a new one, the
//! oldest that are too many, never the one that is deployed. It does so record by record and without
//! any options, which kubectl and a deletion of a collection never do.

use crate::{guard::request::Request, helm::lifecycle::Status};

/// What is made of a DELETE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The release is being uninstalled, or is already.
    Uninstalled,
    /// Helm may be making room for a new record.
    Pruned,
    /// It is gone already.
    Gone,
    /// Helm never does it.
    Loss,
}

/// Whether a DELETE looks as Helm sends it: that proves nothing, but what looks otherwise is not Helm's.
pub fn may_be_helms(request: &Request<'_>) -> bool {
    let is_plain = request.options.as_ref().is_none_or(|options| {
        options.propagation_policy.is_none()
            && options.grace_period_seconds.is_none()
            && options.preconditions.is_none()
    });
    !request.name.is_empty() && is_plain
}

/// Judges the deletion of a revision's record, given all records that there are.
pub fn removal(history: &[(u32, Status)], revision: u32, may_be_helms: bool) -> Removal {
    let Some(&(last, newest)) = history.iter().max_by_key(|(revision, _)| *revision) else {
        return Removal::Gone;
    };
    if matches!(newest, Status::Uninstalling | Status::Uninstalled) {
        return Removal::Uninstalled;
    }
    if !history.iter().any(|(known, _)| *known == revision) {
        return Removal::Gone;
    }
    let deployed = history
        .iter()
        .filter(|(_, status)| *status == Status::Deployed)
        .map(|(revision, _)| *revision)
        .max();
    let next_to_go = history
        .iter()
        .map(|(revision, _)| *revision)
        .filter(|revision| Some(*revision) != deployed)
        .min();
    // The record of an operation that came to no end says alone what it has changed; where it is the only
    // one, all that is known of the release goes with it.
    let is_unfinished = revision == last && newest.is_pending();
    if may_be_helms && next_to_go == Some(revision) && !is_unfinished {
        Removal::Pruned
    } else {
        Removal::Loss
    }
}
