//! What the guard says of itself: that it became laxer, was switched off, or does not work.
//!
//! Every replica says what it sees. The keys are the same on all of them, so that sinks which know alerts by
//! their keys show one.

use helm_guard_core::{api::policy::alerts::AlertKind, policy::alerts::template::Detail};
use jiff::{SignedDuration, Timestamp};

use super::alert::{Alert, Status, after};

/// How long such an alert stands: it is taken back when it is over.
const STANDS: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Alert {
    /// The guard says something of itself. `what` is what it is about, and the same on all replicas.
    pub fn of_guard(kind: AlertKind, what: &str, summary: &str, now: Timestamp) -> Self {
        let key = match what {
            "" => format!("guard/{}", kind.as_str()),
            what => format!("guard/{}/{what}", kind.as_str()),
        };
        Self::firing(kind, &key, summary, now)
    }

    /// It stands until it is taken back.
    #[must_use]
    pub fn until_resolved(mut self) -> Self {
        self.until = after(self.at, STANDS);
        self
    }

    /// It is over.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        self.status = Status::Resolved;
        self.until = self.at;
        self
    }

    /// With the lines of a list.
    #[must_use]
    pub fn with_lines(self, lines: &[String]) -> Self {
        self.with(Detail::Fields, &lines.join("\n"))
    }
}
