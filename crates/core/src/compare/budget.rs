//! A limit on the work of one comparison: the safety net below the bounds of each part.
//!
//! No comparison of realistic objects is quadratic. A crafted object may still be, so every step is
//! counted, and a comparison that runs out of steps ends. It never ends as "no drift": the rest of the
//! object counts as changed.

use std::cell::Cell;

/// Enough for the largest object that an API server stores, with realistic nesting: well under a
/// second.
const MOST_STEPS: u64 = 10_000_000;

/// Bytes that are scanned in one step.
const BYTES_A_STEP: usize = 32;

/// The remaining steps of one comparison, shared by all of its parts.
#[derive(Debug)]
pub struct StepBudget {
    left: Cell<u64>,
}

impl Default for StepBudget {
    fn default() -> Self {
        Self::of(MOST_STEPS)
    }
}

impl StepBudget {
    /// A budget of this many steps.
    pub fn of(most: u64) -> Self {
        Self {
            left: Cell::new(most),
        }
    }

    /// Takes a step; false once none is left.
    pub fn step(&self) -> bool {
        self.take(1)
    }

    /// Takes the steps for scanning a text of this length, which opening it needs.
    pub fn read(&self, bytes: usize) -> bool {
        self.take((bytes / BYTES_A_STEP) as u64 + 1)
    }

    fn take(&self, steps: u64) -> bool {
        let left = self.left.get().saturating_sub(steps);
        self.left.set(left);
        left > 0
    }

    /// Whether no step is left: later results are unreliable.
    pub(crate) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    /// The number of steps taken of the default.
    #[cfg(test)]
    pub(crate) fn spent(&self) -> u64 {
        MOST_STEPS - self.left.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_stays_spent() {
        let budget = StepBudget::of(3);
        assert!(budget.step() && budget.step() && !budget.is_spent());
        assert!(!budget.step() && budget.is_spent());
        assert!(!budget.read(10_000) && budget.is_spent());
    }

    #[test]
    fn text_costs_by_its_length() {
        let budget = StepBudget::default();
        assert!(budget.read(BYTES_A_STEP * 100));
        assert_eq!(budget.spent(), 101);
    }
}
