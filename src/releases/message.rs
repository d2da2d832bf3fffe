//! The messages to the writer of the index.

use super::{
    index::{Learned, Scope},
    key::{RecordKey, Stored, Version},
    view::Content,
};

/// A message to the writer.
#[derive(Debug)]
pub(super) enum Message {
    /// A watch starts to list.
    RelistStarted(Scope),
    /// A record of that list.
    Listed(Scope, Stored),
    /// The list is complete.
    RelistDone(Scope),
    /// A record was created or changed.
    Applied(Stored),
    /// A record was deleted.
    Deleted(Stored),
    /// A body was fetched, or cannot be.
    Read(RecordKey, Version, Content),
    /// The result of a read-through.
    Learned(Learned),
}
