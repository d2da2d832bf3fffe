//! The dependencies of the handler, and the purposes of a request.

use std::{fmt::Debug, sync::Arc, time::Instant};

use futures_util::{FutureExt, future::BoxFuture};
use helm_guard_core::api::EmergencyChangeSpec;

use crate::{
    record::{
        Recorder,
        changes::{Changes, PersistError, Persisted},
    },
    review::{Entry, Reviewer},
    webhook::intake::Intake,
};

/// The store for the records of emergency changes.
pub(crate) trait EmergencyStore: Debug + Send + Sync {
    /// Persists a record, unless it exists.
    fn persist<'a>(
        &'a self,
        change: &'a EmergencyChangeSpec,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Persisted, PersistError>>;
}

impl EmergencyStore for Changes {
    fn persist<'a>(
        &'a self,
        change: &'a EmergencyChangeSpec,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Persisted, PersistError>> {
        self.store(change, deadline).boxed()
    }
}

/// The dependencies of the handler.
#[derive(Debug)]
pub(crate) struct Webhook<S> {
    /// Reaches verdicts and decisions.
    pub(crate) reviewer: Reviewer<S>,
    /// Persists the records of emergency changes.
    pub(crate) emergencies: Box<dyn EmergencyStore>,
    /// Records decisions.
    pub(crate) recorder: Arc<Recorder>,
    /// Takes the bodies of reviews.
    pub(crate) intake: Intake,
}

/// The purpose of a request, by its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The API server asks whether a change is allowed.
    Verdict(Entry, OnDoubt),
    /// The record of an emergency identity's action: nothing is evaluated.
    EmergencyActivity,
}

/// What an entry does with an indeterminate request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDoubt {
    /// It is allowed with a warning.
    Pass,
    /// The API server gets an error, and applies the entry's `failurePolicy`.
    Fail,
}

/// The answer to a review.
pub(super) enum Reply {
    /// An `AdmissionReview`.
    Review(Vec<u8>),
    /// The error.
    Undecided(String),
}
