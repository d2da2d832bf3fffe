//! Manifests in one API version and edits through another, on a real API server, which converts; the
//! guard compares in the version of the manifest.

mod autoscalers;
mod custom_resources;
mod explaining;
mod harness;
