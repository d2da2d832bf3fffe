//! Break-glass on a real API server: grants, emergency change records and their resolution, with the
//! roles that deploy/ ships. Story 8.
//!
//! Each test runs its own guard under its own policy, one test at a time: see [`night::Night`].

#[allow(dead_code, reason = "not all that the other tests do is done here")]
#[path = "../modes/turn.rs"]
mod turn;

mod census;
mod flood;
mod grants;
mod night;
mod on_its_own;
mod opening;
mod record;
mod sinks;
mod story;
mod tracking;

use testbed::{charts, deployed, scene};
