//! What the revisions of a release say: which are active, which were abandoned, and when Helm wrote.
//!
//! A revision is *abandoned* if Helm may have applied it and then went another way: it failed, it was killed, or
//! a rollback that skipped it failed. Helm forgets what an abandoned revision added: an upgrade compares with the
//! newest deployed revision (helm#13346, helm#13437). A rollback that succeeds removes what the revision before it
//! added (`performRollback` in `pkg/action/rollback.go`).
//!
//! Start at [`History::of`]. A caller that reads records needs [`abandoned`] first.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use super::scanned::{ReadRecord, RecordContent, ScanRules, ScannedRelease, ScannedRevision};
use crate::helm::{
    lifecycle::{ActiveSet, Phase, RevisionStatus, active_set},
    record::ApplyMethod,
};

/// How long after its start an operation of Helm may write objects: hooks and waiting take their time.
const OPERATION: SignedDuration = SignedDuration::from_mins(60);

/// How far the clock of a client may be ahead of that of the API server.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(2);

/// The revisions of one release, as far as a scan needs them.
#[derive(Debug)]
pub(super) struct History<'a> {
    pub(super) active: Option<ActiveSet>,
    pub(super) newest: Option<&'a ScannedRevision<'a>>,
    pub(super) base: Option<&'a ScannedRevision<'a>>,
    /// Those that could be read, newest first.
    pub(super) abandoned: Vec<(u32, ReadRecord<'a>)>,
    /// Whether an operation runs, so that objects may be on their way.
    pub(super) is_working: bool,
    /// When operations began.
    starts: Vec<Timestamp>,
    /// Whether earlier revisions were deleted.
    is_pruned: bool,
}

/// The abandoned ones of a release's revisions, newest first. Rollbacks are known from the records that were read, and
/// one that failed is read because it is active, or abandoned itself.
pub fn abandoned(revisions: &[ScannedRevision<'_>]) -> Vec<u32> {
    let statuses: Vec<_> = revisions
        .iter()
        .map(|one| (one.revision, one.status))
        .collect();
    let Some(active) = active_set(&statuses) else {
        return Vec::new();
    };
    let has_ended_well =
        |status| status == RevisionStatus::Deployed || status == RevisionStatus::Superseded;
    let failed = revisions.iter().filter(|one| !has_ended_well(one.status));
    let rollbacks = failed.filter_map(|one| match &one.content {
        RecordContent::Read(record) => Some((record.rolled_back_to?, one.revision)),
        _ => None,
    });
    let skipped: Vec<(u32, u32)> = rollbacks.collect();
    let is_abandoned = |one: &&ScannedRevision<'_>| {
        let number = one.revision;
        let is_skipped = || {
            skipped
                .iter()
                .any(|(from, to)| *from < number && number < *to)
        };
        number < active.newest
            && Some(number) != active.base
            && (one.status == RevisionStatus::Failed || one.status.is_pending() || is_skipped())
    };
    let abandoned = revisions.iter().filter(is_abandoned);
    let mut abandoned: Vec<u32> = abandoned.map(|one| one.revision).collect();
    abandoned.sort_unstable_by_key(|revision| Reverse(*revision));
    abandoned
}

impl<'a> History<'a> {
    pub(super) fn of(release: &ScannedRelease<'a>, rules: &ScanRules<'_>) -> Self {
        let revisions = release.revisions;
        let statuses: Vec<_> = revisions
            .iter()
            .map(|one| (one.revision, one.status))
            .collect();
        let active = active_set(&statuses);
        let find = |number: u32| revisions.iter().find(|one| one.revision == number);
        let newest = revisions.iter().max_by_key(|one| one.revision);
        let read = |number: &u32| match find(*number)?.content {
            RecordContent::Read(record) => Some((*number, record)),
            _ => None,
        };
        let phase = active.map(|active| active.phase);
        let is_busy = matches!(phase, Some(Phase::Pending | Phase::Uninstalling));
        let age = newest
            .and_then(began)
            .map(|began| rules.now.duration_since(began));
        let starts = revisions.iter().flat_map(|one| {
            let deployed = one.record().and_then(|record| record.last_deployed);
            [one.created, deployed].into_iter().flatten()
        });
        let oldest = revisions.iter().map(|one| one.revision).min();
        Self {
            active,
            newest,
            base: active.and_then(|active| active.base).and_then(find),
            abandoned: abandoned(revisions).iter().filter_map(read).collect(),
            // An operation of unknown age does not excuse anything.
            is_working: is_busy && age.is_some_and(|age| age < rules.pending_grace),
            starts: starts.collect(),
            is_pruned: oldest.is_some_and(|oldest| oldest > 1),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.active.map_or(Phase::Settled, |active| active.phase)
    }

    /// How Helm will apply the objects: `helm upgrade` takes it from the newest revision.
    pub(super) fn apply_method(&self) -> ApplyMethod {
        let record = self.newest.and_then(ScannedRevision::record);
        record.map_or_else(ApplyMethod::default, |record| record.apply_method)
    }

    /// Whether a write at this time belongs to a known operation of the release, or to one before them whose record
    /// is gone (`--history-max`). Nothing does if the newest record is lost: its revision may have written it.
    pub(super) fn is_operation(&self, written: Timestamp) -> bool {
        let is_lost = |newest: &ScannedRevision<'_>| newest.status == RevisionStatus::Superseded;
        if self.newest.is_some_and(is_lost) {
            return false;
        }
        let is_during = |start: &Timestamp| {
            let after = written.duration_since(*start);
            after >= -CLOCK_SKEW && after <= OPERATION
        };
        let is_earlier = |start: &Timestamp| written < *start;
        self.starts.iter().any(is_during)
            || self.is_pruned && !self.starts.is_empty() && self.starts.iter().all(is_earlier)
    }
}

impl<'a> ScannedRevision<'a> {
    /// The content, if it was read.
    pub(super) fn record(&self) -> Option<&ReadRecord<'a>> {
        match &self.content {
            RecordContent::Read(record) => Some(record),
            RecordContent::Unreadable(_) | RecordContent::Damaged(_) | RecordContent::NotRead => {
                None
            }
        }
    }
}

/// When the operation of a revision began.
pub(super) fn began(revision: &ScannedRevision<'_>) -> Option<Timestamp> {
    let record = revision.record();
    let times = record.map(|record| [record.last_deployed, record.deleted]);
    // An uninstallation begins long after the record was created.
    let times = times.into_iter().flatten().flatten();
    times.chain(revision.created).max()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::helm::lifecycle::RevisionStatus::{
        Deployed, Failed, PendingUpgrade, Superseded, Uninstalled,
    };

    #[rstest]
    #[case::none(&[Superseded, Deployed], &[])]
    #[case::failed_before(&[Superseded, Failed, Deployed], &[2])]
    #[case::killed_before(&[Deployed, PendingUpgrade, Failed], &[2])]
    #[case::active_ones_are_not(&[Deployed, Failed], &[])]
    #[case::several_newest_first(&[Failed, Failed, Superseded, Failed, Deployed], &[4, 2, 1])]
    #[case::uninstalled(&[Failed, Uninstalled], &[])]
    fn a_revision_that_failed_or_was_killed_is_abandoned(
        #[case] statuses: &[RevisionStatus],
        #[case] expected: &[u32],
    ) {
        let revisions = (1..)
            .zip(statuses)
            .map(|(revision, status)| ScannedRevision {
                revision,
                status: *status,
                created: None,
                content: RecordContent::NotRead,
            });
        let revisions: Vec<_> = revisions.collect();
        assert_eq!(abandoned(&revisions), expected);
    }
}
