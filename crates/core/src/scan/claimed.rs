//! **Claimed**: another field manager owns a declared field of a release that Helm applies server-side. The value
//! is still the declared one, but the next upgrade that changes it stops with a conflict. Undoing an edit does not
//! undo the claim.

use super::{
    declared_fields,
    examined::{ExaminedObject, MOST_FIELDS},
    finding::{Consequence, DriftFinding, FindingClass},
    ownership::is_mark,
    related::RelatedPaths,
    tolerated::ToleranceOf,
};
use crate::{
    compare::{Finder, Json, Opened, at, member, open, path::FieldPath, unquoted},
    helm::record::ApplyMethod,
};

/// The claims on fields of one object.
#[derive(Default)]
pub(super) struct Claims {
    pub(super) findings: Vec<DriftFinding>,
    /// The number of further ones.
    pub(super) omitted: usize,
}

/// The claims on fields that do not differ; `differing` are the paths that do.
pub(super) fn claims(of: &ExaminedObject<'_>, differing: &[FieldPath]) -> Claims {
    let mut found = Claims::default();
    let is_applied = of.history.apply_method() == ApplyMethod::ServerSide;
    let Some(declared) = of.scanned.newest.filter(|_| is_applied) else {
        return found;
    };
    if !has_other_managers(of) {
        return found;
    }
    let differing = RelatedPaths::of(differing);
    let mut live = Finder::new(of.live(), of.kind().shape);
    let mut tolerance = None;
    for field in declared_fields(Json::of(&declared.json), of.kind().shape) {
        let steps = field.path.steps();
        // No manager owns a value of an empty object.
        if differing.touch(&field.path) || field.value.text() == "{}" || is_mark(&field.path) {
            continue;
        }
        let Some((now, shape)) = live.find(steps) else {
            continue;
        };
        let is_other = |manager: &str| !of.is_helm(manager);
        let Some(owner) = of.writers().owner(steps, shape.is_atomic(), is_other) else {
            continue;
        };
        let tolerance = tolerance.get_or_insert_with(|| ToleranceOf::new(of));
        if tolerance.of_field(&field.path, field.value) {
            continue;
        }
        if found.findings.len() == MOST_FIELDS {
            found.omitted += 1;
            continue;
        }
        // After a failed upgrade, it may be the value of the revision before.
        let values = of.values(&field.path, Some(field.value), Some(now));
        let message = format!(
            "{:?} owns {} of {}: the next upgrade that changes it from {} fails with a conflict",
            owner.manager,
            field.path,
            of.called(),
            values.live
        );
        let finding = of.finding(FindingClass::Claimed, Consequence::Blocks, message);
        let shown = values.to_field(&field.path);
        found.findings.push(
            finding
                .with_field(&field.path, shown)
                .with_writer(Some(owner)),
        );
    }
    found
}

/// Whether anybody but Helm wrote more than the status. Usually there is no such writer, so nothing is parsed for this.
fn has_other_managers(of: &ExaminedObject<'_>) -> bool {
    let entries = at(of.live(), &["metadata", "managedFields"]).map(open);
    let Some(Opened::List(entries)) = entries else {
        return false;
    };
    entries.into_iter().any(|entry| {
        let text = |name| member(entry, name).map(|value| unquoted(value.text()));
        text("subresource").as_deref() != Some("status")
            && text("manager").is_some_and(|manager| !of.is_helm(&manager))
    })
}
