//! Access to the API server: the client, its failures, discovery, the schemas of custom resources.
//!
//! Invariant: no error of this module contains the content of an object, whatever the client
//! library puts into its messages.
//!
//! Start at [`client::connect`]; [`crds::Crds`] for the types of custom resources.

pub mod access;
pub mod admission;
pub mod client;
pub mod crds;
pub mod failure;
pub mod grants;
pub(crate) mod hedge;
pub mod lease;
pub(crate) mod leaving;
pub mod live;
pub mod namespaces;
pub mod policies;
pub mod served;

pub use crds::{CrdError, Crds};
pub(crate) use failure::ApiFailure;
pub(crate) use hedge::Clients;
pub use namespaces::Namespaces;
