//! Break-glass on a real API server: grants, emergency change records and their resolution, with the
//! roles that deploy/ ships. Story 8.
//!
//! Each test runs its own guard under its own policy, one test at a time: see [`night::Night`].

mod census;
mod flood;
mod grants;
mod night;
mod on_its_own;
mod opening;
mod record;
mod retention;
mod sinks;
mod story;
mod tracking;
