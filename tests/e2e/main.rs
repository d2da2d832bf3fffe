//! The guard on a real API server, with real kubectl and both Helms.
//!
//! One control plane serves all tests. A webhook registration applies to the whole cluster, so a test either shares
//! the long-lived guard ([`world::world`]), or runs alone, with guards of its own ([`turn::Turn`]). Each test has its
//! own namespace. Start at [`testbed::scene`].
//!
//! "Scenario N" is row N of the table in tests/README.md.

mod https;
mod terminal;
mod turn;
mod world;

mod break_glass;
mod cluster;
mod documents;
mod helm_operations;
mod own_guards;
mod policy;
mod transcripts;
mod versions;

use testbed::{charts, deployed, scene};
