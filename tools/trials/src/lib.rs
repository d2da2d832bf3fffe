//! What the corpus (`tools/src/bin/corpus`) and the adversary (`tests/adversary`) share: real charts, what
//! their releases declare, and changes of it to try.
//!
//! None of it uses the guard's code, so an error in the guard does not hide itself: kubectl parses manifests,
//! [`leaves`] pairs them with live objects by content, and [`semantics`] says again what is equivalent.

pub mod api;
pub mod candidates;
pub mod charts;
pub mod declared;
pub mod leaves;
pub mod remedies;
pub mod semantics;
