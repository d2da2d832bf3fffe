//! The records of one release, as the writer knows them.

use std::sync::Arc;

use helm_guard_core::helm::lifecycle::RevisionStatus;

use crate::releases::{body::About, key::RecordVersion, view::RevisionContent};

/// One record. Most are of superseded revisions, of which only the metadata is known; the other
/// fields are boxed.
pub(super) struct IndexedRecord {
    pub revision: u32,
    pub status: RevisionStatus,
    pub version: RecordVersion,
    pub read: Option<Box<Read>>,
    /// Stays when the body is dropped: metrics include uninstalled releases.
    pub about: Option<Arc<About>>,
    /// The state for which a fetch is requested.
    pub requested: Option<Box<RecordVersion>>,
}

/// The content read from a record, and its state.
pub(super) struct Read {
    pub version: RecordVersion,
    pub content: RevisionContent,
}

impl IndexedRecord {
    pub(crate) fn new(revision: u32, status: RevisionStatus, version: RecordVersion) -> Self {
        Self {
            revision,
            status,
            version,
            read: None,
            about: None,
            requested: None,
        }
    }

    /// Whether the content is of the record's current state, or of a later one that the watch has
    /// not reported yet.
    pub(crate) fn is_read(&self) -> bool {
        self.read.as_ref().is_some_and(|read| {
            read.version == self.version || self.version.is_before(&read.version)
        })
    }

    /// It could not be read, and is no longer retried: its fetch was stopped when it left the active
    /// set, to which it may return when a later revision is deleted.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_unreadable() && self.requested.is_none()
    }

    pub(crate) fn content(&self) -> Option<&RevisionContent> {
        self.read.as_ref().map(|read| &read.content)
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        let read = self.read.as_ref();
        read.is_some_and(|read| matches!(read.content, RevisionContent::Unreadable))
    }
}

/// The records of a release, by revision: about ten, so a sorted list is smaller than a tree and as
/// fast.
#[derive(Default)]
pub(super) struct ReleaseRecords {
    sorted: Vec<IndexedRecord>,
}

impl ReleaseRecords {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, IndexedRecord> {
        self.sorted.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, IndexedRecord> {
        self.sorted.iter_mut()
    }

    pub(crate) fn get(&self, revision: u32) -> Option<&IndexedRecord> {
        let at = self.find(revision).ok()?;
        self.sorted.get(at)
    }

    pub(crate) fn get_mut(&mut self, revision: u32) -> Option<&mut IndexedRecord> {
        let at = self.find(revision).ok()?;
        self.sorted.get_mut(at)
    }

    /// Replaces one of the same revision.
    pub(crate) fn insert(&mut self, record: IndexedRecord) {
        match self.find(record.revision) {
            Ok(at) => {
                if let Some(known) = self.sorted.get_mut(at) {
                    *known = record;
                }
            }
            Err(at) => {
                // A growing vector starts with a capacity of four.
                if self.sorted.len() < 4 {
                    self.sorted.reserve_exact(1);
                }
                self.sorted.insert(at, record);
            }
        }
    }

    pub(crate) fn remove(&mut self, revision: u32) -> Option<IndexedRecord> {
        let at = self.find(revision).ok()?;
        Some(self.sorted.remove(at))
    }

    fn find(&self, revision: u32) -> Result<usize, usize> {
        self.sorted
            .binary_search_by_key(&revision, |record| record.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revision: u32, status: RevisionStatus) -> IndexedRecord {
        IndexedRecord::new(revision, status, RecordVersion::default())
    }

    #[test]
    fn records_are_sorted_and_each_revision_is_there_once() {
        let mut records = ReleaseRecords::default();
        for revision in [3, 1, 10, 2, 3] {
            records.insert(record(revision, RevisionStatus::Superseded));
        }
        records.insert(record(10, RevisionStatus::Deployed));
        let revisions: Vec<u32> = records.iter().map(|record| record.revision).collect();
        assert_eq!(revisions, [1, 2, 3, 10]);
        let status = |records: &ReleaseRecords, revision| records.get(revision).map(|r| r.status);
        assert_eq!(status(&records, 10), Some(RevisionStatus::Deployed));
        assert!(records.remove(2).is_some() && records.remove(2).is_none());
        assert_eq!(status(&records, 2), None);
        assert_eq!(status(&records, 3), Some(RevisionStatus::Superseded));
    }
}
