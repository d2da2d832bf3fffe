//! The task that keeps what is needed up to date.

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
    webhook::registration::pins::{Others, Pin},
};

/// What it looks at, and what it keeps up to date.
pub struct Following {
    /// The API server, for discovery.
    pub client: Client,
    /// What is declared.
    pub releases: Releases,
    /// Tells of changed definitions of custom resources.
    pub definitions: Arc<Crds>,
    /// What is kept up to date.
    pub conversions: Arc<Conversions>,
    /// How often is looked.
    pub pace: Pace,
}

/// How often is looked.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// At whether anything changed; what changes in between is taken together.
    pub look: Duration,
    /// At discovery, after a definition of a custom resource changed: its versions are served a
    /// while after the definition was written.
    pub settling: Duration,
    /// At discovery, when a look at it failed.
    pub retry: Duration,
    /// At discovery, when nothing tells of a change: API servers are upgraded too.
    pub refresh: Duration,
    /// How long a version stays registered that no release declares any more: an uninstalled
    /// release is often installed again, and another replica may learn of it a moment later.
    pub grace: Duration,
}

impl Default for Pace {
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
pub async fn follow(following: Following) {
    let Following {
        client,
        releases,
        definitions,
        conversions,
        pace,
    } = following;
    let mut looks = interval(pace.look);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut knowledge = Knowledge::new(definitions.generation());
    let mut index = None;
    let mut declared = BTreeSet::new();
    let mut leaving = Leaving::default();
    loop {
        looks.tick().await;
        // A watch that is not healthy knows of fewer releases than there are, or of old ones.
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
            .look(&client, &declared, definitions.generation(), &pace)
            .await;
        if !index_moved && !looked && leaving.is_empty() {
            continue;
        }
        let Some(known) = &knowledge.served else {
            continue;
        };
        let others = if known.unknown.is_empty() {
            Others::Remove
        } else {
            Others::Keep
        };
        let pins = leaving.keep(needed(&declared, known), Instant::now(), pace.grace);
        conversions.need(Needed { pins, others });
    }
}

/// What discovery said, and whether it is still to be believed.
struct Knowledge {
    served: Option<Served>,
    groups: BTreeSet<String>,
    definitions: u64,
    definitions_changed: Option<Instant>,
    looked: Option<Instant>,
}

impl Knowledge {
    fn new(definitions: u64) -> Self {
        Self {
            served: None,
            groups: BTreeSet::new(),
            definitions,
            definitions_changed: None,
            looked: None,
        }
    }

    /// Looks at discovery, if there is reason to. Says whether there is something new.
    async fn look(
        &mut self,
        client: &Client,
        declared: &BTreeSet<DeclaredKind>,
        definitions: u64,
        pace: &Pace,
    ) -> bool {
        let now = Instant::now();
        if self.definitions != definitions {
            self.definitions = definitions;
            self.definitions_changed = Some(now);
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

    fn is_due(&self, groups: &BTreeSet<String>, now: Instant, pace: &Pace) -> bool {
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
            .definitions_changed
            .is_some_and(|changed| now.duration_since(changed) < pace.settling);
        settling || age >= pace.refresh || !groups.is_subset(&self.groups)
    }
}

/// Versions that no release declares any more, and that stay for a while.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    last: BTreeMap<Pin, Box<str>>,
    since: BTreeMap<Pin, Instant>,
}

impl Leaving {
    /// `needed`, and what was needed until a short while ago.
    pub(super) fn keep(
        &mut self,
        needed: BTreeMap<Pin, Box<str>>,
        now: Instant,
        grace: Duration,
    ) -> BTreeMap<Pin, Box<str>> {
        self.since.retain(|pin, _| !needed.contains_key(pin));
        let mut kept = needed;
        for (pin, kind) in std::mem::take(&mut self.last) {
            if kept.contains_key(&pin) {
                continue;
            }
            let since = *self.since.entry(pin.clone()).or_insert(now);
            if now.duration_since(since) < grace {
                kept.insert(pin, kind);
            } else {
                self.since.remove(&pin);
            }
        }
        self.last.clone_from(&kept);
        kept
    }

    fn is_empty(&self) -> bool {
        self.since.is_empty()
    }
}
