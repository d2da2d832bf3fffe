//! The result of an UPDATE for one release: the comparison, and which of its violations are allowed after all.

use std::sync::{Arc, LazyLock};

use super::{
    claim::{Claim, RevisionClaim, RevisionObject},
    question::{Knowledge, Question},
    shared_ownership::OtherManifests,
    verdict::{FieldChange, Finding, Reason},
};
use crate::{
    compare::{
        Agreement, Comparison, Declared, Fields, Json, Violation, at, compare,
        path::{FieldPath, Step},
        redact::{Sensitivity, ShownValue},
        schema::Shape,
    },
    helm::{identity::DeclaredObject, lifecycle::Phase, manifest::marks},
    policy::{Act, PathChange},
};

/// The result for one release.
pub(super) enum Judged {
    /// No violation.
    Passes,
    /// This rule exempts all violations.
    Exempt(Arc<str>),
    /// An autoscaler that no release declares changes the replicas, which this rule allows.
    Autoscaled(Arc<str>, Vec<FieldChange>),
    /// Another call of the webhook decides, in the version of the manifest.
    DeferredToOtherVersion,
    /// The result is unknown.
    Undecided(Reason),
    /// These declared fields change.
    Violates(Vec<FieldChange>),
}

impl Claim {
    pub(super) fn finding(&self, question: &Question<'_>, changes: Vec<FieldChange>) -> Finding {
        Finding {
            release: self.release.clone(),
            chart: self.chart.clone(),
            apply_method: self.apply_method,
            mode: question.policy.mode(&question.object(self, &self.tree())),
            revisions: self
                .revisions
                .iter()
                .map(|revision| revision.revision)
                .collect(),
            changes,
            involved: Vec::new(),
        }
    }

    /// While Helm may be at work, an object that one active manifest does not hold is free.
    pub(super) fn leaves_free(&self) -> bool {
        let is_absent = |revision: &RevisionClaim| matches!(revision.held, RevisionObject::Absent);
        self.agreement() == Agreement::Every && self.revisions.iter().any(is_absent)
    }

    /// How many of the active manifests must agree on a path.
    pub(super) fn agreement(&self) -> Agreement {
        if self.phase == Phase::Failed {
            Agreement::Any
        } else {
            Agreement::Every
        }
    }
}

/// The manifests of a claim that can be compared, and why the others cannot.
pub(super) struct Manifests<'c> {
    pub(super) declared: Option<Declared<'c>>,
    pub(super) doubt: Option<Reason>,
}

/// The manifests of `claim` whose object is `comparable` with the request's.
pub(super) fn manifests<'c>(
    claim: &'c Claim,
    comparable: impl Fn(&DeclaredObject) -> bool,
) -> Manifests<'c> {
    let mut doubt = None;
    let mut slot = |revision: &'c RevisionClaim| match &revision.held {
        RevisionObject::Absent => None,
        RevisionObject::Unreadable => {
            doubt = Some(Reason::RecordUnreadable);
            None
        }
        RevisionObject::Declared(object) if !comparable(object) => {
            doubt = Some(Reason::VersionDiffers);
            None
        }
        RevisionObject::Declared(object) => Some(Json::of(&object.json)),
    };
    let mut slots = claim.revisions.iter();
    let first = slots.next().map(&mut slot);
    let second = slots.next().map(&mut slot);
    let declared = match (first, second) {
        (Some(Some(one)), None) => Some(Declared::One(one)),
        (Some(first), Some(second)) if first.is_some() || second.is_some() => {
            Some(match (first, second, doubt) {
                // Compare what can be compared; the doubt decides what happens to a violation.
                (Some(one), None, Some(_)) | (None, Some(one), Some(_)) => Declared::One(one),
                (first, second, _) => Declared::Two(first, second),
            })
        }
        _ => None,
    };
    Manifests { declared, doubt }
}

