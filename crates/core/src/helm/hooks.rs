//! The hooks of a revision: the objects that Helm creates around its operations, and the service accounts that
//! they run as, because a chart's own Job may delete or patch what the chart declares.
//!
//! Start at [`objects`] and [`accounts`].

use serde_json::Value;

use super::{
    identity::DeclaredObject,
    manifest,
    record::{HookPhase, Record},
};
use crate::names;

/// Where an object has its delete policies.
const DELETE_POLICY: &str = "/metadata/annotations/helm.sh~1hook-delete-policy";

/// An object that Helm creates for a hook. Helm gives it no marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookObject {
    /// The object. Its marks are not declared, although they are in the JSON.
    pub object: DeclaredObject,
    /// When Helm deletes it.
    pub policies: HookDeletePolicies,
    /// Whether an upgrade runs the hook.
    pub is_of_upgrades: bool,
    /// How the last run of the hook ended.
    pub phase: Option<HookPhase>,
}

/// When Helm deletes a hook's object: `helm.sh/hook-delete-policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookDeletePolicies {
    /// Before the hook runs again: the default (`execHook` in `pkg/action/hooks.go`).
    pub before_creation: bool,
    /// After it succeeded.
    pub succeeded: bool,
    /// After it failed.
    pub failed: bool,
}

impl HookDeletePolicies {
    fn of(annotation: Option<&str>) -> Self {
        let words = annotation.unwrap_or_default();
        let has = |policy| words.split(',').any(|word| word.trim() == policy);
        let (succeeded, failed) = (has("hook-succeeded"), has("hook-failed"));
        Self {
            before_creation: has("before-hook-creation") || !(succeeded || failed),
            succeeded,
            failed,
        }
    }

    /// Whether Helm deletes the object after a run that ended like this.
    pub fn delete_after(self, phase: HookPhase) -> bool {
        match phase {
            HookPhase::Succeeded => self.succeeded,
            HookPhase::Failed => self.failed,
            HookPhase::Unknown => false,
        }
    }
}

/// The objects of a revision's hooks, as far as they can be read.
pub fn objects(record: &Record) -> Vec<HookObject> {
    let objects = record.hooks.iter().flat_map(|hook| {
        let read = manifest::parse_hook(&hook.manifest, &record.release).objects;
        read.into_iter().map(|object| {
            let value: Value = serde_json::from_str(&object.json).unwrap_or_default();
            let annotation = value.pointer(DELETE_POLICY).and_then(Value::as_str);
            HookObject {
                policies: HookDeletePolicies::of(annotation),
                is_of_upgrades: hook.events.iter().any(|event| is_of_upgrades(event)),
                phase: hook.phase,
                object,
            }
        })
    });
    objects.collect()
}

fn is_of_upgrades(event: &str) -> bool {
    matches!(event, "pre-upgrade" | "post-upgrade")
}

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

    #[rstest]
    #[case::default("", "Succeeded", (true, false))]
    #[case::succeeded("hook-succeeded", "Succeeded", (false, true))]
    #[case::succeeded_but_it_failed("hook-succeeded", "Failed", (false, false))]
    #[case::failed("before-hook-creation, hook-failed", "Failed", (true, true))]
    #[case::running("hook-succeeded,hook-failed", "Running", (false, false))]
    fn a_hooks_object_says_when_helm_deletes_it(
        #[case] policy: &str,
        #[case] phase: &str,
        #[case] (before, after): (bool, bool),
    ) {
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, annotations: {{helm.sh/hook: test, \
             helm.sh/hook-delete-policy: {policy:?}}}}}\n"
        );
        let body = json!({
            "name": "web", "namespace": "shop", "version": 2,
            "hooks": [{"name": "a", "kind": "Pod", "manifest": manifest, "last_run": {"phase": phase}}],
        });
        let body = STANDARD.encode(body.to_string());
        let record = decode(body.as_bytes(), &RecordLimits::default()).unwrap();
        let hooks = objects(&record);
        let [hook] = &*hooks else { panic!("{hooks:?}") };
        assert_eq!(hook.object.name, "a");
        assert_eq!(hook.policies.before_creation, before);
        assert_eq!(hook.policies.delete_after(hook.phase.unwrap()), after);
    }
}
