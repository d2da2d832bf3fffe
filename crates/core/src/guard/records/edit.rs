//! Evaluates an UPDATE of a record.
//!
//! Helm rewrites a record several times during an operation: the status changes, hooks get times, and
//! Helm 3 and 4 drop fields of each other that they do not know. What the revision *is* stays: its
//! name, number, chart, values, manifest and hooks (`pkg/action` makes them before the first write and
//! never again).

use serde_json::Value;

use super::{StoredRecord, values};
use crate::{
    compare::{path::FieldPath, redact::ShownValue},
    guard::{
        deputies::{added_owners, owner_path},
        verdict::FieldChange,
    },
    helm::{
        lifecycle::RevisionStatus,
        record::{Hook, Record, RecordLimits, Whole, decode_whole},
    },
};

/// The result of an UPDATE.
#[derive(Debug)]
pub enum Edit {
    /// Nothing that Helm stores there changes.
    Irrelevant,
    /// Helm may have done it.
    Helms,
    /// Helm never does it.
    Tampering(Vec<FieldChange>),
    /// Unknown: the old record cannot be read.
    Unreadable,
}

/// The labels that identify the record, which Helm never changes.
const FIXED_LABELS: [&str; 3] = ["owner", "name", "version"];

/// Evaluates an UPDATE of a record. Computation only; up to tens of milliseconds for a big record.
pub fn edit(old: &StoredRecord, new: Option<&StoredRecord>, limits: &RecordLimits) -> Edit {
    let Some(new) = new else {
        // The API server allows changing neither name nor type, so its label made it a record.
        return Edit::Tampering(vec![label("owner", Some("helm"), None)]);
    };
    let mut changes: Vec<FieldChange> = FIXED_LABELS
        .into_iter()
        .filter_map(|key| {
            let (was, is) = (old.labels.get(key), new.labels.get(key));
            (was != is).then(|| label(key, was.map(String::as_str), is.map(String::as_str)))
        })
        .collect();
    // It leads to a deletion by the garbage collector, which Helm never requests.
    if !old.is_leaving {
        changes.extend(new_owners(&old.owners, &new.owners));
    }
    if new.is_immutable && !old.is_immutable {
        changes.push(change(&["immutable"], "false", "true"));
    }
    let (was, is) = (old.labels.get("status"), new.labels.get("status"));
    let same_body = new.has_body_of(old);
    if same_body && was == is {
        return if changes.is_empty() {
            Edit::Irrelevant
        } else {
            Edit::Tampering(changes)
        };
    }
    let Some(before) = read(old, *limits) else {
        return Edit::Unreadable;
    };
    let Some(after) = read(new, *limits) else {
        changes.push(change(&["data", "release"], "a record", "no record"));
        return Edit::Tampering(changes);
    };
    changes.extend(differences(&before, &after));
    // Helm writes label and body together.
    if was != is && new.status() != after.record.status {
        changes.push(label(
            "status",
            was.map(String::as_str),
            is.map(String::as_str),
        ));
    }
    if changes.is_empty() {
        Edit::Helms
    } else {
        Edit::Tampering(changes)
    }
}

fn read(stored: &StoredRecord, limits: RecordLimits) -> Option<Whole> {
    decode_whole(&stored.payload()?, limits).ok()
}

/// The differences in what Helm never changes. Without values, which may be Secrets. In words, not
/// JSON, because the whole record is one text in the object and has no paths.
fn differences(before: &Whole, after: &Whole) -> Vec<FieldChange> {
    let (old, new) = (&before.record, &after.record);
    let mut changes = Vec::new();
    let mut differs = |field: &str, was: &str, is: &str| {
        changes.push(change(&["data", "release", field], was, is));
    };
    if old.release.name != new.release.name {
        differs("name", &old.release.name, &new.release.name);
    }
    if old.release.namespace != new.release.namespace {
        differs("namespace", &old.release.namespace, &new.release.namespace);
    }
    if old.revision != new.revision {
        differs(
            "version",
            &format!("revision {}", old.revision),
            &format!("revision {}", new.revision),
        );
    }
    if (&old.chart.name, &old.chart.version) != (&new.chart.name, &new.chart.version) {
        differs("chart", &old.chart.to_string(), &new.chart.to_string());
    }
    if !moves(old.status, new.status) {
        differs("info.status", old.status.as_str(), new.status.as_str());
    }
    for (field, same) in [
        ("manifest", old.manifest == new.manifest),
        ("hooks", sorted_hooks(old) == sorted_hooks(new)),
        ("config", values::same(&before.values, &after.values)),
    ] {
        if !same {
            differs(field, "as Helm wrote it", "something else");
        }
    }
    changes
}

/// Whether Helm may replace the one status by the other.
///
/// More than the textbook transitions: an operation that was told to stop may still mark its revision
/// deployed after it was marked failed, `helm test` writes back the status that it read, and Flux marks
/// a pending revision failed to unlock it. Yet an operation begins with a new record, never with an old
/// one, and nothing is uninstalled that was not being uninstalled.
fn moves(from: RevisionStatus, to: RevisionStatus) -> bool {
    use RevisionStatus as S;
    from == to
        || match to {
            S::Deployed => !matches!(from, S::Uninstalled | S::Uninstalling),
            S::Superseded | S::Failed | S::Uninstalling => {
                from != S::Uninstalled || to == S::Superseded
            }
            S::Uninstalled => from == S::Uninstalling,
            S::PendingInstall | S::PendingUpgrade | S::PendingRollback | S::Unknown => false,
        }
}

fn sorted_hooks(record: &Record) -> Vec<(&str, &str, &str, &str, &[String])> {
    let mut hooks: Vec<_> = record.hooks.iter().map(parts).collect();
    hooks.sort_unstable();
    hooks
}

fn parts(hook: &Hook) -> (&str, &str, &str, &str, &[String]) {
    (
        &hook.kind,
        &hook.name,
        &hook.path,
        &hook.manifest,
        &hook.events,
    )
}

/// The owner references that an UPDATE adds. Each leads to a deletion.
pub fn new_owners(old: &[Value], new: &[Value]) -> Vec<FieldChange> {
    added_owners(old, new)
        .map(|(uid, earlier, owner)| FieldChange {
            path: owner_path(uid),
            declared: ShownValue::Absent,
            live: earlier.map_or(ShownValue::Absent, |earlier| {
                ShownValue::Text(earlier.to_string())
            }),
            requested: ShownValue::Text(owner.to_string()),
        })
        .collect()
}

/// As JSON, like all values that appear in the object itself.
fn label(key: &str, was: Option<&str>, is: Option<&str>) -> FieldChange {
    let shown = |value: Option<&str>| match value {
        Some(value) => ShownValue::Text(Value::from(value).to_string()),
        None => ShownValue::Absent,
    };
    FieldChange {
        path: FieldPath::of(["metadata", "labels", key]),
        declared: shown(was),
        live: shown(was),
        requested: shown(is),
    }
}

fn change(path: &[&str], was: &str, is: &str) -> FieldChange {
    FieldChange {
        path: FieldPath::of(path.iter().copied()),
        declared: ShownValue::Text(was.to_owned()),
        live: ShownValue::Text(was.to_owned()),
        requested: ShownValue::Text(is.to_owned()),
    }
}
