//! Releases that may have a claim on something other than an object: which of them are read, and in which
//! order.
//!
//! Invariants
//! - Those whose claim counts because of the namespace of their records come first, and are read
//!   whatever the others cost: records elsewhere can neither displace nor delay them.
//! - A few records elsewhere are read, from each namespace in turn: writing records in one namespace
//!   does not keep those of another from being read.
//! - Copies are not read, see [`super::elsewhere`].

use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use helm_guard_core::guard::{Reach, Trusts};
use tokio::time::timeout_at;

use super::{
    directory::Directory,
    key::StorageKey,
    read_through::{ReadAnswer, ReadThrough, ReadThroughError},
    view::ReleaseView,
};

/// Releases with records elsewhere that are read for one request.
const MOST_ELSEWHERE: usize = 16;

/// All of them at once: a slow one must not delay the others.
pub(super) const ELSEWHERE_AT_A_TIME: usize = MOST_ELSEWHERE;

/// How long these reads may take: time for the witnesses must remain.
pub(super) const ELSEWHERE_PATIENCE: Duration = Duration::from_millis(1200);

/// The storages of candidates.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Storages of releases that may count without a witness.
    pub counting: Vec<Arc<StorageKey>>,
    /// Storages of releases that need one, at most [`MOST_ELSEWHERE`].
    pub elsewhere: Vec<Arc<StorageKey>>,
    /// Whether there are more of these.
    pub(crate) is_cut: bool,
}

impl Directory {
    /// The candidates among all releases. `concerns` returns whether a release may have a claim and, if
    /// so, whether it may be on something in the namespace of its records.
    pub(super) fn whose_records_speak(
        &self,
        trusts: Trusts<'_>,
        concerns: impl Fn(&ReleaseView) -> Option<bool>,
    ) -> Candidates {
        let mut candidates = Candidates::default();
        let mut elsewhere: BTreeMap<Box<str>, VecDeque<Arc<StorageKey>>> = BTreeMap::new();
        for view in self.releases() {
            let Some(is_own) = concerns(&view) else {
                continue;
            };
            let storage = Arc::clone(&view.storage);
            match self.reach(&view, is_own, trusts) {
                Reach::Own | Reach::Trusted | Reach::Named => candidates.counting.push(storage),
                Reach::Elsewhere => {
                    let namespace = storage.namespace.clone();
                    elsewhere.entry(namespace).or_default().push_back(storage);
                }
                Reach::Copy => {}
            }
        }
        (candidates.elsewhere, candidates.is_cut) = in_turn(elsewhere);
        candidates
    }

    /// How far the records of a release reach, for a claim inside or outside of their own namespace.
    pub(super) fn reach(&self, view: &ReleaseView, is_own: bool, trusts: Trusts<'_>) -> Reach {
        let release = view.elsewhere();
        let is_copy = release.is_some_and(|release| self.is_recorded(release));
        match (is_own && !is_copy, is_copy) {
            (true, _) => Reach::Own,
            _ if trusts(&view.storage.namespace) => Reach::Trusted,
            (false, true) => Reach::Copy,
            (false, false) => Reach::Elsewhere,
        }
    }
}

/// One of each namespace, then a second one, and so on; and whether some are left out.
fn in_turn<T>(mut by_namespace: BTreeMap<Box<str>, VecDeque<T>>) -> (Vec<T>, bool) {
    let mut taken = Vec::new();
    while !by_namespace.is_empty() {
        for queue in by_namespace.values_mut() {
            if taken.len() == MOST_ELSEWHERE {
                return (taken, true);
            }
            taken.extend(queue.pop_front());
        }
        by_namespace.retain(|_, queue| !queue.is_empty());
    }
    (taken, false)
}

impl ReadThrough {
    /// Reads the current records of each release, this many at a time, until `take` has enough.
    ///
    /// # Errors
    /// When the time is over.
    pub(super) async fn read_each(
        &self,
        storages: Vec<Arc<StorageKey>>,
        at_a_time: usize,
        deadline: Instant,
        mut take: impl FnMut(ReadAnswer) -> ControlFlow<()>,
    ) -> Result<(), ReadThroughError> {
        let mut reads = futures_util::stream::iter(storages)
            .map(|storage| async move { self.read(&storage).await })
            .buffer_unordered(at_a_time);
        loop {
            match timeout_at(deadline.into(), reads.next()).await {
                Ok(Some(answer)) => {
                    if take(answer).is_break() {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(_) => return Err(ReadThroughError::Deadline),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_records_of_one_namespace_do_not_displace_those_of_another() {
        let queue = |stem: &str, many: usize| (0..many).map(|n| format!("{stem}{n}")).collect();
        let by_namespace = BTreeMap::from([
            (Box::from("evil"), queue("evil", 1000)),
            (Box::from("flux"), queue("flux", 2)),
        ]);
        let (taken, is_cut) = in_turn(by_namespace);
        assert_eq!(taken[..5], ["evil0", "flux0", "evil1", "flux1", "evil2"]);
        assert_eq!((taken.len(), is_cut), (MOST_ELSEWHERE, true));
        let few = BTreeMap::from([(Box::from("flux"), queue("flux", MOST_ELSEWHERE))]);
        assert!(!in_turn(few).1);
    }
}
