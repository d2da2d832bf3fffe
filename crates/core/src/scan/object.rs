//! One object of a release: which rules apply to it, by whether it is declared and whether it exists.

use super::{
    claimed::claims,
    consequence::NextUpgrade,
    differences::{Differences, differences},
    exact::DifferingTexts,
    examined::ExaminedObject,
    finding::{Consequence, DriftFinding, FindingClass},
    leftovers::{leaked_fields, leftover},
    ownership::ownership,
    progress::{ObjectProgress, not_created, progress},
    records::removed_api,
    repair::NoRepair,
    scanned::{LiveObject, UnreadableReason},
    tolerated::ToleranceOf,
};
use crate::{
    compare::{Json, dig, path::FieldPath},
    guard::Knowledge,
    helm::lifecycle::Phase,
};

/// What the scan of one object found: usually nothing.
#[derive(Debug, Default)]
pub struct ObjectAssessment {
    pub(super) findings: Vec<DriftFinding>,
    pub(super) omitted: usize,
    pub(super) is_declared: bool,
    pub(super) follows_newest: bool,
    pub(super) lagging: Option<DriftFinding>,
}

impl ObjectAssessment {
    /// The findings, without those that depend on other objects.
    pub fn findings(&self) -> &[DriftFinding] {
        &self.findings
    }

    fn with_progress(mut self, progress: ObjectProgress) -> Self {
        self.follows_newest = progress.follows_newest;
        self.lagging = progress.lagging;
        self
    }
}

/// Assesses one object.
pub(super) fn assess(of: &ExaminedObject<'_>) -> ObjectAssessment {
    let mut found = ObjectAssessment {
        findings: removed_api(of).into_iter().collect(),
        is_declared: of.scanned.is_declared(),
        ..ObjectAssessment::default()
    };
    if of.history.is_working {
        // Objects may be on their way, and the next scan sees them.
        return found;
    }
    let is_being_deleted = || dig(of.json, &["metadata", "deletionTimestamp"]).is_some();
    match (of.observed.live, found.is_declared) {
        (LiveObject::Unreadable(reason), true) => note_unread(of, &mut found, reason),
        (LiveObject::Absent, true) => return absent(of, found),
        (LiveObject::Present { .. }, true) if is_being_deleted() => {
            note_unread(of, &mut found, UnreadableReason::Terminating);
        }
        (LiveObject::Present { .. }, true) => return present(of, found),
        (LiveObject::Present { .. }, false) if !is_being_deleted() => {
            found.findings.extend(leftover(of));
        }
        (LiveObject::Present { .. } | LiveObject::Absent | LiveObject::Unreadable(_), false) => {}
    }
    found
}

fn present(of: &ExaminedObject<'_>, mut found: ObjectAssessment) -> ObjectAssessment {
    let upgrade = NextUpgrade {
        method: of.history.apply_method(),
        key: of.key,
        is_builtin: matches!(of.observed.knowledge, Knowledge::Builtin(_)),
        live: of.live(),
        kind: of.kind(),
    };
    let ownership = ownership(of, &upgrade);
    found.findings.extend(ownership.finding);
    if !ownership.is_compared {
        return found;
    }
    let Differences {
        findings,
        omitted,
        paths,
        unread,
    } = differences(of, &upgrade);
    found.findings.extend(findings);
    found.omitted = omitted;
    if let Some(reason) = unread {
        note_unread(of, &mut found, reason);
    }
    if !of.is_in_declared_version() {
        return found;
    }
    let claims = claims(of, &paths);
    found.findings.extend(claims.findings);
    found.omitted += claims.omitted;
    found.findings.extend(leaked_fields(of));
    if matches!(of.history.phase(), Phase::Failed | Phase::Pending) {
        return found.with_progress(progress(of));
    }
    found
}

/// While two revisions are active, an object that only one of them declares may be missing.
fn absent(of: &ExaminedObject<'_>, mut found: ObjectAssessment) -> ObjectAssessment {
    let is_in_all = of.scanned.newest.is_some()
        && (of.scanned.base.is_some() || of.history.phase() == Phase::Settled);
    match of.history.phase() {
        Phase::Uninstalling => return found,
        Phase::Failed | Phase::Pending if !is_in_all => {
            return match of.scanned.newest {
                Some(_) => found.with_progress(not_created(of)),
                None => found,
            };
        }
        Phase::Settled | Phase::Failed | Phase::Pending => {}
    }
    if ToleranceOf::new(of).of_absence() {
        return found;
    }
    let emergency = of.rules.emergencies.deleting(of.key);
    let mut message = format!(
        "{} does not exist, and revision {} declares it",
        of.called(),
        of.revision()
    );
    let class = match &emergency {
        Some(change) => {
            message = format!("{message}: emergency change {change}");
            FindingClass::Emergency
        }
        None => FindingClass::Missing,
    };
    let mut finding = of.finding(class, Consequence::Recreated, message);
    finding.emergency_change = emergency;
    let declared = of.scanned.newest.or(of.scanned.base);
    let texts = DifferingTexts {
        declared: declared.map(|object| Json::of(&object.json)),
        live: None,
    };
    finding.exact = of.exact(&FieldPath::root(), texts, |_| Err(NoRepair::NoObject));
    found.findings.push(finding);
    found
}

/// An object in a version that is not served is found by its removed API version already.
fn note_unread(
    of: &ExaminedObject<'_>,
    found: &mut ObjectAssessment,
    reason: UnreadableReason<'_>,
) {
    let is_named = matches!(
        reason,
        UnreadableReason::KindGone | UnreadableReason::OtherVersion
    ) && found
        .findings
        .iter()
        .any(|finding| finding.class == FindingClass::RemovedApi);
    if !is_named {
        let message = format!("{} is not known: {reason}", of.called());
        // Helm builds the objects of the old manifest first.
        let consequence = match reason {
            UnreadableReason::KindGone => Consequence::Blocks,
            _ => Consequence::Unknown,
        };
        let finding = of.finding(FindingClass::Unreadable, consequence, message);
        found.findings.push(finding);
    }
}
