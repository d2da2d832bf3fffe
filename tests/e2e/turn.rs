//! A test that runs its own guards.

use std::path::Path;

use testbed::{Guard, GuardConfig, shared, turns::Alone};

use crate::{scene::ONCALL_GROUP, world};

/// The right to run alone, and the configuration of the guards of these tests.
pub struct Turn(#[allow(dead_code, reason = "held, not read")] Alone);

impl Turn {
    /// Waits for other tests. No guard runs then, and none is registered, whatever a failed test left.
    pub fn take() -> Self {
        let turn = Self(Alone::take());
        world::stop();
        world::clear();
        turn
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
