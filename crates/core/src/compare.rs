//! Compares what a release declares with the object before and after a request.
//!
//! Everything here works on JSON text ([`json::Json`]) and opens an object one level at a time,
//! only where old and new differ and the manifest declares something.
//!
//! Invariants
//! - Pure: no client, no clock, no configuration; the list types come in as a [`schema::Shape`].
//! - A path that no manifest declares is never reported.
//! - A path that does not change is never reported, whatever its value.
//! - Values of Secrets leave this module only through [`redact::Redactor`].
//!
//! Start at [`walk::compare`].

pub mod budget;
mod declared;
pub(crate) mod field_sets;
mod finder;
pub mod json;
pub mod json_scan;
mod keyed_list;
mod lazy;
pub mod lookup;
mod members;
pub mod path;
pub(crate) mod positions;
pub mod quantity;
pub mod redact;
mod respelled;
pub mod rules;
pub mod scalar;
pub mod schema;
mod set_match;
mod trail;
mod twins;
pub mod undeclared;
pub mod undo;
pub mod values;
pub mod walk;

pub use declared::Declared;
pub(crate) use finder::Finder;
pub use json::Json;
pub use keyed_list::{Keyed, KeyedList};
pub use lazy::{Fields, Opened, at, dig, member, open, present, unquoted};
pub use walk::{
    Agreement, Comparison, Violation, Whole, compare, compare_with_manifest, compare_within,
};
