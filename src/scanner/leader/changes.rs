//! The releases to scan again, because an object or a record of theirs has changed.
//!
//! Invariant: a release that changes all the time is scanned every few seconds, and delays no other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use helm_guard_core::helm::ReleaseName;
use parking_lot::Mutex;

/// The least time between two scans of a release.
const PAUSE: Duration = Duration::from_secs(5);

/// Releases that are scanned in one round; the others wait for the next.
const ROUND: usize = 20;

/// More changed releases than this are scanned with a full pass, which lists each kind once.
const MOST: usize = 500;

/// A release, and the namespace of its records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ChangedRelease {
    pub(super) release: ReleaseName,
    pub(super) records_in: String,
}

/// Releases of one namespace whose records are in one namespace: a scan reads them together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReleaseGroup {
    pub(super) namespace: String,
    pub(super) records_in: String,
}

#[derive(Debug, Default)]
struct WaitingReleases {
    changed: BTreeSet<ChangedRelease>,
    scanned: HashMap<ChangedRelease, Instant>,
}

/// Filled by the watches, emptied by the scans.
#[derive(Debug, Default)]
pub(super) struct ChangedReleases(Mutex<WaitingReleases>);

impl ChangedReleases {
    pub(super) fn add(&self, release: ChangedRelease) {
        self.0.lock().changed.insert(release);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().changed.is_empty()
    }

    pub(super) fn are_too_many(&self) -> bool {
        self.0.lock().changed.len() > MOST
    }

    /// Before everything is scanned.
    pub(super) fn clear(&self) {
        self.0.lock().changed.clear();
    }

    /// Takes the names of the releases whose turn it is.
    pub(super) fn due(&self, now: Instant) -> BTreeMap<ReleaseGroup, Vec<String>> {
        let mut waiting = self.0.lock();
        let WaitingReleases { changed, scanned } = &mut *waiting;
        scanned.retain(|_, at| now.duration_since(*at) < PAUSE);
        let due = changed
            .iter()
            .filter(|release| !scanned.contains_key(release));
        let due: Vec<ChangedRelease> = due.take(ROUND).cloned().collect();
        let mut found = BTreeMap::<ReleaseGroup, Vec<String>>::new();
        for release in due {
            changed.remove(&release);
            scanned.insert(release.clone(), now);
            let ChangedRelease {
                release: ReleaseName { namespace, name },
                records_in,
            } = release;
            let group = ReleaseGroup {
                namespace,
                records_in,
            };
            found.entry(group).or_default().push(name);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(name: &str) -> ChangedRelease {
        ChangedRelease {
            release: ReleaseName {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            },
            records_in: "shop".to_owned(),
        }
    }

    fn names(due: &BTreeMap<ReleaseGroup, Vec<String>>) -> Vec<&str> {
        due.values().flatten().map(String::as_str).collect()
    }

    #[test]
    fn a_release_that_changes_all_the_time_is_scanned_every_few_seconds() {
        let changed = ChangedReleases::default();
        let start = Instant::now();
        changed.add(release("web"));
        changed.add(release("web"));
        assert_eq!(names(&changed.due(start)), ["web"]);
        changed.add(release("web"));
        changed.add(release("db"));
        assert_eq!(names(&changed.due(start + Duration::from_secs(1))), ["db"]);
        assert!(!changed.is_empty(), "the other one waits");
        assert_eq!(names(&changed.due(start + PAUSE)), ["web"]);
        assert!(changed.is_empty());
    }

    #[test]
    fn many_changes_are_scanned_in_rounds_or_with_a_full_pass() {
        let changed = ChangedReleases::default();
        for number in 0..=MOST {
            changed.add(release(&format!("r{number}")));
        }
        assert!(changed.are_too_many());
        assert_eq!(names(&changed.due(Instant::now())).len(), ROUND);
        assert!(!changed.are_too_many());
    }

    #[test]
    fn releases_whose_records_are_elsewhere_are_looked_for_there() {
        let changed = ChangedReleases::default();
        let of_flux = ChangedRelease {
            records_in: "flux-system".to_owned(),
            ..release("app")
        };
        changed.add(release("app"));
        changed.add(of_flux);
        let due = changed.due(Instant::now());
        let groups: Vec<_> = due
            .keys()
            .map(|group| (&*group.namespace, &*group.records_in))
            .collect();
        assert_eq!(groups, [("shop", "flux-system"), ("shop", "shop")]);
    }
}
