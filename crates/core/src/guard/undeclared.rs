//! Changes of fields that no release declares, if a policy guards them. Evaluated last: a request that
//! violates a declared field is denied for that.
//!
//! While Helm may be at work (a release is pending, a record is unreadable, another version is
//! evaluated), nothing is reported: Helm's three-way patches write fields that the manifest does not
//! contain.

use super::{
    change::{TOO_COMPLEX, rule_path},
    claim::{Claim, RevisionObject},
    question::{ClaimContext, Question},
    verdict::{FieldChange, Finding, Reason, Verdict},
};
use crate::{
    api::{Mode, policy::overrides::UndeclaredMode},
    compare::{
        Json,
        budget::StepBudget,
        redact::{Sensitivity, ShownValue},
        rules::Rules,
        undeclared::{Undeclared, undeclared},
    },
    helm::lifecycle::Phase,
    policy::{Act, PathChange},
};

/// The verdict on undeclared fields; `None` if there is no violation, or no policy guards them.
pub(super) fn judge_undeclared(
    question: &Question<'_>,
    (old, new): (Json<'_>, Json<'_>),
) -> Option<Verdict> {
    let version = &*question.request.kind.version;
    let is_off = !question.policy.guards_undeclared()
        || old.text() == new.text()
        || question.claims.iter().any(|claim| {
            !matches!(claim.phase, Phase::Settled | Phase::Failed)
                || claim.version() != Some(version)
        });
    if is_off {
        return None;
    }
    let guarding: Vec<(ClaimContext<'_>, Mode)> = question
        .claims
        .iter()
        .filter_map(|claim| {
            let of = question.of(claim);
            let mode = mode(question, &of)?;
            Some((of, mode))
        })
        .collect();
    if guarding.is_empty() {
        return None;
    }
    let claims = question.claims.iter();
    let manifests: Vec<Json<'_>> = claims.map(declared).collect::<Option<Vec<_>>>()?.concat();
    let rules = Rules {
        empties: question.knowledge.empties(),
        budget: &StepBudget::default(),
    };
    let shape = question.knowledge.shape();
    let changed = undeclared(&manifests, (old, new), shape, rules, |change| {
        let mut guarding = guarding.iter();
        guarding.any(|(of, _)| !passes(question, of, change))
    });
    let findings: Vec<Finding> = guarding
        .iter()
        .filter_map(|(of, mode)| finding(question, of, *mode, &changed))
        .collect();
    let reason = Reason::UndeclaredChanged;
    (!findings.is_empty()).then(|| Verdict::with_findings(reason, findings))
}

/// The mode for one release: never stricter than that of a violation there.
fn mode(question: &Question<'_>, of: &ClaimContext<'_>) -> Option<Mode> {
    let object = question.object(of.claim, &of.manifest);
    let mode = question.policy.mode(&object);
    match question.policy.undeclared(&object) {
        UndeclaredMode::Allow => None,
        UndeclaredMode::Warn => Some(mode.max(Mode::Warn)),
        UndeclaredMode::Deny => Some(mode),
    }
}

/// The object in each active manifest that has it; `None` if one cannot be read.
fn declared(claim: &Claim) -> Option<Vec<Json<'_>>> {
    let mut objects = Vec::new();
    for revision in &claim.revisions {
        match &revision.held {
            RevisionObject::Declared(object) => objects.push(Json::of(&object.json)),
            RevisionObject::Absent => {}
            RevisionObject::Unreadable => return None,
        }
    }
    Some(objects)
}

fn finding(
    question: &Question<'_>,
    of: &ClaimContext<'_>,
    mode: Mode,
    found: &[Undeclared<'_>],
) -> Option<Finding> {
    let changes: Vec<FieldChange> = found
        .iter()
        .filter(|change| !passes(question, of, change))
        .map(|change| shown(question, change))
        .collect();
    (!changes.is_empty()).then(|| Finding {
        mode,
        ..of.claim.finding(question, changes)
    })
}

fn passes(question: &Question<'_>, of: &ClaimContext<'_>, change: &Undeclared<'_>) -> bool {
    let change = PathChange {
        path: rule_path(&change.path, change.too_complex),
        old: change.old.map(Json::text),
        new: change.new.map(Json::text),
    };
    let object = question.object(of.claim, &of.manifest);
    let user = question.request.user_info.identity();
    question.policy.excepts(user, &object, change)
        || question.exemption(of, Act::Change(change)).is_some()
}

fn shown(question: &Question<'_>, change: &Undeclared<'_>) -> FieldChange {
    let sensitivity = Sensitivity::of(question.object.group, question.object.kind);
    let show = |value: Option<Json<'_>>| {
        let text = value.map(Json::text);
        question.redactor.show(sensitivity, &change.path, text)
    };
    FieldChange {
        path: change.path.clone(),
        declared: show(None),
        live: show(change.old),
        requested: if change.too_complex {
            ShownValue::Text(TOO_COMPLEX.to_owned())
        } else {
            show(change.new)
        },
    }
}
