//! The service accounts of hooks: a chart's own Job may delete or patch what the chart declares.

use serde_json::Value;

use super::{manifest, record::Record};
use crate::names;

/// The most hooks that are read; further ones count as naming no account.
const MOST: usize = 32;

/// The maximum size of the manifest of such a hook, in bytes.
const LARGEST: usize = 64 << 10;

/// The service accounts, in the release's namespace, that Jobs and Pods among the hooks of a pending
/// revision name. If a revision is not pending, none of its hooks runs, so none is kept.
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
        .flat_map(|hook| manifest::parse_hook(&hook.manifest, &record.release).objects)
        .filter(|object| {
            let namespace = object.namespace.as_deref().unwrap_or_default();
            namespace.is_empty() || namespace == record.release.namespace
        })
        .filter_map(|object| {
            let value: Value = serde_json::from_str(&object.json).ok()?;
            let spec = value.pointer(pod_spec(&object.kind)?)?;
            let named = |field| spec.get(field).and_then(Value::as_str);
            let name = named("serviceAccountName").or_else(|| named("serviceAccount"))?;
            names::is_subdomain(name).then(|| name.into())
        })
        .collect();
    accounts.sort_unstable();
    accounts.dedup();
    accounts.truncate(MOST);
    accounts
}

/// The path of the Pod's spec in objects of a kind.
fn pod_spec(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some("/spec"),
        "Job" => Some("/spec/template/spec"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::helm::record::{RecordLimits, decode};

    const JOB: &str = "spec: {template: {spec: {serviceAccountName: migrate}}}";
    const POD: &str = "spec: {serviceAccountName: migrate}";

    #[rstest]
    #[case::job("pending-upgrade", "Job", JOB, &["migrate"])]
    #[case::pod("pending-install", "Pod", POD, &["migrate"])]
    #[case::old_field("pending-rollback", "Pod", "spec: {serviceAccount: migrate}", &["migrate"])]
    #[case::not_pending("deployed", "Job", JOB, &[])]
    #[case::no_account("pending-upgrade", "Job", "spec: {}", &[])]
    #[case::of_another_kind("pending-upgrade", "ConfigMap", POD, &[])]
    fn a_hook_runs_as_the_account_that_its_pod_names(
        #[case] status: &str,
        #[case] kind: &str,
        #[case] spec: &str,
        #[case] expected: &[&str],
    ) {
        // In Helm's format: with the annotation that makes it a hook.
        let manifest = format!(
            "# Source: web/templates/hook.yaml\napiVersion: v1\nkind: {kind}\n\
             metadata: {{name: migrate, annotations: {{helm.sh/hook: pre-upgrade}}}}\n{spec}\n"
        );
        let body = json!({
            "name": "web", "namespace": "shop", "version": 2, "info": {"status": status},
            "hooks": [{"name": "migrate", "kind": kind, "manifest": manifest}],
        });
        let record = decode(
            STANDARD.encode(body.to_string()).as_bytes(),
            &RecordLimits::default(),
        );
        let accounts = accounts(&record.unwrap());
        let accounts: Vec<_> = accounts.iter().map(|account| &**account).collect();
        assert_eq!(accounts, expected);
    }
}
