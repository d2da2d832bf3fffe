//! How an emergency change is resolved: from the change, the live object, what the release declares
//! now, and the time, to the new state.
//!
//! The rule is that of drift: a change is resolved when every changed field of the object is again as
//! the newest revision declares it. The value shows whether the chart adopted it (`Absorbed`) or it
//! was reverted (`Reverted`). The values of a Secret are recorded only as hashes, so there a later
//! revision decides.
//!
//! While Helm is at work, or if the declared state is unknown, nothing is resolved.
//!
//! What releases depend on (a record, a namespace, a CRD) is in no manifest, so no chart can adopt the
//! change: it stays open until it is reverted or a later revision is deployed.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    api::{
        ChangeState, EmergencyChangeSpec,
        change::ChangeOperation,
        reported::{ReportedField, ReportedValue},
    },
    compare::{
        Json,
        budget::StepBudget,
        lookup::select_all,
        path::{FieldPath, Step},
        rules::{EmptyListPolicy, Rules},
        schema::{ListKind, Node, Shape},
        values::{ComparedValue, satisfies},
    },
};

/// A change that is not visible in the cluster after this time was never persisted: the API server
/// has long aborted the request.
pub const GRACE: SignedDuration = SignedDuration::from_secs(90);

/// Everything that the state depends on.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// What happened.
    pub change: &'a EmergencyChangeSpec,
    /// The state so far.
    pub state: ChangeState,
    /// The live object; `None` if it is gone.
    pub live: Option<&'a Value>,
    /// What the release declares about it.
    pub standing: DeclaredState<'a>,
    /// What is known about the kind's fields.
    pub shape: Shape<'a>,
    /// How empty lists of the kind are stored.
    pub empties: EmptyListPolicy,
    /// The time of the observation.
    pub now: Timestamp,
}

/// What the release now declares about the object.
#[derive(Clone, Copy, Debug)]
pub enum DeclaredState<'a> {
    /// Helm is at work on it, or its record cannot be read or compared.
    Unsaid,
    /// The release no longer exists.
    Gone,
    /// This revision is deployed.
    Deployed {
        /// Its number.
        revision: u32,
        /// The object in it; `None` if it does not declare the object.
        object: Option<&'a Value>,
    },
}

/// A new state of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The state from now on.
    pub state: ChangeState,
    /// Why.
    pub message: String,
    /// The revision that resolved it.
    pub revision: Option<u32>,
}

/// How one of the changed fields of the object compares.
struct Look {
    /// Equal to the new value of the change; `None` if it is only described.
    made: Option<bool>,
    /// Equal to the value before the change.
    before: Option<bool>,
    /// Equal to what the release declared then.
    declared_then: Option<bool>,
    /// Equal to what the release declares now, or no longer declares.
    declared_now: bool,
}

/// The new state of the change; `None` if it is unchanged.
pub fn resolve(sight: &Sight<'_>) -> Option<Next> {
    if sight.state.is_resolved() {
        return None;
    }
    let next = match sight.change.operation {
        ChangeOperation::Delete => of_delete(sight),
        ChangeOperation::Update | ChangeOperation::Scale => of_update(sight),
    }?;
    (next.state != sight.state).then_some(next)
}

/// The state of a change whose object cannot be read: only the time is known.
pub fn blind(
    change: &EmergencyChangeSpec,
    state: ChangeState,
    now: Timestamp,
    why: &str,
) -> Option<Next> {
    let is_over = now >= change.reconcile_by.0;
    (is_over && matches!(state, ChangeState::Pending | ChangeState::Open)).then(|| Next {
        state: ChangeState::Overdue,
        message: format!("the object cannot be read: {why}"),
        revision: None,
    })
}

