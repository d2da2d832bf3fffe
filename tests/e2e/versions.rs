//! Manifests in one API version and edits through another, on a real API server, which converts; the
//! guard compares in the version of the manifest.
//!
//! Each test runs its own guard, alone: see [`Turn`](crate::turn::Turn).

mod autoscalers;
pub(crate) mod custom_resources;
mod explaining;
mod harness;
