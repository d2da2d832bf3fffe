//! One guard at a time.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use testbed::{Guard, GuardConfig, shared};

use crate::scene::ONCALL_GROUP;

static TURN: Mutex<()> = Mutex::new(());

/// The lock for running a guard, and the configuration of the guards of these tests.
pub struct Turn(#[allow(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Turn {
    /// Waits for other tests. A failed test does not block the rest.
    pub fn take() -> Self {
        Self(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As an administrator, with JSON lines and a short drain.
    pub fn config(mode: &str) -> GuardConfig<'_> {
        let binary = Path::new(env!("CARGO_BIN_EXE_helm-guard"));
        GuardConfig::new(binary, shared().admin(), mode)
            .args(["--log-format", "json"])
            .args(["--drain-delay", "200ms"])
            .args(["--break-glass-group", ONCALL_GROUP])
    }

    /// Starts a guard and waits until it is ready.
    pub fn guard(&self, mode: &str) -> Guard {
        self.start(Self::config(mode))
    }

    /// Starts a guard of this configuration and waits until it is ready.
    #[allow(clippy::unused_self, reason = "holding the lock is the point")]
    pub fn start(&self, config: GuardConfig<'_>) -> Guard {
        Guard::start(shared(), config).unwrap_or_else(|error| panic!("{error}"))
    }
}
