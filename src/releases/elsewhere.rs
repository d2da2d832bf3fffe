//! Records that are stored in another namespace than their release.
//!
//! Flux keeps them so (`spec.storageNamespace`); a restored or copied namespace has them by mistake.
//! Where the release has records of that name in its own namespace too, those elsewhere are copies.
//! They are logged once here; who asks [`Elsewhere::copies`] names them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use helm_guard_core::helm::ReleaseName;
use parking_lot::Mutex;

use super::key::StorageKey;

/// The storages of one release.
type Storages = BTreeSet<Arc<StorageKey>>;

/// Releases with records outside their own namespace. Few; the lock is never held over work.
#[derive(Default)]
pub struct Elsewhere {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    storages: BTreeMap<Arc<ReleaseName>, Storages>,
    logged: Storages,
}

impl Elsewhere {
    /// The records in `storage` were of the one release, and are of the other now; none where they are in
    /// the namespace of their release, or gone.
    pub fn set(
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
    pub fn is_empty(&self) -> bool {
        self.known.lock().storages.is_empty()
    }

    /// Where records of this release are, outside its namespace; at most so many.
    pub fn of(&self, release: &ReleaseName, most: usize) -> Vec<Arc<StorageKey>> {
        let known = self.known.lock();
        let storages = known.storages.get(release).into_iter().flatten();
        storages.take(most).cloned().collect()
    }

    /// The storages of releases that have records of their own, as `is_recorded` says.
    pub fn copies(
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

    /// Says once in the log that these are copies.
    pub fn log(&self, release: &Arc<ReleaseName>) {
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
