//! The versions that the API server converts objects to, so that each manifest is compared in its
//! own.
//!
//! [`follow`] works out what is needed from the index and from discovery, [`super::upkeep`] writes
//! it into the registration, and the handler asks [`Conversions::active`] whether a request will be
//! judged in another call.
//!
//! Invariants
//! - A call is waited for only once its entry has been in the registration for as long as the API
//!   servers need to learn of it; and no longer once its entry is to be removed.
//! - What can not be found out removes nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::registration::pins::{Others, Pin, Wanted};
use crate::{cluster::served::Served, releases::DeclaredKind};

mod follow;
#[cfg(test)]
mod tests;

pub use follow::{Following, Pace, follow};

/// What is needed, and what of it is in place.
#[derive(Debug, Default)]
pub struct Conversions {
    needed: ArcSwap<Needed>,
    active: ArcSwap<Active>,
    changed: Notify,
}

/// The versions that manifests are written in, of kinds that have others too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// Each with its kind.
    pub pins: BTreeMap<Pin, Box<str>>,
    /// What of others that are registered.
    pub others: Others,
}

impl Needed {
    /// For the registration.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            pins: self.pins.keys().cloned().collect(),
            others: self.others,
        }
    }
}

/// The versions in which the API server makes calls of their own.
#[derive(Debug, Default)]
pub struct Active {
    groups: HashMap<Box<str>, Kinds>,
}

/// The versions of each kind of a group.
type Kinds = HashMap<Box<str>, Vec<Box<str>>>;

impl Active {
    fn of<'p>(pins: impl IntoIterator<Item = (&'p Pin, &'p Box<str>)>) -> Self {
        let mut active = Self::default();
        for (pin, kind) in pins {
            let kinds = active.groups.entry(pin.group.as_str().into());
            let versions = kinds.or_default().entry(kind.clone()).or_default();
            versions.push(pin.version.as_str().into());
        }
        active
    }

    /// Those of a kind.
    pub fn versions(&self, group: &str, kind: &str) -> &[Box<str>] {
        let kinds = self.groups.get(group);
        kinds
            .and_then(|kinds| kinds.get(kind))
            .map_or(&[], Vec::as_slice)
    }

    /// How many there are in all.
    pub fn len(&self) -> usize {
        let versions = self.groups.values().flat_map(HashMap::values);
        versions.map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl Conversions {
    /// What is in place now.
    pub fn active(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// What is needed now: another value whenever that changes.
    pub fn needed(&self) -> Arc<Needed> {
        self.needed.load_full()
    }

    /// Waits for [`Conversions::needed`] to change. For the one task that registers.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Sets what is needed. What is not needed any more is not waited for from here on, though it
    /// is still registered.
    pub fn need(&self, needed: Needed) {
        if *self.needed.load_full() == needed {
            return;
        }
        let in_place = self.active.load_full();
        let left = needed.pins.iter().filter(|(pin, kind)| {
            let versions = in_place.versions(&pin.group, kind);
            versions.iter().any(|version| **version == *pin.version)
        });
        self.active.store(Arc::new(Active::of(left)));
        self.needed.store(Arc::new(needed));
        self.changed.notify_one();
    }

    /// `needed` is registered, and the API servers know. What has ceased to be needed meanwhile is
    /// left out.
    pub fn in_place(&self, needed: &Needed) {
        let still = self.needed.load_full();
        let pins = needed.pins.iter();
        let pins = pins.filter(|(pin, _)| still.pins.contains_key(*pin));
        self.active.store(Arc::new(Active::of(pins)));
    }
}

/// The declared versions of kinds that the API server serves in that version and in another one.
fn needed(declared: &BTreeSet<DeclaredKind>, served: &Served) -> BTreeMap<Pin, Box<str>> {
    let pin = |declared: &DeclaredKind| {
        let DeclaredKind {
            group,
            kind,
            version,
        } = declared;
        let served = served.kinds.get(&(group.clone(), kind.clone()))?;
        let pin = Pin {
            group: group.clone(),
            version: version.clone(),
            plural: served.plural.clone(),
        };
        let convertible = served.versions.len() > 1 && served.versions.contains(version);
        (convertible && pin.entry_name().is_some()).then(|| (pin, kind.as_str().into()))
    };
    declared.iter().filter_map(pin).collect()
}
