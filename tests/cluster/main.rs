//! The guard in mode Deny on a real API server, with real kubectl and both Helms.
//!
//! One control plane and one guard serve all tests of this program, because a webhook configuration
//! applies to the whole cluster. Each test has its own namespace. Start at [`scene`].
//!
//! "Scenario N" is row N of the table in tests/README.md.

mod world;

mod break_glass;
mod deletes;
mod deploy;
mod deputies;
mod forged_holders;
mod forged_records;
mod foundations;
mod friends;
mod half_failed;
mod helm_operations;
mod lists;
mod lookup;
mod lost_account;
mod old_drift;
mod operators;
mod ownership;
mod people;
mod perimeter;
mod records;
mod sidecar;
mod slip;
mod values;

use testbed::{charts, deployed, scene};
