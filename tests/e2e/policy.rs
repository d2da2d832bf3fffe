//! Policies on a real API server: what the CRDs reject, what each part of a policy does, and how a
//! policy comes into force.
//!
//! Each test runs alone, if with a guard then with its own: see [`Turn`](crate::turn::Turn).

mod crds;
mod deployers;
mod explained;
mod forecast;
mod in_force;
mod loosened;
mod rule;
mod suspended;
