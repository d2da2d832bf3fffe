//! Drift: what of the live objects differs from what releases declare, whoever changed it and whenever.
//!
//! The rule is that of the webhook: drift is the change that led from the declared object to the live one, so
//! there is one comparison ([`crate::compare::walk`]), and the same rules of the policy tolerate a difference.
//!
//! | module | holds |
//! |---|---|
//! | [`class`], [`finding`] | the classes of drift; one finding and its consequence |
//! | `guidance` | what a class means, and what to do about it |
//! | [`exact`], [`repair`] | a difference with its whole values; the patch that restores a field |
//! | [`report`] | the document of a scan |
//! | [`scanned`] | the input: a release, its records, a live object, the rules in force |
//! | [`history`] | what the revisions of a release say: which are active, and what was abandoned |
//! | [`release`] | the scan of one release: start here |
//! | [`orphans`] | marked objects that no release declares |
//! | [`key`] | which object |
//! | [`emergencies`] | the open emergency changes, by their objects |
//! | [`fields`], [`writers`] | every declared field, and who wrote it |
//!
//! Invariants
//! - Nothing is undecided silently: what cannot be compared is a finding of its own.
//! - An undeclared field is not drift. An object that equals its declaration has no finding.
//! - A finding has the same ID in every scan, and shows no value of a Secret.
//! - Objects stay JSON text, and an object without a difference is never parsed.
//!
//! Start at [`release::ReleaseScan`], and at [`drift`] for one object and one manifest.

mod claimed;
pub mod class;
mod consequence;
mod differences;
pub mod emergencies;
pub mod exact;
mod examined;
pub mod fields;
pub mod finding;
mod guidance;
pub mod history;
pub mod key;
mod leftovers;
mod object;
pub mod orphans;
mod ownership;
mod progress;
mod records;
mod related;
pub mod release;
pub mod repair;
pub mod report;
pub mod scanned;
mod tolerated;
pub mod writers;

#[cfg(test)]
mod tests;

pub use fields::declared_fields;
pub use finding::{Consequence, DriftFinding, FindingClass, FindingSeverity};
pub use release::{ObjectAssessment, ReleaseScan};
pub use report::ScanReport;
pub use scanned::{LiveObject, Observed, ScanRules, ScannedObject, ScannedRelease};

use crate::compare::{
    Agreement, Comparison, Declared, Json, Violation, compare_with_manifest,
    rules::EmptyListPolicy, schema::Shape,
};

/// What is known about the kind of an object.
#[derive(Clone, Copy, Debug)]
pub struct KindFacts<'s> {
    /// The types of its fields.
    pub shape: Shape<'s>,
    /// How empty lists are stored.
    pub empties: EmptyListPolicy,
}

/// The declared paths at which `live` has another value, or none. `old` of each is the declared value.
pub fn drift<'a>(declared: Json<'a>, live: Json<'a>, kind: KindFacts<'a>) -> Vec<Violation<'a>> {
    drift_of_active(Declared::One(declared), Agreement::Every, live, kind)
}

/// The same, where two manifests are active: a value that one of them declares is not drift.
pub(crate) fn drift_of_active<'a>(
    declared: Declared<'a>,
    agreement: Agreement,
    live: Json<'a>,
    kind: KindFacts<'a>,
) -> Vec<Violation<'a>> {
    let Some(old) = declared.newest() else {
        return Vec::new();
    };
    compare_with_manifest(&Comparison {
        declared,
        agreement,
        old,
        new: live,
        shape: kind.shape,
        empties: kind.empties,
    })
}
