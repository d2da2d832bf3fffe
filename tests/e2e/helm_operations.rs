//! Helm's own operations, and other legitimate writers of a cluster, with a guard in mode Deny: none
//! of their steps is denied, and during and after each of them a foreign value still is.
//!
//! The stories, and the normal course of each operation, are in [`cluster`](super::cluster). Here
//! operations fail, are killed, conflict with other writers, or use rare options. They share a guard.
//! Start at [`steps`].

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
