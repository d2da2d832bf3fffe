//! Declared fields that differ: **Changed**, **Removed**, **`MutatedAtAdmission`** and **Emergency**.
//!
//! A difference is one of the webhook's comparison, and not one if a rule of the policy tolerates it. Who wrote
//! the live value decides the class:
//!
//! - Helm, during an operation of the release: something changed the value inside Helm's own request.
//! - A field that is gone has no writer. It was dropped at admission if Helm owns it all the same, because the API
//!   server notes the owners before; or if the object is as it was created (`metadata.generation` is 1). A client that
//!   removes a field takes it from its owners, and leaves no other trace.
//!
//! Start at [`differences`].

use jiff::Timestamp;

use super::{
    consequence::NextUpgrade,
    drift_of_active,
    exact::DifferingTexts,
    examined::{ExaminedObject, MOST_FIELDS},
    finding::{Consequence, DriftFinding, FindingClass},
    ownership::is_of_marks,
    repair::{FieldRepair, NoRepair},
    scanned::{LiveObject, UnreadableReason},
    tolerated::ToleranceOf,
    writers::FieldWriter,
};
use crate::{
    compare::{
        Agreement, Declared, Json, Violation, dig,
        path::{FieldPath, Step},
    },
    guard::Knowledge,
    helm::{identity::DeclaredObject, lifecycle::Phase},
};

/// The differences of one object.
#[derive(Default)]
pub(super) struct Differences {
    pub(super) findings: Vec<DriftFinding>,
    /// The number of further ones.
    pub(super) omitted: usize,
    /// Where they are, tolerated ones included.
    pub(super) paths: Vec<FieldPath>,
    /// Why a part of the object could not be compared.
    pub(super) unread: Option<UnreadableReason<'static>>,
}

/// Compares the live object with the active manifests.
pub(super) fn differences(of: &ExaminedObject<'_>, upgrade: &NextUpgrade<'_>) -> Differences {
    let mut found = Differences::default();
    let is_same_version = of.is_in_declared_version();
    let violations = of.violations();
    let violations = violations
        .iter()
        .filter(|violation| !is_identity(&violation.path));
    let tolerance = ToleranceOf::new(of);
    let mut last: Option<&FieldPath> = None;
    for violation in violations {
        let path = shown_path(violation);
        // Several keys of one value are one difference.
        if is_of_marks(violation) || last == Some(path) {
            continue;
        }
        // Labels and annotations are the same in every version.
        if !is_same_version && !is_metadata(path) {
            found.unread = Some(UnreadableReason::OtherVersion);
            continue;
        }
        found.paths.push(path.clone());
        if tolerance.of_violation(violation) {
            continue;
        }
        if violation.too_complex {
            found.unread = Some(UnreadableReason::TooComplex);
        } else if violation.unknown_list && matches!(of.observed.knowledge, Knowledge::Unavailable)
        {
            found.unread = Some(UnreadableReason::NoSchema);
        } else if found.findings.len() == MOST_FIELDS {
            found.omitted += 1;
        } else {
            last = Some(path);
            found.findings.push(difference(of, upgrade, violation));
        }
    }
    found
}

