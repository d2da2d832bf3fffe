//! The life cycle of a release's revisions, and which of them are active.
//!
//! Helm writes the record before it touches an object, and supersedes the old revision before it
//! marks the new one deployed (facts of `pkg/action/{install,upgrade,rollback,uninstall}.go`).
//! [`active_set`] turns the statuses into the manifests that a live object may follow.

use std::{fmt, str::FromStr};

/// A revision's status: the `status` label of the record, equal to `info.status` in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RevisionStatus {
    /// `unknown`, and any status that Helm does not know.
    Unknown,
    /// `deployed`
    Deployed,
    /// `uninstalled` (with `--keep-history`)
    Uninstalled,
    /// `superseded`
    Superseded,
    /// `failed`
    Failed,
    /// `uninstalling`
    Uninstalling,
    /// `pending-install`
    PendingInstall,
    /// `pending-upgrade`
    PendingUpgrade,
    /// `pending-rollback`
    PendingRollback,
}

impl RevisionStatus {
    /// The three `pending-*` statuses. `uninstalling` is not one of them (`pkg/release/status.go`).
    pub fn is_pending(self) -> bool {
        matches!(
            self,
            Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback
        )
    }

    /// The status with this name. An unknown name is not an error, because Helm itself accepts any.
    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "deployed" => Self::Deployed,
            "uninstalled" => Self::Uninstalled,
            "superseded" => Self::Superseded,
            "failed" => Self::Failed,
            "uninstalling" => Self::Uninstalling,
            "pending-install" => Self::PendingInstall,
            "pending-upgrade" => Self::PendingUpgrade,
            "pending-rollback" => Self::PendingRollback,
            _ => Self::Unknown,
        }
    }

    /// Its name in Helm.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Deployed => "deployed",
            Self::Uninstalled => "uninstalled",
            Self::Superseded => "superseded",
            Self::Failed => "failed",
            Self::Uninstalling => "uninstalling",
            Self::PendingInstall => "pending-install",
            Self::PendingUpgrade => "pending-upgrade",
            Self::PendingRollback => "pending-rollback",
        }
    }
}

impl FromStr for RevisionStatus {
    type Err = std::convert::Infallible;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_word(word))
    }
}

impl fmt::Display for RevisionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The current phase of Helm, from the status of the newest revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Deployed, or superseded/unknown in transit: one manifest counts.
    Settled,
    /// A Helm operation runs, or was killed while it ran.
    Pending,
    /// The newest revision failed. No Helm operation is running.
    Failed,
    /// `helm uninstall` runs: deletes are allowed.
    Uninstalling,
}

/// The revisions whose manifests a live object may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActiveSet {
    /// The newest revision.
    pub newest: u32,
    /// The revision that the newest one is replacing, while objects of both may be in the cluster.
    pub base: Option<u32>,
    /// The phase, from the newest revision's status.
    pub phase: Phase,
}

impl ActiveSet {
    /// The active revisions, newest first.
    pub fn revisions(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.newest).chain(self.base)
    }
}

