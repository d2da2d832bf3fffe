//! Differences with whole values, for what a program does with them: compare long texts line by line, and restore.
//!
//! Invariants
//! - The value of a Secret is never among them.
//! - They are kept only where somebody asked for them ([`Redactor::keeping_values`]): a report without them is small.
//!
//! [`Redactor::keeping_values`]: crate::compare::redact::Redactor::keeping_values

use serde_json::Value;

use super::repair::{FieldRepair, NoRepair};
use crate::compare::Json;

/// A difference as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactDifference {
    /// The declared value; of a missing object, the object.
    pub declared: Option<Value>,
    /// The value in the cluster.
    pub live: Option<Value>,
    /// How the declared value is restored.
    pub repair: Result<FieldRepair, NoRepair>,
}

/// Both values of a field, as JSON text.
#[derive(Clone, Copy)]
pub(super) struct DifferingTexts<'a> {
    pub(super) declared: Option<Json<'a>>,
    pub(super) live: Option<Json<'a>>,
}
