//! The API server: the client, what its failures may say, what it serves, the schemas of custom
//! resources.
//!
//! Invariant: no error of this room carries the content of an object, whatever the client library
//! puts into its own messages.
//!
//! Start at [`client::connect`]; [`crds::Crds`] for the types of custom resources.

pub mod access;
pub mod admission;
pub mod client;
pub mod crds;
pub mod failure;
pub mod grants;
pub mod hedge;
pub mod lease;
pub mod leaving;
pub mod live;
pub mod namespaces;
pub mod policies;
pub mod served;

pub use crds::{CrdError, Crds};
pub use failure::ApiFailure;
pub use hedge::Clients;
pub use namespaces::Namespaces;
