//! The counts of a run.

use std::ops::AddAssign;

/// The outcome of an attempt to change or remove a declared field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guard denied it.
    Denied,
    /// The API server itself rejected it: invalid, or the field is immutable.
    Api,
    /// The API server accepted the request and nothing changed: it pruned or restored the value.
    Unchanged,
    /// It would have been stored.
    Missed,
    /// The time for the chart was over.
    NotTried,
}

/// The count of each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Denied by the guard.
    pub denied: usize,
    /// Refused by the API server itself.
    pub api: usize,
    /// Without effect.
    pub unchanged: usize,
    /// Got past the guard.
    pub missed: usize,
    /// Not tried, because the time was over.
    pub not_tried: usize,
}

impl Outcomes {
    /// Counts one more.
    pub fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Denied => &mut self.denied,
            Outcome::Api => &mut self.api,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Missed => &mut self.missed,
            Outcome::NotTried => &mut self.not_tried,
        } += 1;
    }
}

impl AddAssign for Outcomes {
    fn add_assign(&mut self, other: Self) {
        self.denied += other.denied;
        self.api += other.api;
        self.unchanged += other.unchanged;
        self.missed += other.missed;
        self.not_tried += other.not_tried;
    }
}

/// The counts of one object, one stage or one chart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Declared objects that were tried.
    pub objects: usize,
    /// Declared objects of kinds and namespaces for which no webhook, or not this one, is called.
    pub exempt: usize,
    /// Missing declared objects, for example a Job that its TTL removed.
    pub absent: usize,
    /// Deletes of declared objects.
    pub deletes: Outcomes,
    /// Declared values changed to another value.
    pub changed: Outcomes,
    /// Declared values, list items and whole branches removed.
    pub removed: Outcomes,
    /// Writes that change nothing declared and were allowed.
    pub writes_passed: usize,
    /// Such writes that the API server itself rejected.
    pub writes_api: usize,
    /// Such writes that the guard denied, and denials of requests that would have changed nothing.
    pub false_denials: usize,
    /// Attempts that the guard allowed without evaluation at first, with a warning: the machine was too busy.
    pub late: usize,
    /// Objects that could not be tried because a request failed.
    pub errors: usize,
    /// What scans of the release found.
    pub scans: Scans,
}

/// The counts of scans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scans {
    /// Scans after a step of Helm.
    pub after_helm: usize,
    /// Changes by hand that a scan found.
    pub found: usize,
    /// Changes by hand that a scan did not find.
    pub missed: usize,
    /// Findings without a change by hand.
    pub unfounded: usize,
    /// Consequences that a real upgrade did not have.
    pub mispredicted: usize,
}

impl Scans {
    /// Whether a scan was wrong.
    pub fn are_right(&self) -> bool {
        self.missed + self.unfounded + self.mispredicted == 0
    }
}

impl AddAssign for Scans {
    fn add_assign(&mut self, other: Self) {
        self.after_helm += other.after_helm;
        self.found += other.found;
        self.missed += other.missed;
        self.unfounded += other.unfounded;
        self.mispredicted += other.mispredicted;
    }
}

impl Tally {
    /// Deletes, changes and removals that got past the guard.
    pub fn missed(&self) -> usize {
        self.deletes.missed + self.changed.missed + self.removed.missed
    }

    /// What remained when the time was over.
    pub fn not_tried(&self) -> usize {
        self.deletes.not_tried + self.changed.not_tried + self.removed.not_tried
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.exempt += other.exempt;
        self.absent += other.absent;
        self.deletes += other.deletes;
        self.changed += other.changed;
        self.removed += other.removed;
        self.writes_passed += other.writes_passed;
        self.writes_api += other.writes_api;
        self.false_denials += other.false_denials;
        self.late += other.late;
        self.errors += other.errors;
        self.scans += other.scans;
    }
}
