//! Helm's own operations, and other legitimate writers of a cluster, with a guard in mode Deny: none
//! of their steps is denied, and during and after each of them a foreign value still is.
//!
//! This program has its own control plane and guard. The stories, and the normal course of each
//! operation, are in `tests/cluster`. Here operations fail, are killed, conflict with other writers, or
//! use rare options. Start at [`steps`].
//!
//! "Scenario N" is row N of the table in tests/README.md.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test are part of it"
)]

#[path = "cluster/charts.rs"]
#[allow(dead_code, reason = "shared with tests/cluster")]
mod charts;
#[path = "cluster/installed.rs"]
mod installed;
#[path = "cluster/scene.rs"]
#[allow(dead_code, reason = "shared with tests/cluster")]
mod scene;
#[path = "cluster/world.rs"]
#[allow(dead_code, reason = "shared with tests/cluster")]
mod world;

#[path = "helm_operations/mutator.rs"]
mod mutator;
#[path = "helm_operations/steps.rs"]
mod steps;

#[path = "helm_operations/applying.rs"]
mod applying;
#[path = "helm_operations/failing_hooks.rs"]
mod failing_hooks;
#[path = "helm_operations/hook_accounts.rs"]
mod hook_accounts;
#[path = "helm_operations/in_flight.rs"]
mod in_flight;
#[path = "helm_operations/killed.rs"]
mod killed;
#[path = "helm_operations/merge_keys.rs"]
mod merge_keys;
#[path = "helm_operations/orders.rs"]
mod orders;
#[path = "helm_operations/other_writers.rs"]
mod other_writers;
#[path = "helm_operations/places.rs"]
mod places;
#[path = "helm_operations/stuck.rs"]
mod stuck;
