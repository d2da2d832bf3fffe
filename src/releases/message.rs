//! What the writer of the index is told.

use super::{
    index::{Learned, Scope},
    key::{RecordKey, Stored, Version},
    view::Content,
};

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A watch begins to list.
    RelistStarted(Scope),
    /// A record of that list.
    Listed(Scope, Stored),
    /// The list is complete.
    RelistDone(Scope),
    /// A record was made or changed.
    Applied(Stored),
    /// A record was deleted.
    Deleted(Stored),
    /// A body was fetched, or can not be.
    Read(RecordKey, Version, Content),
    /// A read-through found this.
    Learned(Learned),
}
