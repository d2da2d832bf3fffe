//! What is known of the policy in force, for probes and metrics.

use std::time::Duration;

use helm_guard_core::policy::suspension::Suspension;
use parking_lot::Mutex;

use crate::{record::metrics::figures::PolicyFigures, webhook::admin::Health};

/// Where the policy comes from that is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Origin {
    #[default]
    Flags,
    File,
    Object,
}

impl Origin {
    /// The word in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Flags => "flags",
            Self::File => "file",
            Self::Object => "object",
        }
    }

    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Flags => "the flags",
            Self::File => "the file",
            Self::Object => "the GuardPolicy",
        }
    }
}

/// Which policy it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) origin: Origin,
    /// An object that is made anew begins again at generation 1.
    pub(super) uid: String,
    pub(super) generation: i64,
}

impl Loaded {
    pub(super) fn from(origin: Origin) -> Self {
        Self {
            origin,
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) loaded: Loaded,
    /// Whether it has been found out what there is.
    pub(super) has_looked: bool,
    /// Whether the guard is to work without an object.
    pub(super) is_required: bool,
    /// Whether the object of the policy in force has vanished.
    pub(super) is_missing: bool,
    /// In what the flags are laxer than the object that was there before.
    pub(super) laxer: Option<String>,
    /// Why nothing is evaluated.
    pub(super) suspension: Option<Suspension>,
    /// What is wrong with what was read last.
    pub(super) error: Option<String>,
    pub(super) taken: u64,
    pub(super) refused: u64,
}

/// What is known of the policy in force.
#[derive(Debug, Default)]
pub(in crate::cli::serve) struct Standing(Mutex<State>);

impl Standing {
    pub(super) fn get(&self) -> State {
        self.0.lock().clone()
    }

    pub(super) fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
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

    /// All but the mode, which the policy itself knows.
    pub(in crate::cli::serve) fn figures(&self) -> PolicyFigures {
        let state = self.get();
        PolicyFigures {
            source: state.loaded.origin.as_str(),
            generation: state.loaded.generation,
            mode: "",
            last_reload_successful: state.error.is_none(),
            is_suspended: state.suspension.is_some(),
            is_missing: state.is_missing,
            reloads: vec![("ok", state.taken), ("error", state.refused)],
        }
    }

    /// Until it is known what there is: a guard must not refuse what the policy would let pass.
    pub(in crate::cli::serve) async fn known(&self) {
        while matches!(self.health(), Health::Missing(_)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
