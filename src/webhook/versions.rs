//! The versions that the API server converts objects to, so that each manifest is compared in its
//! own.
//!
//! [`follow`] works out what is needed from the index and from discovery, [`super::registrar`] writes
//! it into the registration, and a review asks [`Conversions::active`] whether a request will be
//! evaluated in another call.
//!
//! Invariants
//! - A call is waited for only once its entry has been in the registration for as long as the API
//!   servers need to learn of it; and no longer once its entry is to be removed.
//! - What can not be found out removes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::registration::pins::{Others, Pin, Wanted};
use crate::{
    cluster::served::Served,
    releases::DeclaredKind,
    review::conversions::{ActiveConversions, ConvertedVersions},
};

mod follow;
#[cfg(test)]
mod tests;

pub use follow::{Following, Pace, follow};

/// What is needed, and what of it is in place.
#[derive(Debug, Default)]
pub struct Conversions {
    needed: ArcSwap<Needed>,
    active: ActiveConversions,
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

/// The versions that these entries convert to.
fn converted<'p>(pins: impl IntoIterator<Item = (&'p Pin, &'p Box<str>)>) -> ConvertedVersions {
    let pins = pins.into_iter();
    ConvertedVersions::of(pins.map(|(pin, kind)| (&*pin.group, &**kind, &*pin.version)))
}

impl Conversions {
    /// What is in place, now and later.
    pub(crate) fn active(&self) -> ActiveConversions {
        Arc::clone(&self.active)
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
        self.active.store(Arc::new(converted(left)));
        self.needed.store(Arc::new(needed));
        self.changed.notify_one();
    }

    /// `needed` is registered, and the API servers know. What has ceased to be needed meanwhile is
    /// left out.
    pub fn in_place(&self, needed: &Needed) {
        let still = self.needed.load_full();
        let pins = needed.pins.iter();
        let pins = pins.filter(|(pin, _)| still.pins.contains_key(*pin));
        self.active.store(Arc::new(converted(pins)));
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
