//! Alerts about the guard itself: that its policy became less strict, that it was switched off, or does not work.
//!
//! Every replica sends what it sees. The keys are the same on all of them, so that sinks that deduplicate by
//! key show one.

use helm_guard_core::{api::policy::alerts::AlertKind, policy::alerts::template::AlertDetail};
use jiff::{SignedDuration, Timestamp};

use super::alert::{Alert, AlertStatus, after};

/// How long such an alert is active: it is resolved explicitly.
const ACTIVE_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Alert {
    /// An alert about the guard. `what` is its subject, the same on all replicas.
    pub fn of_guard(kind: AlertKind, what: &str, summary: &str, now: Timestamp) -> Self {
        let key = match what {
            "" => format!("guard/{}", kind.as_str()),
            what => format!("guard/{}/{what}", kind.as_str()),
        };
        Self::firing(kind, &key, summary, now)
    }

    /// Active until it is resolved.
    #[must_use]
    pub fn until_resolved(mut self) -> Self {
        self.until = after(self.at, ACTIVE_FOR);
        self
    }

    /// The alert that ends this one.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        self.status = AlertStatus::Resolved;
        self.until = self.at;
        self
    }

    /// With a multi-line detail.
    #[must_use]
    pub fn with_lines(self, lines: &[String]) -> Self {
        self.with(AlertDetail::Fields, &lines.join("\n"))
    }
}
