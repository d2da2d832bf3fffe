//! **`PartiallyApplied`**: after an operation that did not finish, some objects follow the newest revision and
//! others still follow the one before it, or were never created.
//!
//! An object says which revision it follows where the two differ. It takes at least one that follows the newest:
//! an operation that changed nothing applied nothing partially.

use super::{
    KindFacts, drift,
    examined::ExaminedObject,
    finding::{Consequence, DriftFinding, FindingClass},
    related::RelatedPaths,
};
use crate::compare::{Json, path::FieldPath};

/// How far an operation that did not finish came with one object.
#[derive(Default)]
pub(super) struct ObjectProgress {
    /// The object, or a part of it, follows the newest revision and not the one before.
    pub(super) follows_newest: bool,
    /// The finding, if another object follows the newest revision.
    pub(super) lagging: Option<DriftFinding>,
}

/// The progress of an object that exists.
pub(super) fn progress(of: &ExaminedObject<'_>) -> ObjectProgress {
    let (Some(newest), Some(base)) = (of.scanned.newest, of.scanned.base) else {
        // An object that only the newest revision has was created for it.
        return ObjectProgress {
            follows_newest: of.scanned.newest.is_some(),
            lagging: None,
        };
    };
    if newest.json == base.json || newest.version != base.version {
        return ObjectProgress::default();
    }
    let (newest, base) = (Json::of(&newest.json), Json::of(&base.json));
    let kind = of.kind();
    let apart = [(newest, base), (base, newest)].map(|(from, to)| paths(from, to, kind));
    let off = [newest, base].map(|declared| paths(declared, of.live(), kind));
    let off = off.each_ref().map(RelatedPaths::of);
    let (mut at_newest, mut at_base) = (false, false);
    for path in apart.iter().flatten() {
        let differs = off.each_ref().map(|off| off.touch(path));
        at_newest |= differs == [false, true];
        at_base |= differs == [true, false];
    }
    let lagging = at_base.then(|| {
        let (base, newest) = (
            of.history.base.map_or(0, |base| base.revision),
            of.revision(),
        );
        let called = of.called();
        let message = if at_newest {
            format!("{called} follows revisions {base} and {newest} in parts")
        } else {
            format!("{called} still follows revision {base}, and others follow revision {newest}")
        };
        of.finding(
            FindingClass::PartiallyApplied,
            Consequence::Reverted,
            message,
        )
    });
    ObjectProgress {
        follows_newest: at_newest,
        lagging,
    }
}

/// The progress of an object that only the newest revision has, and that does not exist.
pub(super) fn not_created(of: &ExaminedObject<'_>) -> ObjectProgress {
    let message = format!(
        "{} was not created, and others follow revision {}",
        of.called(),
        of.revision()
    );
    let finding = of.finding(
        FindingClass::PartiallyApplied,
        Consequence::Recreated,
        message,
    );
    ObjectProgress {
        follows_newest: false,
        lagging: Some(finding),
    }
}

fn paths(declared: Json<'_>, live: Json<'_>, kind: KindFacts<'_>) -> Vec<FieldPath> {
    let found = drift(declared, live, kind).into_iter();
    found.map(|violation| violation.path).collect()
}
