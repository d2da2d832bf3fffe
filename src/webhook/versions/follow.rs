//! The task that updates the needed versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Conversions, Needed, needed};
use crate::{
    cluster::{
        Crds,
        served::{Served, served},
    },
    releases::{DeclaredKind, Releases},
    webhook::registration::version_entries::{UnclaimedEntries, VersionEntry},
};

/// The inputs and the output of the task.
pub(crate) struct Following {
    /// The API server, for discovery.
    pub(crate) client: Client,
    /// The declared kinds.
    pub(crate) releases: Releases,
    /// Reports changed CRDs.
    pub(crate) crds: Arc<Crds>,
    /// The output.
    pub(crate) conversions: Arc<Conversions>,
    pub(crate) pace: DiscoveryIntervals,
}

/// When to run discovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiscoveryIntervals {
    /// The check for changes; changes in between are combined.
    pub(crate) look: Duration,
    /// Discovery after a changed CRD: its versions are served some time after the CRD was written.
    pub(crate) settling: Duration,
    /// Discovery after a failure.
    pub(crate) retry: Duration,
    /// Discovery without a known change: API servers are upgraded, too.
    pub(crate) refresh: Duration,
    /// How long a version stays registered after no release declares it anymore: an uninstalled
    /// release is often reinstalled, and another replica may notice it a moment later.
    pub(crate) grace: Duration,
}

impl Default for DiscoveryIntervals {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(1),
            settling: Duration::from_secs(10),
            retry: Duration::from_secs(15),
            refresh: Duration::from_secs(600),
            grace: Duration::from_secs(30),
        }
    }
}

/// Follows the index and discovery. Does not return.
pub(crate) async fn follow(following: Following) {
    let Following {
        client,
        releases,
        crds,
        conversions,
        pace,
    } = following;
    let mut looks = interval(pace.look);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut knowledge = Knowledge::new(crds.generation());
    let mut index = None;
    let mut declared = BTreeSet::new();
    let mut leaving = Leaving::default();
    loop {
        looks.tick().await;
        // An unhealthy watch knows fewer releases than there are, or outdated ones.
        let stats = releases.stats();
        if !releases.readiness().ready || stats.watches_healthy < stats.watches {
            continue;
        }
        let generation = releases.generation();
        let index_moved = index.replace(generation) != Some(generation);
        if index_moved {
            declared = releases.declared_kinds();
        }
        let looked = knowledge
            .discover(&client, &declared, crds.generation(), &pace)
            .await;
        if !index_moved && !looked && leaving.is_empty() {
            continue;
        }
        let Some(known) = &knowledge.served else {
            continue;
        };
        let unclaimed = if known.unknown.is_empty() {
            UnclaimedEntries::Remove
        } else {
            UnclaimedEntries::Keep
        };
        let version_entries =
            leaving.with_recent(needed(&declared, known), Instant::now(), pace.grace);
        conversions.need(Needed {
            version_entries,
            unclaimed,
        });
    }
}

/// The result of discovery, and whether it is still valid.
struct Knowledge {
    served: Option<Served>,
    groups: BTreeSet<String>,
    crds: u64,
    crds_changed: Option<Instant>,
    looked: Option<Instant>,
}

impl Knowledge {
    fn new(crds: u64) -> Self {
        Self {
            served: None,
            groups: BTreeSet::new(),
            crds,
            crds_changed: None,
            looked: None,
        }
    }

    /// Reads discovery, if there is reason to. Returns whether something changed.
    async fn discover(
        &mut self,
        client: &Client,
        declared: &BTreeSet<DeclaredKind>,
        crds: u64,
        pace: &DiscoveryIntervals,
    ) -> bool {
        let now = Instant::now();
        if self.crds != crds {
            self.crds = crds;
            self.crds_changed = Some(now);
        }
        let groups: BTreeSet<String> = declared
            .iter()
            .map(|declared| declared.group.clone())
            // The core group has one version.
            .filter(|group| !group.is_empty())
            .collect();
        if !self.is_due(&groups, now, pace) {
            return false;
        }
        self.looked = Some(now);
        match served(client, &groups).await {
            Ok(served) => {
                self.groups = groups;
                let is_new = self.served.as_ref() != Some(&served);
                self.served = Some(served);
                is_new
            }
            Err(error) => {
                tracing::warn!(%error, "failed to discover which versions are served");
                if let Some(served) = &mut self.served {
                    served.unknown.extend(groups);
                }
                true
            }
        }
    }

    fn is_due(&self, groups: &BTreeSet<String>, now: Instant, pace: &DiscoveryIntervals) -> bool {
        let Some(looked) = self.looked else {
            return true;
        };
        let age = now.duration_since(looked);
        let failed = self
            .served
            .as_ref()
            .is_none_or(|served| !served.unknown.is_empty());
        if failed {
            return age >= pace.retry;
        }
        let settling = self
            .crds_changed
            .is_some_and(|changed| now.duration_since(changed) < pace.settling);
        settling || age >= pace.refresh || !groups.is_subset(&self.groups)
    }
}

/// Versions that no release declares anymore, but stay for a while.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    last: BTreeMap<VersionEntry, Box<str>>,
    since: BTreeMap<VersionEntry, Instant>,
}

impl Leaving {
    /// `needed`, and the versions needed until recently.
    pub(super) fn with_recent(
        &mut self,
        needed: BTreeMap<VersionEntry, Box<str>>,
        now: Instant,
        grace: Duration,
    ) -> BTreeMap<VersionEntry, Box<str>> {
        self.since
            .retain(|version_entry, _| !needed.contains_key(version_entry));
        let mut kept = needed;
        for (version_entry, kind) in std::mem::take(&mut self.last) {
            if kept.contains_key(&version_entry) {
                continue;
            }
            let since = *self.since.entry(version_entry.clone()).or_insert(now);
            if now.duration_since(since) < grace {
                kept.insert(version_entry, kind);
            } else {
                self.since.remove(&version_entry);
            }
        }
        self.last.clone_from(&kept);
        kept
    }

    fn is_empty(&self) -> bool {
        self.since.is_empty()
    }
}
