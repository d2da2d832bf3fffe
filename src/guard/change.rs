//! What one release says of an UPDATE: the comparison, and what is taken off it again.

use serde_json::value::RawValue;

use super::{
    claim::{Claim, Held, RevisionClaim},
    judge::{Knowledge, Question, zero},
    verdict::{Change, Finding, Reason},
};
use crate::{
    compare::{
        Agreement, Comparison, Declared, Fields, Violation, compare,
        path::{FieldPath, Step},
        redact::Sensitivity,
        schema::Shape,
        values::{Against, satisfies},
    },
    helm::{identity::DeclaredObject, lifecycle::Phase},
    policy::presets::Act,
};

/// What one release says.
pub(super) enum Judged {
    /// Nothing against it.
    Passes,
    /// All that is against it is exempt under this preset.
    Exempt(&'static str),
    /// It can not be said.
    Undecided(Reason),
    /// These declared fields change.
    Violates(Vec<Change>),
}

impl Claim {
    pub(super) fn finding(&self, changes: Vec<Change>) -> Finding {
        Finding {
            release: self.release.clone(),
            chart: self.chart.clone(),
            revisions: self
                .revisions
                .iter()
                .map(|revision| revision.revision)
                .collect(),
            changes,
        }
    }

    fn agreement(&self) -> Agreement {
        if self.phase == Phase::Failed {
            Agreement::Any
        } else {
            Agreement::Every
        }
    }
}

fn parsed(object: &DeclaredObject) -> Option<&RawValue> {
    serde_json::from_str(&object.json).ok()
}

/// The manifests of a claim that can be compared, and what stands against comparing all of them.
struct Manifests<'c> {
    declared: Option<Declared<'c>>,
    doubt: Option<Reason>,
}

fn manifests<'c>(claim: &'c Claim, comparable: impl Fn(&DeclaredObject) -> bool) -> Manifests<'c> {
    let mut doubt = None;
    let mut slot = |revision: &'c RevisionClaim| match &revision.held {
        Held::Absent => None,
        Held::Unreadable => {
            doubt = Some(Reason::RecordUnreadable);
            None
        }
        Held::Declared(object) if !comparable(object) => {
            doubt = Some(Reason::VersionDiffers);
            None
        }
        Held::Declared(object) => parsed(object),
    };
    let mut slots = claim.revisions.iter();
    let first = slots.next().map(&mut slot);
    let second = slots.next().map(&mut slot);
    let declared = match (first, second) {
        (Some(Some(one)), None) => Some(Declared::One(one)),
        (Some(first), Some(second)) if first.is_some() || second.is_some() => {
            Some(match (first, second, doubt) {
                // What can be compared is compared; the doubt decides what becomes of a violation.
                (Some(one), None, Some(_)) | (None, Some(one), Some(_)) => Declared::One(one),
                (first, second, _) => Declared::Two(first, second),
            })
        }
        _ => None,
    };
    Manifests { declared, doubt }
}

/// Judges an UPDATE of the object itself.
pub(super) fn judge_update(
    question: &Question<'_>,
    claim: &Claim,
    old: &RawValue,
    new: &RawValue,
) -> Judged {
    let is_absent = |revision: &RevisionClaim| matches!(revision.held, Held::Absent);
    if claim.agreement() == Agreement::Every && claim.revisions.iter().any(is_absent) {
        return Judged::Passes;
    }
    let version = &*question.request.kind.version;
    let whole = manifests(claim, |object| object.version == version);
    let run = |declared| {
        let comparison = Comparison {
            declared,
            agreement: claim.agreement(),
            old,
            new,
            shape: question.knowledge.shape(),
            empties: question.knowledge.empties(),
        };
        weigh(question, claim, (old, new), compare(&comparison))
    };
    let Some(doubt) = whole.doubt else {
        return whole.declared.map_or(Judged::Passes, run);
    };
    // The labels and annotations of an object are the same in every version of its kind.
    if doubt == Reason::VersionDiffers
        && let Some(declared) = manifests(claim, |_| true).declared
        && let Judged::Violates(changes) = run(declared)
    {
        let (metadata, rest): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| is_metadata(&change.path));
        return match (metadata.is_empty(), rest.is_empty()) {
            (false, _) => Judged::Violates(metadata),
            (true, false) => Judged::Undecided(doubt),
            (true, true) => Judged::Passes,
        };
    }
    if only_metadata_changes(old, new) {
        return Judged::Passes;
    }
    match whole.declared.map(run) {
        Some(Judged::Passes) => Judged::Passes,
        Some(Judged::Exempt(preset)) => Judged::Exempt(preset),
        Some(Judged::Violates(_) | Judged::Undecided(_)) | None => Judged::Undecided(doubt),
    }
}

