//! The emergency changes that are not resolved, by their objects: each explains a difference.
//!
//! An emergency change explains only what it did. If somebody changed the field again since, the value is another
//! one, and that is drift.

use std::collections::HashMap;

use super::key::LiveKey;
use crate::{
    api::{
        EmergencyChange,
        change::ChangeOperation,
        reported::{ReportedField, ReportedValue},
    },
    compare::path::FieldPath,
};

/// Emergency changes that are not resolved.
#[derive(Debug, Default)]
pub struct OpenEmergencies<'a> {
    by_object: HashMap<LiveKey<'a>, Vec<&'a EmergencyChange>>,
}

impl<'a> OpenEmergencies<'a> {
    /// Those of `changes` that are open.
    pub fn of(changes: impl IntoIterator<Item = &'a EmergencyChange>) -> Self {
        let mut by_object: HashMap<_, Vec<_>> = HashMap::new();
        for change in changes {
            let status = change.status.as_ref();
            if status.is_some_and(|status| status.state.is_resolved()) {
                continue;
            }
            let object = &change.spec.object;
            let key = LiveKey {
                group: object
                    .api_version
                    .split_once('/')
                    .map_or("", |(group, _)| group),
                kind: &object.kind,
                namespace: &object.namespace,
                name: &object.name,
            };
            by_object.entry(key).or_default().push(change);
        }
        Self { by_object }
    }

    /// The change that explains what a field is now, as namespace/name.
    pub(super) fn explaining(
        &self,
        key: LiveKey<'_>,
        path: &FieldPath,
        now: &ReportedField,
    ) -> Option<String> {
        let explains = |change: &&EmergencyChange| {
            let mut fields = change.spec.fields.iter();
            fields.any(|made| is_about(made, path, now))
        };
        self.of_object(key).find(explains).map(name)
    }

    /// The change that explains why an object is gone.
    pub(super) fn deleting(&self, key: LiveKey<'_>) -> Option<String> {
        let deletes = |change: &&EmergencyChange| change.spec.operation == ChangeOperation::Delete;
        self.of_object(key).find(deletes).map(name)
    }

    fn of_object<'s>(&'s self, key: LiveKey<'s>) -> impl Iterator<Item = &'s EmergencyChange> {
        let changes = self.by_object.get(&key);
        changes.into_iter().flatten().copied()
    }
}

/// Whether the change made the field what it is now.
fn is_about(made: &ReportedField, path: &FieldPath, now: &ReportedField) -> bool {
    if made.path == now.path {
        // Values that are not shown cannot be compared: their hashes have another key.
        return made.is_described(ReportedValue::Requested)
            || now.is_described(ReportedValue::Live)
            || made.requested == now.live;
    }
    let made: Result<FieldPath, _> = made.path.parse();
    made.is_ok_and(|made| {
        made.steps().starts_with(path.steps()) || path.steps().starts_with(made.steps())
    })
}

fn name(change: &EmergencyChange) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let metadata = &change.metadata;
    format!("{}/{}", text(&metadata.namespace), text(&metadata.name))
}
