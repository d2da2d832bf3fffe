//! A real Kubernetes control plane on loopback, for the tests and the demo of helm-guard.
//!
//! Start at [`shared`], which gives the one [`ControlPlane`] of a test binary, or at
//! [`ControlPlane::start`]. From there: [`ControlPlane::namespace`] for a namespace of a test's own,
//! [`ControlPlane::helm`] and [`ControlPlane::kubectl`] to act in it, [`Guard`] to run the guard under
//! test, [`Chart`] to write what Helm installs. Most tests start with a [`scene::Scene`] and a chart of [`charts`].
//!
//! Invariants:
//! - Nothing listens on anything but 127.0.0.1, except a guard that is reached by a Service
//!   ([`Address::Service`]): it listens on an address of this machine that an `EndpointSlice` takes.
//! - Nothing outlives the process that started it, however that process ends: see [`process`].
//! - The binaries are real ones, given by the environment or built from pinned Go modules: see
//!   [`binaries`].
//!
//! Calls that set up the environment return an [`Error`]; what a test says (`ok`, `refused`) panics
//! with the command line and what the command printed, as an assertion does.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![forbid(unsafe_code)]

pub mod binaries;
mod certificates;
mod chart;
pub mod charts;
mod command;
mod control_plane;
pub mod deployed;
pub mod dice;
mod error;
mod guard;
mod http;
mod kubeconfig;
mod namespace;
pub mod process;
pub mod scene;
pub mod schema;
mod scratch;
pub mod turns;

pub use binaries::Binaries;
pub use certificates::WEBHOOK_CLIENT;
pub use chart::Chart;
pub use command::{Helm, HelmVersion, Invocation, Kubectl, Output};
pub use control_plane::{ALICE, Apis, ControlPlane, free_addresses, shared};
pub use error::Error;
pub use guard::{Address, Guard, GuardConfig};
pub use http::{Response, http_get};
pub use namespace::Namespace;
