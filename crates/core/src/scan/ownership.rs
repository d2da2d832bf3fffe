//! Marks: Helm's label and ownership annotations. They are declared by every manifest, and the webhook is called
//! for the label alone, so an object without it is no longer guarded.
//!
//! - **Foreign**: the annotations name another release, or no mark is there and Helm never wrote the object.
//! - **Unmarked**: Helm wrote it, and a mark is gone or changed.

use super::{
    consequence::NextUpgrade,
    examined::ExaminedObject,
    finding::{DriftFinding, FindingClass},
    writers::FieldWriter,
};
use crate::{
    compare::{
        Fields, Json, Violation, dig,
        path::{FieldPath, Step},
        unquoted,
    },
    guard::{reach::Reach, subject::owner_in},
    helm::ReleaseName,
};

/// Where the marks are.
pub(super) const MARKS: [[&str; 3]; 3] = [
    ["metadata", "labels", "app.kubernetes.io/managed-by"],
    ["metadata", "annotations", "meta.helm.sh/release-name"],
    ["metadata", "annotations", "meta.helm.sh/release-namespace"],
];

/// The relation of a live object to the release that declares it.
pub(super) struct Ownership {
    /// The finding, if the marks are not as they should be.
    pub(super) finding: Option<DriftFinding>,
    /// Whether the release may speak for the object, so that its fields are compared. A record can name any
    /// object, and findings show values to whoever can read the release's reports (see [`Reach`]).
    pub(super) is_compared: bool,
}

/// Looks at the marks of a live object.
pub(super) fn ownership(of: &ExaminedObject<'_>, upgrade: &NextUpgrade<'_>) -> Ownership {
    let release = of.release.name;
    let records = &of.release.records.namespace;
    let owner = owner_in(of.json);
    let wrong = wrong_marks(of.json, release);
    if let Some(other) = owner.as_ref().filter(|owner| *owner != release) {
        let message = format!(
            "{} belongs to release {}/{}",
            of.called(),
            other.namespace,
            other.name
        );
        return Ownership {
            finding: Some(of_marks(
                of,
                upgrade,
                FindingClass::Foreign,
                (&wrong, message),
            )),
            is_compared: false,
        };
    }
    let is_compared = owner.is_some()
        || Reach::of(records, of.key.namespace) == Reach::Own
        || of.rules.policy.records().trusts(records);
    if wrong.is_empty() {
        return Ownership {
            finding: None,
            is_compared,
        };
    }
    let writers = of.writers();
    let is_stranger = wrong.iter().all(|(_, value)| value.is_none())
        && wrong.len() == MARKS.len()
        && writers.are_known()
        && !writers.include(|manager| of.is_helm(manager));
    let (class, message) = if is_stranger {
        let message = format!(
            "{} has none of Helm's marks, and Helm did not write it",
            of.called()
        );
        (FindingClass::Foreign, message)
    } else {
        (FindingClass::Unmarked, lost_marks(of, &wrong))
    };
    Ownership {
        finding: Some(of_marks(of, upgrade, class, (&wrong, message))),
        is_compared,
    }
}

/// A mark that does not name the release, and its value.
type WrongMark = ([&'static str; 3], Option<String>);

fn lost_marks(of: &ExaminedObject<'_>, wrong: &[WrongMark]) -> String {
    let say = |([_, _, key], value): &([&str; 3], Option<String>)| match value {
        None => format!("{key} is gone"),
        Some(value) => format!("{key} is {value:?}"),
    };
    let marks: Vec<String> = wrong.iter().map(say).collect();
    format!("{} has lost its marks: {}", of.called(), marks.join(", "))
}

/// A finding about marks: whoever wrote one of them owns it. That is another manager than Helm, if there is one.
fn of_marks(
    of: &ExaminedObject<'_>,
    upgrade: &NextUpgrade<'_>,
    class: FindingClass,
    (wrong, message): (&[WrongMark], String),
) -> DriftFinding {
    let written = wrong.iter().filter(|(_, value)| value.is_some());
    let writers = written
        .filter_map(|(mark, _)| {
            let steps = FieldPath::of(mark.iter().copied());
            of.writers().last(steps.steps())
        })
        .collect::<Vec<_>>();
    let is_other = |writer: &&FieldWriter| !of.is_helm(&writer.manager);
    let other = writers.iter().find(is_other);
    let writer = other.or(writers.first()).cloned();
    of.finding(class, upgrade.of_marks(other), message)
        .with_writer(writer)
}

/// The marks that do not name the release, each with its value.
fn wrong_marks(json: &str, release: &ReleaseName) -> Vec<WrongMark> {
    let wanted = ["Helm", &release.name, &release.namespace];
    let metadata = dig(json, &["metadata"]).unwrap_or_default();
    let marks = MARKS.into_iter().zip(wanted);
    marks
        .filter_map(|(mark, wanted)| {
            let [_, fields @ ..] = &mark;
            let value = dig(metadata, fields).map(unquoted);
            (value.as_deref() != Some(wanted)).then(|| (mark, value.map(Into::into)))
        })
        .collect()
}

/// Whether a difference is one of the marks alone: a mark, or a map that declares nothing else.
pub(super) fn is_of_marks(violation: &Violation<'_>) -> bool {
    is_of_marks_at(violation.path.steps(), violation.declared)
}

/// Whether a declared value is a mark, or consists of marks.
fn is_of_marks_at(steps: &[Step], declared: Json<'_>) -> bool {
    let is_at = |mark: &[&str]| {
        steps.len() == mark.len()
            && steps
                .iter()
                .zip(mark)
                .all(|(step, name)| matches!(step, Step::Field(field) if field == name))
    };
    MARKS.iter().any(|mark| {
        let [metadata, map, _] = *mark;
        is_at(mark) || is_at(&[metadata, map]) && holds_only_marks(map, declared)
    })
}

/// Whether the map of this name has no key but marks.
fn holds_only_marks(map: &str, value: Json<'_>) -> bool {
    Fields::of(value).is_some_and(|fields| {
        fields
            .iter()
            .all(|(key, _)| MARKS.iter().any(|[_, of, mark]| *of == map && *mark == key))
    })
}

/// Whether the path is that of a mark.
pub(super) fn is_mark(path: &FieldPath) -> bool {
    is_of_marks_at(path.steps(), Json::of("null"))
}
