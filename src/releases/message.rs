//! The messages to the writer of the index.

use super::{
    index::{Learned, WatchScope},
    key::{RecordKey, RecordVersion, Stored},
    view::RevisionContent,
};

/// A message to the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// A watch starts to list.
    RelistStarted(WatchScope),
    /// A record of that list.
    Listed(WatchScope, Stored),
    /// The list is complete.
    RelistDone(WatchScope),
    /// A record was created or changed.
    Applied(Stored),
    /// A record was deleted.
    Deleted(Stored),
    /// A body was fetched, or cannot be.
    Read(RecordKey, RecordVersion, RevisionContent),
    /// The result of a read-through.
    Learned(Learned),
}