fn of_delete(sight: &Sight<'_>) -> Option<Next> {
    let is_there = sight.live.is_some_and(|live| {
        let uid = text_at(live, "/metadata/uid");
        sight
            .change
            .object
            .uid
            .as_deref()
            .is_none_or(|was| uid == Some(was))
    });
    let is_going = sight
        .live
        .is_some_and(|live| text_at(live, "/metadata/deletionTimestamp").is_some());
    if is_there && !is_going {
        return unseen(sight);
    }
    match (sight.standing, later(sight)) {
        (DeclaredState::Gone, _) => Some(superseded("the release is gone", None)),
        (DeclaredState::Deployed { object: None, .. }, Some(revision)) => Some(Next {
            state: ChangeState::Absorbed,
            message: format!("revision {revision} does not declare the object"),
            revision: Some(revision),
        }),
        _ if is_there || sight.live.is_none() => Some(in_place(sight)),
        _ => Some(Next {
            state: ChangeState::Reverted,
            message: "the object exists again".to_owned(),
            revision: later(sight),
        }),
    }
}

fn of_update(sight: &Sight<'_>) -> Option<Next> {
    let Some(live) = sight.live else {
        return match sight.standing {
            DeclaredState::Unsaid => None,
            _ => Some(superseded("the object is gone", later(sight))),
        };
    };
    let later = later(sight);
    let declared = match (sight.standing, later) {
        (DeclaredState::Unsaid, _) => None,
        (DeclaredState::Gone, _) => return Some(superseded("the release is gone", None)),
        (DeclaredState::Deployed { object: None, .. }, Some(revision)) => {
            let message = format!("revision {revision} does not declare the object");
            return Some(superseded(&message, later));
        }
        (DeclaredState::Deployed { object, .. }, _) => object,
    };
    let fields = sight.change.fields.iter();
    let looks: Vec<Look> = fields
        .map(|field| look(sight, field, live, declared))
        .collect();
    let any = |of: fn(&Look) -> Option<bool>| looks.iter().any(|look| of(look) == Some(true));
    let all = |of: fn(&Look) -> Option<bool>| looks.iter().all(|look| of(look) == Some(true));
    let none_is_known = looks.iter().all(|look| look.made.is_none());
    if declared.is_some() && looks.iter().all(|look| look.declared_now) {
        return match later {
            Some(revision) if any(|look| look.made) || none_is_known => Some(Next {
                state: ChangeState::Absorbed,
                message: format!("revision {revision} declares it"),
                revision: Some(revision),
            }),
            Some(revision) if !all(|look| look.declared_then) && !all(|look| look.before) => {
                let message = format!("revision {revision} declares another value");
                Some(superseded(&message, Some(revision)))
            }
            _ => undone(sight, "the object is as the chart declares it"),
        };
    }
    if any(|look| look.made) {
        return Some(in_place(sight));
    }
    if none_is_known {
        let version = text_at(live, "/metadata/resourceVersion");
        let is_untouched = version == sight.change.object.resource_version.as_deref();
        return if is_untouched {
            unseen(sight)
        } else {
            Some(in_place(sight))
        };
    }
    if all(|look| look.before) {
        return undone(sight, "the object is as it was before");
    }
    match sight.standing {
        DeclaredState::Unsaid => None,
        _ => Some(superseded("the fields were changed again", later)),
    }
}

fn look(sight: &Sight<'_>, field: &ReportedField, live: &Value, declared: Option<&Value>) -> Look {
    let path: FieldPath = field.path.parse().unwrap_or_default();
    let steps = path.steps();
    let values = |object| -> Vec<&Value> {
        let values = select_all(object, steps).into_iter();
        values
            .filter(|value| !value.is_null())
            .take(MOST_TWINS)
            .collect()
    };
    let found = values(live);
    let wanted = declared.map(values).unwrap_or_default();
    // Nothing is known of a value that is only described.
    let is = |value, recorded: &Option<Value>| {
        (!field.is_described(value)).then(|| reads(&found, recorded.as_ref()))
    };
    let before = is(ReportedValue::Live, &field.live);
    let made = match is(ReportedValue::Requested, &field.requested) {
        // Whether one of several items with a key is gone, while the others remain.
        Some(false) if field.requested.is_none() && wanted.len() > 1 => {
            before.map(|is_there| !is_there)
        }
        made => made,
    };
    Look {
        made,
        before,
        declared_then: is(ReportedValue::Declared, &field.declared),
        // An invalid path is never satisfied: a person has to look.
        declared_now: !steps.is_empty() && are_satisfied(sight, steps, &wanted, &found),
    }
}