fn difference(
    of: &ExaminedObject<'_>,
    upgrade: &NextUpgrade<'_>,
    violation: &Violation<'_>,
) -> DriftFinding {
    let path = shown_path(violation);
    let whole = violation.whole.as_ref();
    let declared = whole.map_or(violation.declared, |whole| whole.declared);
    let live = whole.map_or(violation.new, |whole| whole.new);
    let values = of.values(path, Some(declared), live);
    let field = values.to_field(path);
    let writer = live.and_then(|_| of.writers().last(path.steps()));
    let is_mutated = match &writer {
        Some(writer) => is_helms_write(of, writer),
        None => live.is_none() && (is_dropped(of, path) || is_as_created(of, path)),
    };
    let other = writer
        .as_ref()
        .filter(|writer| !of.is_helm(&writer.manager));
    let mut consequence = upgrade.of_field(violation, other);
    let revision = of.revision();
    let is_now = match live {
        Some(_) => format!("is {}", values.live),
        None => "is gone".to_owned(),
    };
    let mut message = format!(
        "{path} of {} {is_now}, and revision {revision} declares {}",
        of.called(),
        values.declared
    );
    let emergency = of.rules.emergencies.explaining(of.key, path, &field);
    let class = match (&emergency, is_mutated, live) {
        (Some(change), ..) => {
            message = format!("{message}: emergency change {change}");
            FindingClass::Emergency
        }
        (None, true, _) => {
            message.push_str(", since Helm wrote it: something changes it at admission");
            consequence = Consequence::Kept;
            FindingClass::MutatedAtAdmission
        }
        (None, false, Some(_)) => FindingClass::Changed,
        (None, false, None) => FindingClass::Removed,
    };
    let mut finding = of
        .finding(class, consequence, message)
        .with_field(path, field)
        .with_writer(writer);
    finding.emergency_change = emergency;
    let texts = DifferingTexts {
        declared: Some(declared),
        live,
    };
    finding.exact = of.exact(path, texts, |field| {
        if upgrade.is_rejected(violation) {
            return Err(NoRepair::Rejected);
        }
        FieldRepair::of(field)
    });
    finding
}

/// Whether Helm wrote at this time, in an operation of the release. Anyone can call himself Helm, at other times.
fn is_helms_write(of: &ExaminedObject<'_>, writer: &FieldWriter) -> bool {
    let time = writer.time.as_deref();
    let time = time.and_then(|time| time.parse::<Timestamp>().ok());
    of.is_helm(&writer.manager) && time.is_some_and(|time| of.history.is_operation(time))
}

/// Whether Helm owns a field that is gone.
fn is_dropped(of: &ExaminedObject<'_>, path: &FieldPath) -> bool {
    let owner = of.writers().holder(path.steps());
    owner.is_some_and(|owner| is_helms_write(of, &owner))
}

/// Whether nothing but metadata and status was written since the object was created by Helm.
fn is_as_created(of: &ExaminedObject<'_>, path: &FieldPath) -> bool {
    let writers = of.writers();
    !is_metadata(path)
        && dig(of.json, &["metadata", "generation"]) == Some("1")
        && writers.include(|manager| of.is_helm(manager))
        && !writers.include(|manager| !of.is_helm(manager))
}

/// The path that is shown: of a key of an atomic object, that object.
fn shown_path<'v>(violation: &'v Violation<'_>) -> &'v FieldPath {
    violation
        .whole
        .as_ref()
        .map_or(&violation.path, |whole| &whole.path)
}

fn is_metadata(path: &FieldPath) -> bool {
    matches!(path.steps().first(), Some(Step::Field(first)) if first == "metadata")
}

/// Items of a list have no kind and no version.
fn is_identity(path: &FieldPath) -> bool {
    matches!(path.steps(), [Step::Field(first)] if first == "apiVersion" || first == "kind")
        || matches!(
            path.steps(),
            [Step::Field(first), Step::Field(second)] if first == "metadata" && second == "name"
        )
}

impl<'e> ExaminedObject<'e> {
    /// What differs from every active manifest.
    fn violations(&self) -> Vec<Violation<'e>> {
        let json = |object: &'e DeclaredObject| Json::of(&object.json);
        let newest = self.scanned.newest.map(json);
        let base = self.scanned.base.map(json);
        let declared = match (newest, base, self.history.base) {
            (Some(only), None, None) => Declared::One(only),
            (None, None, _) => return Vec::new(),
            (newest, base, _) => Declared::Two(newest, base),
        };
        drift_of_active(
            declared,
            agreement(self.history.phase()),
            self.live(),
            self.kind(),
        )
    }

    /// Whether the live object was read in the version in which it is declared.
    pub(super) fn is_in_declared_version(&self) -> bool {
        let LiveObject::Present { version, .. } = self.observed.live else {
            return false;
        };
        version == self.scanned.version()
    }
}

/// The same as for requests: see [`Agreement`].
fn agreement(phase: Phase) -> Agreement {
    match phase {
        Phase::Failed => Agreement::Any,
        Phase::Settled | Phase::Pending | Phase::Uninstalling => Agreement::Every,
    }
}
