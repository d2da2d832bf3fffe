//! Helm's own operations, and other legitimate writers of a cluster, with a guard in mode Deny: none
//! of their steps is denied, and during and after each of them a foreign value still is.
//!
//! This program has its own control plane and guard. The stories, and the normal course of each
//! operation, are in `tests/cluster`. Here operations fail, are killed, conflict with other writers, or
//! use rare options. Start at [`steps`].
//!
//! "Scenario N" is row N of the table in tests/README.md.

#[path = "../cluster/world.rs"]
#[allow(dead_code, reason = "shared with tests/cluster")]
mod world;

mod mutator;
mod steps;

mod applying;
mod failing_hooks;
mod hook_accounts;
mod in_flight;
mod killed;
mod merge_keys;
mod orders;
mod other_writers;
mod places;
mod stuck;

use testbed::{charts, deployed, scene};
