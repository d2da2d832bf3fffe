//! The guard in mode Deny, with real kubectl and both Helms. All tests share a guard.

mod break_glass;
mod deletes;
mod deploy;
mod deputies;
mod forged_holders;
mod forged_records;
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
mod release_infrastructure;
mod sidecar;
mod slip;
mod values;
