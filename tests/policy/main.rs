//! Policies on a real API server: what the CRDs reject, what each part of a policy does, and how a
//! policy comes into force.
//!
//! Each test that runs a guard runs its own, and they take turns: see [`turn::Turn`].

#[allow(dead_code, reason = "not all that the other tests do is done here")]
#[path = "../modes/turn.rs"]
mod turn;

mod definitions;
mod deployers;
mod forecast;
mod in_force;
mod loosened;
mod rule;
mod suspended;

use testbed::{charts, scene};
