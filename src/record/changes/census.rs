//! Counts the emergency changes in the cluster by identity and namespace. Every replica watches them, and
//! keeps only a few fields of each.

use std::collections::{HashMap, HashSet};

use futures_util::StreamExt;
use helm_guard_core::api::{ChangeState, EmergencyChange, policy::alerts::AlertKind};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{ApiResource, Object},
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::cluster::ApiFailure;

/// The fields that are read: the patches of thousands of records would fill the memory.
type Brief = Object<BriefSpec, BriefStatus>;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct BriefSpec {
    user: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct BriefStatus {
    #[serde(default)]
    state: ChangeState,
    #[serde(default)]
    announced: Vec<AlertKind>,
}

/// The records that count toward the limits, as far as the watch has seen them.
#[derive(Debug, Default)]
pub struct Census(Mutex<CountedRecords>);

#[derive(Debug, Default)]
struct CountedRecords {
    /// The identities, by namespace and name of the record.
    records: HashMap<CensusKey, Box<str>>,
    /// Those that the current list has returned so far.
    listed: Option<HashSet<CensusKey>>,
    is_complete: bool,
}

type CensusKey = (Box<str>, Box<str>);

/// How many records there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordCounts {
    pub(super) in_cluster: usize,
    pub(super) in_namespace: usize,
    pub(super) of_identity: usize,
}

impl Census {
    /// Watches the records, for as long as it is polled.
    pub async fn follow(&self, client: Client) {
        let resource = ApiResource::erase::<EmergencyChange>(&());
        let api: Api<Brief> = Api::all_with(client, &resource);
        // Small pages: a record may have 60 KiB.
        let config = watcher::Config::default().page_size(100);
        let mut events = watcher::watcher(api, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event),
                // The leader logs the reason.
                Err(error) => {
                    tracing::debug!(error = %ApiFailure::from(&error), "failed to watch emergency changes");
                }
            }
        }
    }

    /// Adds a record that was just created, before the watch reports it.
    pub(super) fn add(&self, change: &EmergencyChange) {
        let key = key(change);
        let user = change.spec.user.as_str();
        self.0.lock().records.insert(key, user.into());
    }

    /// The counts without one record of this identity in this namespace. None until the first list is
    /// complete.
    pub(super) fn count(&self, user: &str, namespace: &str) -> Option<RecordCounts> {
        let known = self.0.lock();
        let of_identity = known.records.values().filter(|by| ***by == *user);
        let in_namespace = known.records.keys().filter(|(at, _)| **at == *namespace);
        known.is_complete.then(|| RecordCounts {
            in_cluster: known.records.len(),
            in_namespace: in_namespace.count(),
            of_identity: of_identity.count(),
        })
    }

    #[cfg(test)]
    pub(super) fn complete(&self) {
        self.take(watcher::Event::Init);
        self.take(watcher::Event::InitDone);
    }

    fn take(&self, event: watcher::Event<Brief>) {
        let mut known = self.0.lock();
        match event {
            watcher::Event::Init => known.listed = Some(HashSet::new()),
            watcher::Event::InitApply(change) => {
                if let Some(listed) = &mut known.listed {
                    listed.insert(key(&change));
                }
                known.put(change);
            }
            watcher::Event::InitDone => {
                if let Some(listed) = known.listed.take() {
                    known.records.retain(|key, _| listed.contains(key));
                }
                known.is_complete = true;
            }
            watcher::Event::Apply(change) => known.put(change),
            watcher::Event::Delete(change) => {
                known.records.remove(&key(&change));
            }
        }
    }
}

impl CountedRecords {
    fn put(&mut self, change: Brief) {
        let key = key(&change);
        if counts(&change.status.unwrap_or_default()) {
            self.records.insert(key, change.spec.user.into());
        } else {
            self.records.remove(&key);
        }
    }
}

/// A `Void` record does not count once it has been announced: otherwise an identity whose requests fail would
/// fill the limit. One that has not been announced counts, since it cannot be removed yet.
fn counts(status: &BriefStatus) -> bool {
    status.state != ChangeState::Void || !status.announced.contains(&AlertKind::Settled)
}

fn key<K: Resource>(change: &K) -> CensusKey {
    let namespace = change.namespace().unwrap_or_default();
    (namespace.into(), change.name_any().into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(name: &str, user: &str, status: &serde_json::Value) -> Brief {
        let record = json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "EmergencyChange",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"user": user, "patch": "[]"}, "status": status,
        });
        serde_json::from_value(record).unwrap()
    }

    fn counts_of(census: &Census) -> Option<(usize, usize, usize)> {
        let count = census.count("ada", "shop")?;
        Some((count.in_cluster, count.in_namespace, count.of_identity))
    }

    #[test]
    fn nothing_is_counted_before_the_first_list_is_complete() {
        let census = Census::default();
        let open = json!({"state": "Open"});
        census.take(watcher::Event::Init);
        census.take(watcher::Event::InitApply(record("a", "ada", &open)));
        assert_eq!(counts_of(&census), None);
        census.take(watcher::Event::InitDone);
        assert_eq!(counts_of(&census), Some((1, 1, 1)));
        census.take(watcher::Event::Apply(record("b", "bob", &json!(null))));
        assert_eq!(counts_of(&census), Some((2, 2, 1)));
        // A new list does not contain it.
        census.take(watcher::Event::Init);
        census.take(watcher::Event::InitApply(record("b", "bob", &open)));
        census.take(watcher::Event::InitDone);
        assert_eq!(counts_of(&census), Some((1, 1, 0)));
        census.take(watcher::Event::Delete(record("b", "bob", &open)));
        assert_eq!(counts_of(&census), Some((0, 0, 0)));
    }

    #[test]
    fn a_void_change_does_not_count_once_it_was_announced() {
        let census = Census::default();
        census.take(watcher::Event::Init);
        census.take(watcher::Event::InitDone);
        for (status, expected) in [
            (json!({"state": "Pending"}), 1),
            (json!({"state": "Void", "announced": ["BreakGlass"]}), 1),
            (
                json!({"state": "Void", "announced": ["BreakGlass", "Settled"]}),
                0,
            ),
            (
                json!({"state": "Absorbed", "announced": ["BreakGlass", "Settled"]}),
                1,
            ),
        ] {
            census.take(watcher::Event::Apply(record("a", "ada", &status)));
            assert_eq!(counts_of(&census).unwrap().0, expected, "{status}");
        }
    }
}
