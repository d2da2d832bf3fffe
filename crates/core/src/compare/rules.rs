//! How values are compared: what is the same to the API server, and how much may be read.

use super::budget::Budget;

/// What happens to an empty list that a client sends.
///
/// Built-in kinds are stored as protocol buffers, which can not tell an empty list from none; custom
/// resources are stored as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empties {
    /// Dropped: `[]` is no list.
    Dropped,
    /// Kept: `[]` is a value.
    Kept,
}

/// How values are held against each other.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'b> {
    /// What happens to empty values.
    pub empties: Empties,
    /// The steps that are left; once it is spent, nothing is the same or satisfied any more.
    pub budget: &'b Budget,
}