/// Evaluates an UPDATE of the object itself.
pub(super) fn judge_update(
    question: &Question<'_>,
    claim: &Claim,
    old: Json<'_>,
    new: Json<'_>,
) -> Judged {
    if claim.leaves_free() {
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
    // Every manifest declares that the object belongs to its release.
    if doubt == Reason::RecordUnreadable && at(new, &["metadata"]).is_some() {
        let marks = marks(&claim.release).to_string();
        let comparison = Comparison {
            declared: Declared::One(Json::of(&marks)),
            agreement: Agreement::Every,
            old,
            new,
            shape: Shape::plain(),
            empties: question.knowledge.empties(),
        };
        if let Judged::Violates(changes) = weigh(question, claim, (old, new), compare(&comparison))
        {
            return Judged::Violates(changes);
        }
    }
    if only_metadata_changes(old, new) {
        return Judged::Passes;
    }
    match whole.declared.map(run) {
        Some(Judged::Passes) => Judged::Passes,
        Some(Judged::Exempt(preset)) => Judged::Exempt(preset),
        Some(
            Judged::Violates(_)
            | Judged::Undecided(_)
            | Judged::DeferredToOtherVersion
            | Judged::Autoscaled(..),
        )
        | None => Judged::Undecided(doubt),
    }
}

fn is_metadata(path: &FieldPath) -> bool {
    matches!(path.steps().first(), Some(Step::Field(first)) if first == "metadata")
}

fn only_metadata_changes(old: Json<'_>, new: Json<'_>) -> bool {
    let (Some(old), Some(new)) = (Fields::of(old), Fields::of(new)) else {
        return false;
    };
    let differs = |(name, value): (&str, Json<'_>), other: &Fields<'_>| {
        name != "metadata"
            && name != "status"
            && other.get(name).map(Json::text) != Some(value.text())
    };
    !old.iter().any(|field| differs(field, &new)) && !new.iter().any(|field| differs(field, &old))
}

/// Drops the violations that are allowed after all, and concludes from the rest.
fn weigh(
    question: &Question<'_>,
    claim: &Claim,
    (old, new): (Json<'_>, Json<'_>),
    mut violations: Vec<Violation<'_>>,
) -> Judged {
    if violations.is_empty() {
        return Judged::Passes;
    }
    let mut exempt = None;
    let of = question.of(claim);
    let mut others = OtherManifests::of(question, claim);
    violations.retain(|violation| {
        if is_finalizer(&violation.path) && violation.new.is_none() && is_deleting(old, new) {
            return false;
        }
        if let Some(rule) = question.exemption(&of, Act::Change(policy_change(violation))) {
            exempt = Some(rule);
            return false;
        }
        !others.excuse(violation)
    });
    match (violations.is_empty(), exempt) {
        (true, Some(preset)) => Judged::Exempt(preset),
        _ => conclude(question, &violations),
    }
}

static WHOLE_OBJECT: LazyLock<FieldPath> = LazyLock::new(FieldPath::root);

/// The change in the form that policies match on.
pub(super) fn policy_change<'v>(violation: &'v Violation<'_>) -> PathChange<'v> {
    PathChange {
        path: rule_path(&violation.path, violation.too_complex),
        old: violation.old.map(Json::text),
        new: violation.new.map(Json::text),
    }
}

/// The path that rules match on. If the comparison was not finished, only a rule for the whole object
/// covers everything.
pub(super) fn rule_path(path: &FieldPath, too_complex: bool) -> &FieldPath {
    if too_complex { &WHOLE_OBJECT } else { path }
}

/// Decides by the remaining violations.
pub(super) fn conclude(question: &Question<'_>, violations: &[Violation<'_>]) -> Judged {
    let unsure = |violation: &&Violation<'_>| {
        violation.unknown_list && matches!(question.knowledge, Knowledge::Unavailable)
    };
    let mut changes: Vec<FieldChange> = violations
        .iter()
        .filter(|violation| !unsure(violation))
        .map(|violation| shown(question, violation))
        .collect();
    // Changes of several keys of one value are one change.
    changes.dedup_by(|later, earlier| later.path == earlier.path);
    if !changes.is_empty() {
        return Judged::Violates(changes);
    }
    if violations.is_empty() {
        Judged::Passes
    } else {
        Judged::Undecided(Reason::SchemaUnavailable)
    }
}

/// The violation in the form that a finding shows.
pub(super) fn shown(question: &Question<'_>, violation: &Violation<'_>) -> FieldChange {
    let sensitivity = Sensitivity::of(question.object.group, question.object.kind);
    let whole = violation.whole.as_ref();
    let path = whole.map_or(&violation.path, |whole| &whole.path);
    let show = |json: Option<Json<'_>>| {
        question
            .redactor
            .show(sensitivity, path, json.map(Json::text))
    };
    FieldChange {
        path: path.clone(),
        declared: show(Some(
            whole.map_or(violation.declared, |whole| whole.declared),
        )),
        live: show(whole.map_or(violation.old, |whole| whole.old)),
        requested: if violation.too_complex {
            ShownValue::Text(TOO_COMPLEX.to_owned())
        } else {
            show(whole.map_or(violation.new, |whole| whole.new))
        },
    }
}

/// Shown instead of a value whose comparison was not finished.
pub(super) const TOO_COMPLEX: &str = "<too complex to compare>";

fn is_finalizer(path: &FieldPath) -> bool {
    matches!(
        path.steps(),
        [Step::Field(metadata), Step::Field(finalizers), ..]
            if metadata == "metadata" && finalizers == "finalizers"
    )
}

/// Finalizers may be removed from an object that is being deleted, and nothing else may change:
/// skipping such objects altogether was CVE-2023-34091 of Kyverno.
fn is_deleting(old: Json<'_>, new: Json<'_>) -> bool {
    [old, new]
        .iter()
        .all(|json| at(*json, &["metadata", "deletionTimestamp"]).is_some())
}
