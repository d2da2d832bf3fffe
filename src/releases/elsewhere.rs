//! Records that are stored outside the namespace of their release.
//!
//! Flux stores them so (`spec.storageNamespace`); a restored or copied namespace contains them by
//! mistake. If the release has records of that name in its own namespace, too, those elsewhere are
//! copies. They are logged once here; [`Elsewhere::copies`] lists them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use helm_guard_core::helm::ReleaseName;
use parking_lot::Mutex;

use super::key::StorageKey;

/// The storages of one release.
type Storages = BTreeSet<Arc<StorageKey>>;

/// Releases with records outside their own namespace. There are few; the lock is never held over work.
#[derive(Default)]
pub(crate) struct Elsewhere {
    known: Mutex<RecordsElsewhere>,
}

#[derive(Default)]
struct RecordsElsewhere {
    storages: BTreeMap<Arc<ReleaseName>, Storages>,
    logged: Storages,
}

impl Elsewhere {
    /// Updates the release of the records in `storage`, from the old to the new one; `None` if they are
    /// in the namespace of their release, or deleted.
    pub(crate) fn set(
        &self,
        storage: &Arc<StorageKey>,
        was: Option<&Arc<ReleaseName>>,
        is: Option<&Arc<ReleaseName>>,
    ) {
        let mut known = self.known.lock();
        if let Some(was) = was
            && let Some(storages) = known.storages.get_mut(was)
        {
            storages.remove(storage);
            if storages.is_empty() {
                known.storages.remove(was);
            }
        }
        match is {
            Some(is) => {
                let storages = known.storages.entry(Arc::clone(is)).or_default();
                storages.insert(Arc::clone(storage));
            }
            None => {
                known.logged.remove(storage);
            }
        }
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.lock().storages.is_empty()
    }

    /// The storages of this release outside its namespace, up to a limit.
    pub(crate) fn of(&self, release: &ReleaseName, most: usize) -> Vec<Arc<StorageKey>> {
        let known = self.known.lock();
        let storages = known.storages.get(release).into_iter().flatten();
        storages.take(most).cloned().collect()
    }

    /// The storages of releases that have records in their own namespace, according to `is_recorded`.
    pub(crate) fn copies(
        &self,
        is_recorded: impl Fn(&ReleaseName) -> bool,
    ) -> Vec<(Arc<ReleaseName>, Arc<StorageKey>)> {
        let known = self.known.lock().storages.clone();
        let mut copies = Vec::new();
        for (release, storages) in known {
            if is_recorded(&release) {
                let of = |storage| (Arc::clone(&release), storage);
                copies.extend(storages.into_iter().map(of));
            }
        }
        copies
    }

    /// Logs once that these are copies.
    pub(crate) fn log(&self, release: &Arc<ReleaseName>) {
        let mut known = self.known.lock();
        let storages = known.storages.get(release).cloned().unwrap_or_default();
        for storage in storages {
            if known.logged.insert(Arc::clone(&storage)) {
                tracing::warn!(
                    namespace = &*storage.namespace,
                    %release,
                    "ignored copies of release records: the release has records in its own namespace"
                );
            }
        }
    }
}
