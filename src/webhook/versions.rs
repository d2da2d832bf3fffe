//! The versions that the API server converts objects to, so that each manifest is compared in its
//! own.
//!
//! [`follow`] computes the needed versions from the index and discovery, [`super::registrar`] writes
//! them into the registration, and a review uses [`Conversions::active`] to know whether a request
//! will be evaluated in another call.
//!
//! Invariants
//! - A review defers to another call only once its entry has been in the registration long enough
//!   for API servers to notice; and no longer once its entry will be removed.
//! - Unknown state removes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::registration::version_entries::{UnclaimedEntries, VersionEntries, VersionEntry};
use crate::{
    cluster::served::Served,
    releases::DeclaredKind,
    review::conversions::{ActiveConversions, ConvertedVersions},
};

mod follow;
#[cfg(test)]
mod tests;

pub(crate) use follow::{DiscoveryIntervals, Following, follow};

/// The needed versions, and which of them are active.
#[derive(Debug, Default)]
pub struct Conversions {
    needed: ArcSwap<Needed>,
    active: ActiveConversions,
    changed: Notify,
}

/// The versions of manifests, for kinds that have others, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    /// Each with its kind.
    pub(crate) version_entries: BTreeMap<VersionEntry, Box<str>>,
    /// The registered ones.
    pub(crate) unclaimed: UnclaimedEntries,
}

impl Needed {
    /// The versions for the registration.
    pub(crate) fn wanted(&self) -> VersionEntries {
        VersionEntries {
            wanted: self.version_entries.keys().cloned().collect(),
            unclaimed: self.unclaimed,
        }
    }
}

/// The versions to which these entries convert.
fn converted<'p>(
    version_entries: impl IntoIterator<Item = (&'p VersionEntry, &'p Box<str>)>,
) -> ConvertedVersions {
    let version_entries = version_entries.into_iter();
    ConvertedVersions::of(
        version_entries
            .map(|(version_entry, kind)| (&*version_entry.group, &**kind, &*version_entry.version)),
    )
}

impl Conversions {
    /// The active versions, now and later.
    pub(crate) fn active(&self) -> ActiveConversions {
        Arc::clone(&self.active)
    }

    /// The needed versions; the value changes whenever they do.
    pub(crate) fn needed(&self) -> Arc<Needed> {
        self.needed.load_full()
    }

    /// Waits for [`Conversions::needed`] to change. For the only task that registers.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Sets the needed versions. Versions that are no longer needed are inactive from here on,
    /// although they are still registered.
    pub(crate) fn need(&self, needed: Needed) {
        if *self.needed.load_full() == needed {
            return;
        }
        let in_place = self.active.load_full();
        let left = needed
            .version_entries
            .iter()
            .filter(|(version_entry, kind)| {
                let versions = in_place.versions(&version_entry.group, kind);
                versions
                    .iter()
                    .any(|version| **version == *version_entry.version)
            });
        self.active.store(Arc::new(converted(left)));
        self.needed.store(Arc::new(needed));
        self.changed.notify_one();
    }

    /// `needed` is registered, and the API servers know it. Versions that are no longer needed
    /// meanwhile are left out.
    pub(crate) fn in_place(&self, needed: &Needed) {
        let still = self.needed.load_full();
        let version_entries = needed.version_entries.iter();
        let version_entries = version_entries
            .filter(|(version_entry, _)| still.version_entries.contains_key(*version_entry));
        self.active.store(Arc::new(converted(version_entries)));
    }
}

/// The declared versions of kinds that the API server serves in this version and in another one.
fn needed(declared: &BTreeSet<DeclaredKind>, served: &Served) -> BTreeMap<VersionEntry, Box<str>> {
    let version_entry = |declared: &DeclaredKind| {
        let DeclaredKind {
            group,
            kind,
            version,
        } = declared;
        let served = served.kinds.get(&(group.clone(), kind.clone()))?;
        let version_entry = VersionEntry {
            group: group.clone(),
            version: version.clone(),
            plural: served.plural.clone(),
        };
        let convertible = served.versions.len() > 1 && served.versions.contains(version);
        (convertible && version_entry.entry_name().is_some())
            .then(|| (version_entry, kind.as_str().into()))
    };
    declared.iter().filter_map(version_entry).collect()
}
