//! Which differences of one object the policy tolerates: the rules of the webhook, without a user.

use super::examined::ExaminedObject;
use crate::{
    compare::{
        Json, Violation,
        path::{FieldPath, Step},
    },
    policy::{Act, Labels, ObjectPlace, PathChange, RuleObject, tolerance::Differing, tree::Tree},
};

/// The objects that rules look at, each parsed when a rule needs it, and then once.
pub(super) struct ToleranceOf<'e> {
    of: &'e ExaminedObject<'e>,
    live: Option<Tree<'e>>,
    /// In each active revision, newest first.
    manifests: Vec<Tree<'e>>,
}

impl<'e> ToleranceOf<'e> {
    pub(super) fn new(of: &'e ExaminedObject<'e>) -> Self {
        let declared = [of.scanned.newest, of.scanned.base].into_iter().flatten();
        Self {
            of,
            live: (!of.json.is_empty()).then(|| Tree::of(of.json)),
            manifests: declared.map(|object| Tree::of(&object.json)).collect(),
        }
    }

    /// Whether a rule tolerates that the object is gone.
    pub(super) fn of_absence(&self) -> bool {
        self.tolerates(Act::Delete)
    }

    /// Whether a rule tolerates this difference.
    pub(super) fn of_violation(&self, violation: &Violation<'_>) -> bool {
        let root = FieldPath::root();
        // Of an unfinished comparison, only a rule for the whole object covers everything.
        let path = if violation.too_complex {
            &root
        } else {
            &violation.path
        };
        self.of_values(path, violation.old, violation.new)
    }

    /// Whether a rule tolerates that somebody else decides about this field.
    pub(super) fn of_field(&self, path: &FieldPath, value: Json<'_>) -> bool {
        self.of_values(path, Some(value), Some(value))
    }

    fn of_values(&self, path: &FieldPath, old: Option<Json<'_>>, new: Option<Json<'_>>) -> bool {
        let change = PathChange {
            path,
            old: old.map(Json::text),
            new: new.map(Json::text),
        };
        self.tolerates(Act::Change(change)) || self.is_replicas(path) && self.tolerates(Act::Scale)
    }

    fn is_replicas(&self, path: &FieldPath) -> bool {
        let (steps, replicas) = (path.steps(), self.of.observed.replicas_path);
        !replicas.is_empty()
            && steps.len() == replicas.len()
            && steps
                .iter()
                .zip(replicas)
                .all(|(step, name)| matches!(step, Step::Field(field) if field == name))
    }

    fn tolerates(&self, act: Act<'_>) -> bool {
        let of = self.of;
        let object = RuleObject {
            place: ObjectPlace {
                group: of.key.group,
                kind: of.key.kind,
                namespace: of.key.namespace,
                release: of.release.name,
                chart: of.chart,
            },
            version: of.scanned.version(),
            name: of.key.name,
            // Labels decide about modes only.
            labels: Labels::Unknown,
            manifest: self.manifests.first(),
        };
        let differing = Differing {
            live: self.live.as_ref(),
            manifests: &self.manifests,
            autoscaler: of.observed.autoscaler,
        };
        of.rules.policy.tolerance(differing, &object, act).is_some()
    }
}
