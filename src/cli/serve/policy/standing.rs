//! What is known of the policy in force, for probes and metrics.

use std::time::Duration;

use helm_guard_core::policy::suspension::Suspension;
use parking_lot::Mutex;

use crate::webhook::admin::Health;

/// Where the policy comes from that is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli::serve) enum Origin {
    #[default]
    Flags,
    File,
    Object,
}

impl Origin {
    /// The word in metrics.
    pub(in crate::cli::serve) fn as_str(self) -> &'static str {
        match self {
            Self::Flags => "flags",
            Self::File => "file",
            Self::Object => "object",
        }
    }

    pub(in crate::cli::serve) fn describe(self) -> &'static str {
        match self {
            Self::Flags => "the flags",
            Self::File => "the file",
            Self::Object => "the GuardPolicy",
        }
    }
}

/// Which policy it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli::serve) struct Loaded {
    pub(in crate::cli::serve) origin: Origin,
    /// An object that is made anew begins again at generation 1.
    pub(in crate::cli::serve) uid: String,
    pub(in crate::cli::serve) generation: i64,
}

impl Loaded {
    pub(in crate::cli::serve) fn from(origin: Origin) -> Self {
        Self {
            origin,
            ..Self::default()
        }
    }
}

/// Which policy is in force, and what is wrong with what should be.
#[derive(Clone, Debug, Default)]
pub(in crate::cli::serve) struct PolicyState {
    pub(in crate::cli::serve) loaded: Loaded,
    /// Whether it has been found out what there is.
    pub(in crate::cli::serve) has_looked: bool,
    /// Whether the guard is to work without an object.
    pub(in crate::cli::serve) is_required: bool,
    /// Whether the object of the policy in force has vanished.
    pub(in crate::cli::serve) is_missing: bool,
    /// In what the flags are laxer than the object that was there before.
    pub(in crate::cli::serve) laxer: Option<String>,
    /// Why nothing is evaluated.
    pub(in crate::cli::serve) suspension: Option<Suspension>,
    /// What is wrong with what was read last.
    pub(in crate::cli::serve) error: Option<String>,
    pub(in crate::cli::serve) taken: u64,
    pub(in crate::cli::serve) refused: u64,
}

/// What is known of the policy in force.
#[derive(Debug, Default)]
pub(in crate::cli::serve) struct PolicyStatus(Mutex<PolicyState>);

impl PolicyStatus {
    pub(in crate::cli::serve) fn get(&self) -> PolicyState {
        self.0.lock().clone()
    }

    pub(super) fn set<T>(&self, change: impl FnOnce(&mut PolicyState) -> T) -> T {
        change(&mut self.0.lock())
    }

    pub(in crate::cli::serve) fn health(&self) -> Health {
        let state = self.get();
        if state.has_looked && state.is_required && state.loaded.origin == Origin::Flags {
            let absent = "there is no GuardPolicy, and --require-policy is given".to_owned();
            return Health::Missing(state.error.unwrap_or(absent));
        }
        if let Some(error) = state.error {
            return Health::Degraded(error);
        }
        if state.is_missing {
            let what = "the GuardPolicy has vanished; the last good one is in force";
            return Health::Degraded(what.to_owned());
        }
        match (state.loaded.origin, state.laxer) {
            _ if !state.has_looked => Health::Missing("not read yet".to_owned()),
            (Origin::Flags, Some(laxer)) => Health::Degraded(format!(
                "the GuardPolicy is gone, and the flags in force are laxer: {laxer}"
            )),
            (Origin::Flags, None) => {
                Health::Noted("there is no GuardPolicy, the flags are in force".to_owned())
            }
            (Origin::File | Origin::Object, _) => Health::Ok,
        }
    }

    /// Why nothing is evaluated, if the kill switch is on.
    pub(in crate::cli::serve) fn suspension(&self) -> Option<String> {
        self.0.lock().suspension.as_ref().map(ToString::to_string)
    }

    /// Until it is known what there is: a guard must not refuse what the policy would let pass.
    pub(in crate::cli::serve) async fn known(&self) {
        while matches!(self.health(), Health::Missing(_)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
