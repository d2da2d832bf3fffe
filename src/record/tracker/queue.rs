//! The known changes, and when each is due for a look.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

use helm_guard_core::api::{ChangeState, EmergencyChange, policy::alerts::AlertRate};
use jiff::{SignedDuration, Timestamp};
use kube::runtime::watcher::Event;

use super::{
    change::{ChangeKey, state},
    grouping::{self, MissingAlerts},
};

struct Entry {
    change: EmergencyChange,
    /// None: at once.
    due: Option<Instant>,
}

#[derive(Default)]
pub(super) struct ChangeQueue {
    entries: HashMap<ChangeKey, Entry>,
    /// Those that the current list has returned so far.
    listed: Option<HashSet<ChangeKey>>,
    is_complete: bool,
}

impl ChangeQueue {
    /// Applies a watch event.
    pub(super) fn take(&mut self, event: Event<EmergencyChange>, now: Instant) {
        match event {
            Event::Init => self.listed = Some(HashSet::new()),
            Event::InitApply(change) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(ChangeKey::of(&change));
                }
                self.put(change, now);
            }
            Event::InitDone => {
                if let Some(listed) = self.listed.take() {
                    self.entries.retain(|key, _| listed.contains(key));
                }
                self.is_complete = true;
            }
            Event::Apply(change) => self.put(change, now),
            Event::Delete(change) => {
                self.entries.remove(&ChangeKey::of(&change));
            }
        }
    }

    /// Whether the first list is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Stores the current state of a change. The echo of a known state does not bring the next look forward.
    pub(super) fn put(&mut self, change: EmergencyChange, due: Instant) {
        let key = ChangeKey::of(&change);
        let known = self.entries.get(&key);
        let version = &change.metadata.resource_version;
        if known.is_some_and(|known| known.change.metadata.resource_version == *version) {
            return;
        }
        let due = Some(due);
        self.entries.insert(key, Entry { change, due });
    }

    /// Stores a change that was written without a new state: its next look stays as planned.
    pub(super) fn announced(&mut self, change: EmergencyChange) {
        if let Some(entry) = self.entries.get_mut(&ChangeKey::of(&change)) {
            entry.change = change;
        }
    }

    /// The alerts that the sinks have not accepted.
    pub(super) fn missing_alerts(&self, rate: AlertRate, now: Timestamp) -> MissingAlerts {
        let entries = self.entries.iter();
        grouping::missing_alerts(entries.map(|(key, entry)| (key, &entry.change)), rate, now)
    }

    pub(super) fn get(&self, key: &ChangeKey) -> Option<&EmergencyChange> {
        self.entries.get(key).map(|entry| &entry.change)
    }

    pub(super) fn schedule(&mut self, key: &ChangeKey, due: Instant) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.due = Some(due);
        }
    }

    pub(super) fn all_due(&mut self) {
        for entry in self.entries.values_mut() {
            entry.due = None;
        }
    }

    /// The open changes that are due, the most overdue first.
    pub(super) fn due(&self, now: Instant, most: usize) -> Vec<ChangeKey> {
        let mut due: Vec<(Option<Instant>, &ChangeKey)> = self
            .entries
            .iter()
            .filter(|(_, entry)| !state(&entry.change).is_resolved())
            .filter(|(_, entry)| entry.due.is_none_or(|due| due <= now))
            .map(|(key, entry)| (entry.due, key))
            .collect();
        due.sort_by_key(|(due, _)| *due);
        let due = due.into_iter().take(most);
        due.map(|(_, key)| key.clone()).collect()
    }

    /// The number of changes in each state.
    pub(super) fn by_state(&self) -> BTreeMap<ChangeState, u64> {
        let mut counts = BTreeMap::new();
        for entry in self.entries.values() {
            *counts.entry(state(&entry.change)).or_default() += 1;
        }
        counts
    }

    /// The oldest void, announced changes beyond the given number.
    pub(super) fn excess_void(&self, most: usize, now: Timestamp) -> Vec<&EmergencyChange> {
        let changes = self.entries.values().map(|entry| &entry.change);
        let is_void = |change: &&EmergencyChange| state(change) == ChangeState::Void;
        let mut void: Vec<_> = changes.filter(is_void).collect();
        let surplus = void.len().saturating_sub(most);
        if surplus == 0 {
            return Vec::new();
        }
        void.retain(|change| grouping::next(change, now).is_none());
        void.sort_by_key(|change| change.spec.at.0);
        void.truncate(surplus);
        void
    }

    /// The changes that were resolved before the given time.
    pub(super) fn settled_before(
        &self,
        now: Timestamp,
        retention: SignedDuration,
    ) -> Vec<&EmergencyChange> {
        let is_old = |change: &EmergencyChange| {
            let status = change.status.as_ref();
            let since = status.and_then(|status| status.since.as_ref());
            state(change).is_resolved()
                && since.is_some_and(|since| now.duration_since(since.0) > retention)
        };
        let changes = self.entries.values().map(|entry| &entry.change);
        changes.filter(|change| is_old(change)).collect()
    }
}