fn is_metadata(path: &FieldPath) -> bool {
    matches!(path.steps().first(), Some(Step::Field(first)) if first == "metadata")
}

fn only_metadata_changes(old: &RawValue, new: &RawValue) -> bool {
    let (Some(old), Some(new)) = (Fields::of(old), Fields::of(new)) else {
        return false;
    };
    let text = |raw: Option<&RawValue>| raw.map(|raw| raw.get().to_owned());
    let differs = |(name, value): (&str, &RawValue), other: &Fields<'_>| {
        name != "metadata" && name != "status" && text(other.get(name)) != text(Some(value))
    };
    !old.iter().any(|field| differs(field, &new)) && !new.iter().any(|field| differs(field, &old))
}

/// Judges a scale request: the parent's declared replicas against those of the two Scale objects.
pub(super) fn judge_replicas(
    question: &Question<'_>,
    claim: &Claim,
    old: &RawValue,
    new: &RawValue,
) -> Judged {
    let is_absent = |revision: &RevisionClaim| matches!(revision.held, Held::Absent);
    let agreement = claim.agreement();
    if agreement == Agreement::Every && claim.revisions.iter().any(is_absent) {
        return Judged::Passes;
    }
    let whole = manifests(claim, |_| true);
    let declared = whole
        .declared
        .and_then(|d| d.map(|raw| dig(raw, question.replicas_path)));
    let Some(declared) = declared else {
        return whole.doubt.map_or(Judged::Passes, Judged::Undecided);
    };
    let requested = |scale| dig(scale, &["spec", "replicas"]).unwrap_or(zero());
    let comparison = Comparison {
        declared,
        agreement,
        old: requested(old),
        new: requested(new),
        shape: Shape::plain(),
        empties: question.knowledge.empties(),
    };
    let mut violations = compare(&comparison);
    if violations.is_empty() {
        return Judged::Passes;
    }
    if let Some(preset) = question.exemption(Act::Scale) {
        return Judged::Exempt(preset);
    }
    if let Some(doubt) = whole.doubt {
        return Judged::Undecided(doubt);
    }
    for violation in &mut violations {
        violation.path = FieldPath::of(question.replicas_path.iter().copied());
    }
    violations.retain(|violation| !excused_elsewhere(question, claim, violation));
    conclude(question, &violations)
}

fn dig<'a>(raw: &'a RawValue, path: &[&str]) -> Option<&'a RawValue> {
    path.iter()
        .try_fold(raw, |raw, field| Fields::of(raw)?.get(field))
}

/// Takes off the violations that are none after all, and concludes from the rest.
fn weigh(
    question: &Question<'_>,
    claim: &Claim,
    (old, new): (&RawValue, &RawValue),
    mut violations: Vec<Violation<'_>>,
) -> Judged {
    if violations.is_empty() {
        return Judged::Passes;
    }
    let mut exempt = None;
    violations.retain(|violation| {
        if is_finalizer(&violation.path) && violation.new.is_none() && is_deleting(old, new) {
            return false;
        }
        if let Some(preset) = question.exemption(Act::Change(&violation.path)) {
            exempt = Some(preset);
            return false;
        }
        !excused_elsewhere(question, claim, violation)
    });
    match (violations.is_empty(), exempt) {
        (true, Some(preset)) => Judged::Exempt(preset),
        _ => conclude(question, &violations),
    }
}

