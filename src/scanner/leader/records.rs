//! Which releases have other records than before, according to the index.

use std::collections::BTreeMap;

use helm_guard_core::helm::{ReleaseName, lifecycle::RevisionStatus};

use super::changes::{ChangedRelease, ChangedReleases};
use crate::releases::Releases;

/// The newest record of each release, as last seen.
#[derive(Debug, Default)]
pub(super) struct KnownRecords {
    generation: Option<u64>,
    newest: BTreeMap<ChangedRelease, NewestRecord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewestRecord {
    pub(super) revision: u32,
    pub(super) status: RevisionStatus,
}

impl KnownRecords {
    /// Notes the releases whose records have changed. Returns whether any has.
    pub(super) fn update(&mut self, releases: &Releases, changed: &ChangedReleases) -> bool {
        let generation = releases.generation();
        if self.generation.replace(generation) == Some(generation) {
            return false;
        }
        let newest = releases.release_infos().map(|info| {
            let release = ChangedRelease {
                release: ReleaseName {
                    namespace: info.namespace,
                    name: info.release,
                },
                records_in: info.records_in,
            };
            let record = NewestRecord {
                revision: info.revision,
                status: info.status,
            };
            (release, record)
        });
        for release in self.replace(newest.collect()) {
            changed.add(release);
        }
        true
    }

    /// Returns the releases that are new, gone, or have another newest record.
    fn replace(&mut self, newest: BTreeMap<ChangedRelease, NewestRecord>) -> Vec<ChangedRelease> {
        let known = std::mem::replace(&mut self.newest, newest);
        let is_other = |(name, record): &(&ChangedRelease, &NewestRecord)| {
            known.get(name).is_none_or(|before| before != *record)
        };
        let others = self.newest.iter().filter(is_other);
        let gone = known.keys().filter(|name| !self.newest.contains_key(name));
        others.map(|(name, _)| name).chain(gone).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(of: &[(&str, u32)]) -> BTreeMap<ChangedRelease, NewestRecord> {
        let of = of.iter().map(|(name, revision)| {
            let name = ChangedRelease {
                release: ReleaseName {
                    namespace: "shop".to_owned(),
                    name: (*name).to_owned(),
                },
                records_in: "shop".to_owned(),
            };
            let record = NewestRecord {
                revision: *revision,
                status: RevisionStatus::Deployed,
            };
            (name, record)
        });
        of.collect()
    }

    #[test]
    fn new_gone_and_upgraded_releases_have_changed() {
        let mut known = KnownRecords::default();
        known.replace(records(&[("same", 1), ("upgraded", 1), ("gone", 1)]));
        let changed = known.replace(records(&[("same", 1), ("upgraded", 2), ("new", 1)]));
        let names: Vec<_> = changed.iter().map(|one| &*one.release.name).collect();
        assert_eq!(names, ["new", "upgraded", "gone"]);
    }
}
