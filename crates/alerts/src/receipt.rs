//! The delivery state of one alert.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::AlertOutcome;

/// Covers all the sinks that the alert was queued for.
#[derive(Clone, Debug, Default)]
pub struct Receipt(Arc<Tally>);

#[derive(Debug, Default)]
struct Tally {
    waiting: AtomicUsize,
    sent: AtomicUsize,
    lost: AtomicUsize,
}

/// The delivery state of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// No sink has accepted it yet.
    Waiting,
    /// A sink has accepted it, or no sink wants it.
    Told,
    /// All sinks failed.
    Lost,
}

impl Receipt {
    pub(super) fn queued(&self) {
        self.0.waiting.fetch_add(1, SeqCst);
    }

    /// Records the outcome for one sink.
    pub(super) fn done(&self, outcome: AlertOutcome) {
        let tally = match outcome {
            AlertOutcome::Sent | AlertOutcome::Deduplicated => &self.0.sent,
            AlertOutcome::Failed | AlertOutcome::Dropped => &self.0.lost,
        };
        tally.fetch_add(1, SeqCst);
        self.0.waiting.fetch_sub(1, SeqCst);
    }

    /// The delivery state.
    pub fn delivery(&self) -> Delivery {
        let of = |count: &AtomicUsize| count.load(SeqCst);
        match (of(&self.0.waiting), of(&self.0.sent), of(&self.0.lost)) {
            (1.., _, _) => Delivery::Waiting,
            (0, 0, 1..) => Delivery::Lost,
            _ => Delivery::Told,
        }
    }
}
