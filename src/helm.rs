//! What Helm writes: release records, the manifests in them, and the life cycle of revisions.
//!
//! Pure: no client, no clock. The bytes of a Secret or `ConfigMap` come in, typed data goes out.
//!
//! Invariants
//! - The release record is the truth; labels, annotations and field managers of live objects are
//!   the client's to choose and are never consulted here.
//! - Decoding is bounded: a record can not make the process allocate more than its limit.
//! - One document that does not parse costs that document, never its neighbours.
//!
//! Start at [`record::Record`], then [`manifest::parse`], then [`lifecycle::active_set`].

pub mod identity;
pub mod lifecycle;

pub use identity::{ObjectId, ReleaseName};
