//! What hooks run as: a chart's own Job may delete or patch what the chart declares.

use serde_json::Value;

use super::{manifest, record::Record};

/// Hooks that are looked at; more are as if they named no account.
const MOST: usize = 32;

/// Bytes of the manifest of such a hook, likewise.
const LARGEST: usize = 64 << 10;

/// The service accounts, in the release's namespace, that Jobs and Pods among the hooks of a pending
/// revision name. Of a revision that is not pending no hook of an operation runs, so none is kept.
pub fn accounts(record: &Record) -> Vec<Box<str>> {
    if !record.status.is_pending() {
        return Vec::new();
    }
    let hooks = record
        .hooks
        .iter()
        .filter(|hook| pod_spec(&hook.kind).is_some() && hook.manifest.len() <= LARGEST);
    let mut accounts: Vec<Box<str>> = hooks
        .take(MOST)
        .flat_map(|hook| manifest::parse(&hook.manifest, &record.release).objects)
        .filter(|object| {
            let namespace = object.namespace.as_deref().unwrap_or_default();
            namespace.is_empty() || namespace == record.release.namespace
        })
        .filter_map(|object| {
            let value: Value = serde_json::from_str(&object.json).ok()?;
            let spec = value.pointer(pod_spec(&object.kind)?)?;
            let named = |field| spec.get(field).and_then(Value::as_str);
            let name = named("serviceAccountName").or_else(|| named("serviceAccount"))?;
            (!name.is_empty()).then(|| name.into())
        })
        .collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

/// Where objects of a kind have their Pod's spec.
fn pod_spec(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some("/spec"),
        "Job" => Some("/spec/template/spec"),
        _ => None,
    }
}
