//! What became of an alert that somebody wants to know about.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::Outcome;

/// Of one alert, at all the sinks that it was raised for.
#[derive(Clone, Debug, Default)]
pub struct Receipt(Arc<Tally>);

#[derive(Debug, Default)]
struct Tally {
    waiting: AtomicUsize,
    sent: AtomicUsize,
    lost: AtomicUsize,
}

/// How far an alert has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A sink has not had it yet.
    Waiting,
    /// A sink has it, or none wants it.
    Told,
    /// No sink has it.
    Lost,
}

impl Receipt {
    pub(super) fn queued(&self) {
        self.0.waiting.fetch_add(1, SeqCst);
    }

    /// What became of it at one sink that it was queued for.
    pub(super) fn done(&self, outcome: Outcome) {
        let tally = match outcome {
            Outcome::Sent | Outcome::Deduplicated => &self.0.sent,
            Outcome::Failed | Outcome::Dropped => &self.0.lost,
        };
        tally.fetch_add(1, SeqCst);
        self.0.waiting.fetch_sub(1, SeqCst);
    }

    /// How far it has come.
    pub fn delivery(&self) -> Delivery {
        let of = |count: &AtomicUsize| count.load(SeqCst);
        match (of(&self.0.waiting), of(&self.0.sent), of(&self.0.lost)) {
            (1.., _, _) => Delivery::Waiting,
            (0, 0, 1..) => Delivery::Lost,
            _ => Delivery::Told,
        }
    }
}
