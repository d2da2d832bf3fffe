//! Whether the API server got an answer to each of its calls of a guard.
//!
//! The webhook fails open, so a write that nobody evaluated looks like an allowed one. While a guard serves, the API
//! server's own counter may not grow. It is read at the end of each [`Namespace`](crate::Namespace) and of each
//! [`Guard`](crate::Guard), so no test passes because the guard was not asked.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use crate::Kubectl;

const COUNTER: &str = "apiserver_admission_webhook_fail_open_count{";

/// The entries of a guard's registration; tests register other webhooks too.
const ENTRIES: &str = "helm-guard.dev\"";

/// The API server's counter, and what of it has been accounted for.
#[derive(Debug)]
pub(crate) struct FailOpen {
    kubectl: Kubectl,
    admin: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Guards that must answer every call.
    guards: usize,
    /// Calls without an answer that were expected, or reported.
    known: u64,
}

impl FailOpen {
    pub(crate) fn new(kubectl: Kubectl, admin: PathBuf) -> Self {
        Self {
            kubectl,
            admin,
            state: Mutex::default(),
        }
    }

    /// How often the API server allowed a request because a guard did not answer. Panics if it does not say.
    pub(crate) fn count(&self) -> u64 {
        let kubectl = self.kubectl.cmd(&self.admin);
        let metrics = kubectl.args(["get", "--raw=/metrics"]).ok().stdout;
        assert!(
            metrics.contains("# TYPE apiserver_"),
            "the API server's metrics have another format"
        );
        metrics
            .lines()
            .filter(|line| line.starts_with(COUNTER) && line.contains(ENTRIES))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum()
    }

    /// A guard begins to serve. What failed open while none did is no finding.
    pub(crate) fn begin(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.guards == 0 {
            state.known = self.count();
        }
        state.guards += 1;
    }

    /// A guard no longer has to answer. Returns the calls that got no answer so far.
    pub(crate) fn end(&self) -> MissedCalls {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = state.missed(|| self.count());
        state.guards = state.guards.saturating_sub(1);
        missed
    }

    /// The calls that got no answer while a guard served. Each is returned once.
    pub(crate) fn missed(&self) -> MissedCalls {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.missed(|| self.count())
    }
}

impl State {
    fn missed(&mut self, count: impl FnOnce() -> u64) -> MissedCalls {
        if self.guards == 0 {
            return MissedCalls(0);
        }
        let count = count();
        let missed = count.saturating_sub(self.known);
        self.known = count;
        MissedCalls(missed)
    }
}

/// The number of calls that got no answer.
#[derive(Debug)]
#[must_use]
pub(crate) struct MissedCalls(u64);

impl MissedCalls {
    /// Panics if there are any.
    pub(crate) fn report(self) {
        let Self(calls) = self;
        assert!(
            calls == 0,
            "the API server allowed {calls} requests because the guard did not answer"
        );
    }
}