fn conclude(question: &Question<'_>, violations: &[Violation<'_>]) -> Judged {
    let unsure = |violation: &&Violation<'_>| {
        violation.unknown_list && matches!(question.knowledge, Knowledge::Unavailable)
    };
    let changes: Vec<Change> = violations
        .iter()
        .filter(|violation| !unsure(violation))
        .map(|violation| shown(question, violation))
        .collect();
    if !changes.is_empty() {
        return Judged::Violates(changes);
    }
    if violations.is_empty() {
        Judged::Passes
    } else {
        Judged::Undecided(Reason::SchemaUnavailable)
    }
}

fn shown(question: &Question<'_>, violation: &Violation<'_>) -> Change {
    let sensitivity = Sensitivity::of(question.object.group, question.object.kind);
    let show = |raw| question.redactor.show(sensitivity, &violation.path, raw);
    Change {
        path: violation.path.clone(),
        declared: show(Some(violation.declared)),
        live: show(violation.old),
        requested: show(violation.new),
    }
}

fn is_finalizer(path: &FieldPath) -> bool {
    matches!(
        path.steps(),
        [Step::Field(metadata), Step::Field(finalizers), ..]
            if metadata == "metadata" && finalizers == "finalizers"
    )
}

/// Finalizers come off an object that is being deleted. Nothing else of it is let through for that:
/// to skip such objects altogether was CVE-2023-34091 of Kyverno.
fn is_deleting(old: &RawValue, new: &RawValue) -> bool {
    [old, new]
        .iter()
        .all(|raw| dig(raw, &["metadata", "deletionTimestamp"]).is_some())
}

/// Another release that claims the object declares the very value, or is taking the object over
/// and does not declare the field.
fn excused_elsewhere(question: &Question<'_>, claim: &Claim, violation: &Violation<'_>) -> bool {
    let others = question
        .claims
        .iter()
        .filter(|other| other.release != claim.release);
    let shape = question.knowledge.shape();
    let empties = question.knowledge.empties();
    others
        .flat_map(|other| {
            other
                .revisions
                .iter()
                .map(move |revision| (other, revision))
        })
        .any(|(other, revision)| {
            let Held::Declared(object) = &revision.held else {
                return false;
            };
            let Some(root) = parsed(object) else {
                return false;
            };
            match find(root, shape, violation.path.steps()) {
                Some((value, shape)) => {
                    let against = Against {
                        old: violation.old,
                        new: violation.new,
                    };
                    satisfies(value, against, shape, empties)
                }
                None => other.phase == Phase::Pending && violation.new.is_none(),
            }
        })
}

/// The value at a path of a manifest's object.
fn find<'a>(
    root: &'a RawValue,
    shape: Shape<'a>,
    steps: &[Step],
) -> Option<(&'a RawValue, Shape<'a>)> {
    let mut at = (root, shape);
    for step in steps {
        at = match step {
            Step::Field(name) => (Fields::of(at.0)?.get(name)?, at.1.field(name)),
            Step::Index(index) => {
                let items: Vec<&RawValue> = serde_json::from_str(at.0.get()).ok()?;
                (items.get(*index).copied()?, at.1.item())
            }
            Step::Value(value) => {
                let items: Vec<&RawValue> = serde_json::from_str(at.0.get()).ok()?;
                (
                    items.into_iter().find(|item| item.get() == value)?,
                    at.1.item(),
                )
            }
            Step::Item(keys) => {
                let items: Vec<&RawValue> = serde_json::from_str(at.0.get()).ok()?;
                let is_it = |item: &&RawValue| {
                    let Some(fields) = Fields::of(item) else {
                        return false;
                    };
                    keys.iter().all(|(key, value)| {
                        fields
                            .get(key)
                            .is_none_or(|found| found.get().trim_matches('"') == value)
                    })
                };
                (items.into_iter().find(is_it)?, at.1.item())
            }
        };
    }
    Some(at)
}