/// The most items with one merge key that are compared.
const MOST_TWINS: usize = 64;

/// Whether a recorded value is present.
fn reads(found: &[&Value], recorded: Option<&Value>) -> bool {
    match recorded {
        None => found.is_empty(),
        Some(recorded) => found.contains(&recorded),
    }
}

/// Whether every declared value is present. For environment variables with one name, any is enough,
/// because Helm's own patch may keep only one.
fn are_satisfied(sight: &Sight<'_>, steps: &[Step], wanted: &[&Value], found: &[&Value]) -> bool {
    let is_there = |wanted: &&Value| match found {
        [] => is_satisfied(sight, steps, wanted, None),
        found => found
            .iter()
            .any(|found| is_satisfied(sight, steps, wanted, Some(found))),
    };
    let mut shape = sight.shape;
    let mut has_variables = false;
    for step in steps {
        if let Node::List {
            kind: ListKind::Variables(_),
            ..
        } = shape.node()
        {
            has_variables = true;
        }
        shape = shape.step(step);
    }
    let mut wanted = wanted.iter();
    if has_variables && wanted.len() > 1 {
        wanted.any(is_there)
    } else {
        wanted.all(is_there)
    }
}

fn is_satisfied(sight: &Sight<'_>, steps: &[Step], wanted: &Value, found: Option<&Value>) -> bool {
    let shape = steps.iter().fold(sight.shape, Shape::step);
    let (wanted, found) = (wanted.to_string(), found.map(Value::to_string));
    let (wanted, found) = (Json::of(&wanted), found.as_deref().map(Json::of));
    let against = ComparedValue {
        old: None,
        new: found,
    };
    let rules = Rules {
        empties: sight.empties,
        budget: &StepBudget::default(),
    };
    satisfies(wanted, against, shape, rules)
}

/// The change is not visible: it is in progress, was never persisted, or was reverted.
fn undone(sight: &Sight<'_>, message: &str) -> Option<Next> {
    if sight.state == ChangeState::Pending {
        return unseen(sight);
    }
    Some(Next {
        state: ChangeState::Reverted,
        message: message.to_owned(),
        revision: later(sight),
    })
}

fn unseen(sight: &Sight<'_>) -> Option<Next> {
    let is_late = sight.now.duration_since(sight.change.at.0) >= GRACE;
    (sight.state == ChangeState::Pending && is_late).then(|| Next {
        state: ChangeState::Void,
        message: "it never appeared in the cluster: the request failed after it was recorded"
            .to_owned(),
        revision: None,
    })
}

fn in_place(sight: &Sight<'_>) -> Next {
    let state = if sight.now >= sight.change.reconcile_by.0 || sight.state == ChangeState::Overdue {
        ChangeState::Overdue
    } else {
        ChangeState::Open
    };
    Next {
        state,
        message: "it is in the cluster and not in the chart".to_owned(),
        revision: None,
    }
}

fn superseded(message: &str, revision: Option<u32>) -> Next {
    Next {
        state: ChangeState::Superseded,
        message: message.to_owned(),
        revision,
    }
}

/// The deployed revision, if it came after the change.
fn later(sight: &Sight<'_>) -> Option<u32> {
    match sight.standing {
        DeclaredState::Deployed { revision, .. } if revision > sight.change.release.revision => {
            Some(revision)
        }
        _ => None,
    }
}

fn text_at<'v>(object: &'v Value, pointer: &str) -> Option<&'v str> {
    object.pointer(pointer)?.as_str()
}

#[cfg(test)]
mod tests;
