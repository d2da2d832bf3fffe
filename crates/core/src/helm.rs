//! What Helm writes: release records, the manifests in them, and the life cycle of revisions.
//!
//! Pure: no client, no clock. The bytes of a Secret or `ConfigMap` come in, typed data goes out.
//!
//! Invariants
//! - The release record is authoritative. Clients choose the labels, annotations and field managers
//!   of live objects, so these are never consulted here.
//! - Decoding is bounded: a record cannot make the process allocate more than its limit.
//! - A document that does not parse is skipped, never its neighbors.
//!
//! - No error and no `Debug` here shows a value from a record or a manifest: they hold Secrets.
//!
//! Start at [`record::decode`], then [`manifest::parse`], then [`lifecycle::active_set`].
//! [`storage::RecordMeta`] is what a record's metadata alone contains.

pub mod hooks;
pub mod identity;
pub mod lifecycle;
pub mod manifest;
pub mod record;
pub mod storage;

pub use identity::{ObjectId, ReleaseName};
