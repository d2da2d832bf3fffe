//! The rules of a comparison: which values the API server treats as equal, and how many steps it may take.

use super::budget::StepBudget;

/// How the API server stores an empty list that a client sends.
///
/// Built-in kinds are stored as protocol buffers, which cannot distinguish an empty list from none.
/// Custom resources are stored as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyListPolicy {
    /// Dropped: `[]` equals an absent list.
    Dropped,
    /// Kept: `[]` is a value.
    Kept,
}

/// The rules by which values are compared.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'b> {
    /// What happens to empty values.
    pub empties: EmptyListPolicy,
    /// The remaining steps. Once it is spent, nothing is the same or satisfied anymore.
    pub budget: &'b StepBudget,
}
