//! The life cycle of a release's revisions, and which of them are active.
//!
//! Helm writes the record before it touches an object, and supersedes the old revision before it
//! marks the new one deployed (facts of `pkg/action/{install,upgrade,rollback,uninstall}.go`).
//! [`active_set`] turns the statuses into the manifests that a live object may rightly follow.

use std::{fmt, str::FromStr};

/// A revision's status: the `status` label of the record, equal to `info.status` in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// `unknown`, and any word that Helm does not know.
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

impl Status {
    /// The three `pending-*` statuses. `uninstalling` is not one of them (`pkg/release/status.go`).
    pub fn is_pending(self) -> bool {
        matches!(
            self,
            Self::PendingInstall | Self::PendingUpgrade | Self::PendingRollback
        )
    }

    /// The status that Helm's word stands for. A word that Helm does not know is no error, for Helm
    /// itself reads any.
    pub fn from_word(word: &str) -> Self {
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

    /// Helm's word for it.
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

impl FromStr for Status {
    type Err = std::convert::Infallible;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Ok(Self::from_word(word))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the newest revision's status says about Helm right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Deployed, or superseded/unknown in transit: one manifest counts.
    Settled,
    /// A Helm operation runs, or was killed while it ran.
    Pending,
    /// The newest revision failed. No Helm operation is running.
    Failed,
    /// `helm uninstall` runs: deletes pass.
    Uninstalling,
}

/// The revisions whose manifests a live object may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActiveSet {
    /// The newest revision.
    pub newest: u32,
    /// The revision that the newest one is replacing, while both may be found in the cluster.
    pub base: Option<u32>,
    /// What the newest revision's status says.
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
pub fn active_set(revisions: &[(u32, Status)]) -> Option<ActiveSet> {
    let &(newest, status) = revisions.iter().max_by_key(|(revision, _)| *revision)?;
    let below = |wanted: &dyn Fn(Status) -> bool| {
        revisions
            .iter()
            .filter(|(revision, status)| *revision < newest && wanted(*status))
            .map(|(revision, _)| *revision)
            .max()
    };
    let base = || below(&|s| s == Status::Deployed).or_else(|| below(&|s| !s.is_pending()));
    let (base, phase) = match status {
        Status::Uninstalled => return None,
        Status::Deployed | Status::Superseded | Status::Unknown => (None, Phase::Settled),
        Status::Uninstalling => (None, Phase::Uninstalling),
        Status::Failed => (base(), Phase::Failed),
        Status::PendingInstall | Status::PendingUpgrade | Status::PendingRollback => {
            (base(), Phase::Pending)
        }
    };
    Some(ActiveSet {
        newest,
        base,
        phase,
    })
}