/// The active set of a release, given its revisions in any order.
///
/// `None` when the release is not guarded: no record, or the newest is `uninstalled`.
pub fn active_set(revisions: &[(u32, RevisionStatus)]) -> Option<ActiveSet> {
    let &(newest, status) = revisions.iter().max_by_key(|(revision, _)| *revision)?;
    let below = |wanted: &dyn Fn(RevisionStatus) -> bool| {
        revisions
            .iter()
            .filter(|(revision, status)| *revision < newest && wanted(*status))
            .map(|(revision, _)| *revision)
            .max()
    };
    let base = || below(&|s| s == RevisionStatus::Deployed).or_else(|| below(&|s| !s.is_pending()));
    let (base, phase) = match status {
        RevisionStatus::Uninstalled => return None,
        RevisionStatus::Deployed | RevisionStatus::Superseded | RevisionStatus::Unknown => {
            (None, Phase::Settled)
        }
        RevisionStatus::Uninstalling => (None, Phase::Uninstalling),
        RevisionStatus::Failed => (base(), Phase::Failed),
        RevisionStatus::PendingInstall
        | RevisionStatus::PendingUpgrade
        | RevisionStatus::PendingRollback => (base(), Phase::Pending),
    };
    Some(ActiveSet {
        newest,
        base,
        phase,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::RevisionStatus::{
        Deployed, Failed, PendingInstall, PendingRollback, PendingUpgrade, Superseded, Uninstalled,
        Uninstalling, Unknown,
    };
    use super::*;

    const SETTLED: Phase = Phase::Settled;

    #[rstest]
    #[case::installed(&[Deployed], 1, None, SETTLED)]
    #[case::installing(&[PendingInstall], 1, None, Phase::Pending)]
    #[case::install_failed(&[Failed], 1, None, Phase::Failed)]
    #[case::upgrading(&[Superseded, Deployed, PendingUpgrade], 3, Some(2), Phase::Pending)]
    #[case::upgrade_between_its_two_last_writes(&[Superseded, Superseded, PendingUpgrade], 3, Some(2), Phase::Pending)]
    #[case::upgraded(&[Superseded, Superseded, Deployed], 3, None, SETTLED)]
    #[case::upgrade_failed(&[Superseded, Deployed, Failed], 3, Some(2), Phase::Failed)]
    #[case::failed_twice(&[Deployed, Failed, Failed], 3, Some(1), Phase::Failed)]
    #[case::upgrading_after_a_failure(&[Deployed, Failed, PendingUpgrade], 3, Some(1), Phase::Pending)]
    #[case::atomic_rollback_after_a_failure(&[Deployed, Failed, PendingRollback], 3, Some(1), Phase::Pending)]
    #[case::rollback_failed_with_none_deployed(&[Superseded, Superseded, Failed], 3, Some(2), Phase::Failed)]
    #[case::upgrading_after_that(&[Superseded, Superseded, Failed, PendingUpgrade], 4, Some(3), Phase::Pending)]
    #[case::stuck_in_rollback(&[Superseded, Deployed, PendingRollback], 3, Some(2), Phase::Pending)]
    #[case::pending_is_no_base(&[Superseded, PendingUpgrade, PendingRollback], 3, Some(1), Phase::Pending)]
    #[case::a_deployed_base_before_a_newer_one(&[Deployed, Superseded, Failed, PendingUpgrade], 4, Some(1), Phase::Pending)]
    #[case::superseded_in_transit(&[Superseded, Superseded], 2, None, SETTLED)]
    #[case::unknown(&[Deployed, Unknown], 2, None, SETTLED)]
    #[case::uninstalling(&[Superseded, Uninstalling], 2, None, Phase::Uninstalling)]
    #[case::reinstalled_after_keep_history(&[Superseded, Uninstalled, Deployed], 3, None, SETTLED)]
    #[case::two_deployed_by_corruption(&[Deployed, Deployed], 2, None, SETTLED)]
    fn the_active_set_follows_the_statuses(
        #[case] statuses: &[RevisionStatus],
        #[case] newest: u32,
        #[case] base: Option<u32>,
        #[case] phase: Phase,
    ) {
        let mut revisions: Vec<_> = (1..).zip(statuses.iter().copied()).collect();
        let expected = ActiveSet {
            newest,
            base,
            phase,
        };
        assert_eq!(active_set(&revisions), Some(expected));
        revisions.reverse();
        assert_eq!(
            active_set(&revisions),
            Some(expected),
            "order has no meaning"
        );
        let revisions: Vec<_> = expected.revisions().collect();
        assert_eq!(
            revisions,
            base.map_or(vec![newest], |base| vec![newest, base])
        );
    }

    #[rstest]
    #[case::no_record(&[])]
    #[case::uninstalled_with_its_history(&[(1, Superseded), (2, Uninstalled)])]
    fn an_uninstalled_release_is_not_guarded(#[case] revisions: &[(u32, RevisionStatus)]) {
        assert_eq!(active_set(revisions), None);
    }

    #[test]
    fn history_may_have_gaps_and_be_pruned_to_one() {
        let pruned = active_set(&[(41, Deployed)]).unwrap();
        assert_eq!((pruned.newest, pruned.base), (41, None));
        let gap = active_set(&[(41, PendingUpgrade), (12, Deployed)]).unwrap();
        assert_eq!((gap.newest, gap.base), (41, Some(12)));
    }

    #[test]
    fn each_status_has_helms_name_and_any_other_is_unknown() {
        for status in [
            Unknown,
            Deployed,
            Uninstalled,
            Superseded,
            Failed,
            Uninstalling,
            PendingInstall,
            PendingUpgrade,
            PendingRollback,
        ] {
            assert_eq!(RevisionStatus::from_word(status.as_str()), status);
            assert_eq!(status.is_pending(), status.as_str().starts_with("pending-"));
        }
        assert_eq!(RevisionStatus::from_word("Deployed"), Unknown);
    }
}
