//! What answers depend on, and what a request can be for.

use std::{fmt::Debug, sync::Arc, time::Instant};

use futures_util::{FutureExt, future::BoxFuture};
use helm_guard_core::api::EmergencyChangeSpec;

use crate::{
    record::{
        Recorder,
        changes::{Changes, Persisted, Unkept},
    },
    review::{Entry, Reviewer},
    webhook::intake::Intake,
};

/// Where the records of emergency changes are persisted.
pub(crate) trait EmergencyStore: Debug + Send + Sync {
    /// Persists a record, unless it is there.
    fn persist<'a>(
        &'a self,
        change: &'a EmergencyChangeSpec,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Persisted, Unkept>>;
}

impl EmergencyStore for Changes {
    fn persist<'a>(
        &'a self,
        change: &'a EmergencyChangeSpec,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Persisted, Unkept>> {
        self.keep(change, deadline).boxed()
    }
}

/// Everything that answers depend on.
#[derive(Debug)]
pub(crate) struct Webhook<S> {
    /// Reaches verdicts and decisions.
    pub reviewer: Reviewer<S>,
    /// Persists the records of emergency changes.
    pub emergencies: Box<dyn EmergencyStore>,
    /// Keeps what was decided.
    pub recorder: Arc<Recorder>,
    /// Takes the bodies of reviews.
    pub intake: Intake,
}

/// What a request came through the registration for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A verdict.
    Verdict(Entry, OnDoubt),
    /// The record of what an emergency identity does: nothing is evaluated.
    EmergencyActivity,
}

/// What an entry does with a request that nobody can evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDoubt {
    /// It passes with a warning.
    Pass,
    /// The API server gets an error, and does what the entry's `failurePolicy` says.
    Fail,
}

/// What a review is answered with.
pub(super) enum Reply {
    /// An `AdmissionReview`.
    Review(Vec<u8>),
    /// The reason for which there is none.
    Undecided(String),
}
