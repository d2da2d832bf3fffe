//! The status of the policy in force, for probes and metrics.

use std::time::Duration;

use helm_guard_core::policy::suspension::Suspension;
use parking_lot::Mutex;

use crate::webhook::admin::Health;

/// The source of the policy in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli::serve) enum Origin {
    #[default]
    Flags,
    File,
    Object,
}

impl Origin {
    /// The name in metrics.
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

/// The identity of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli::serve) struct Loaded {
    pub(in crate::cli::serve) origin: Origin,
    /// A recreated object has another uid and starts again at generation 1.
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

/// The policy in force, and the problems of the latest one.
#[derive(Clone, Debug, Default)]
pub(in crate::cli::serve) struct PolicyState {
    pub(in crate::cli::serve) loaded: Loaded,
    /// Whether the policy has been read.
    pub(in crate::cli::serve) has_looked: bool,
    /// Whether an object is required.
    pub(in crate::cli::serve) is_required: bool,
    /// Whether the object of the policy in force is missing.
    pub(in crate::cli::serve) is_missing: bool,
    /// Where the flags are less strict than the previous object.
    pub(in crate::cli::serve) less_strict: Option<String>,
    /// What the flags allow and the policy of the object does not.
    pub(in crate::cli::serve) overridden: Vec<String>,
    /// Why nothing is evaluated.
    pub(in crate::cli::serve) suspension: Option<Suspension>,
    /// The error of the policy that was read last.
    pub(in crate::cli::serve) error: Option<String>,
    pub(in crate::cli::serve) taken: u64,
    pub(in crate::cli::serve) refused: u64,
}

/// The shared status of the policy in force.
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
            let absent = "there is no GuardPolicy, but --require-policy is set".to_owned();
            return Health::Missing(state.error.unwrap_or(absent));
        }
        if let Some(error) = state.error {
            return Health::Degraded(error);
        }
        if state.is_missing {
            let what = "the GuardPolicy is missing; the last valid one is in force";
            return Health::Degraded(what.to_owned());
        }
        match (state.loaded.origin, state.less_strict) {
            _ if !state.has_looked => Health::Missing("not read yet".to_owned()),
            (Origin::Flags, Some(less_strict)) => Health::Degraded(format!(
                "the GuardPolicy is gone, and the flags in force are less strict: {less_strict}"
            )),
            (Origin::Flags, None) => {
                Health::Noted("there is no GuardPolicy, the flags are in force".to_owned())
            }
            (Origin::Object, _) if !state.overridden.is_empty() => Health::Noted(format!(
                "the GuardPolicy replaces the flags: {}",
                state.overridden.join("; ")
            )),
            (Origin::File | Origin::Object, _) => Health::Ok,
        }
    }

    /// Why nothing is evaluated, if the kill switch is on.
    pub(in crate::cli::serve) fn suspension(&self) -> Option<String> {
        self.0.lock().suspension.as_ref().map(ToString::to_string)
    }

    /// Waits until the policy is read: a guard must not deny what the policy would allow.
    pub(in crate::cli::serve) async fn known(&self) {
        while matches!(self.health(), Health::Missing(_)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
