//! `break-glass changes`: lists emergency changes, and what to add to the chart.

use std::fmt::Write;

use clap::Parser;
use helm_guard_core::{
    api::{ChangeState, EmergencyChange},
    text::minute,
};
use kube::{Api, Client, api::ListParams};

use super::{api_calls::CallResult, values};
use crate::cli::output::{self, Format, columns, print};

/// `helm-guard break-glass changes`
#[derive(Debug, Parser)]
pub struct ChangesArgs {
    /// Namespace of the releases; default: that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Changes of this user only, e.g. ada@example.com
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// Include resolved changes
    #[arg(long)]
    pub all: bool,
    /// Print the fields to include in the chart with their values, as a manifest and as a patch
    #[arg(long)]
    pub values: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

pub(super) async fn list(client: &Client, args: &ChangesArgs) -> anyhow::Result<()> {
    let api: Api<EmergencyChange> = match &args.namespace {
        _ if args.all_namespaces => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::default_namespaced(client.clone()),
    };
    let listed = api.list(&ListParams::default()).await;
    let mut changes = listed.failed_to("list the emergency changes")?.items;
    changes.retain(|change| args.all || !state(change).is_resolved());
    if let Some(user) = &args.user {
        changes.retain(|change| change.spec.user == *user);
    }
    changes.sort_by_key(|change| change.spec.at.0);
    let text = match output::encode(args.output, &changes)? {
        Some(text) => text,
        None if args.values => changes.iter().map(describe).collect(),
        None if changes.is_empty() => {
            let place = match (&args.namespace, args.all_namespaces) {
                (_, true) => "in any namespace".to_owned(),
                (Some(namespace), false) => format!("in namespace {namespace}"),
                (None, false) => format!("in namespace {}", client.default_namespace()),
            };
            let what = if args.all {
                "emergency changes"
            } else {
                "unresolved emergency changes"
            };
            format!("No {what} found {place}.\n")
        }
        None => table(&changes),
    };
    print(text.as_bytes())
}

fn state(change: &EmergencyChange) -> ChangeState {
    let status = change.status.as_ref();
    status.map(|status| status.state).unwrap_or_default()
}

fn table(changes: &[EmergencyChange]) -> String {
    let row = |change: &EmergencyChange| {
        let spec = &change.spec;
        vec![
            change.metadata.namespace.clone().unwrap_or_default(),
            change.metadata.name.clone().unwrap_or_default(),
            state(change).as_str().to_owned(),
            spec.release.name.clone(),
            format!("{}/{}", spec.object.kind, spec.object.name),
            spec.user.clone(),
            spec.ticket.clone().unwrap_or_default(),
            minute(spec.reconcile_by.0).to_string(),
        ]
    };
    let header = [
        "NAMESPACE",
        "NAME",
        "STATE",
        "RELEASE",
        "OBJECT",
        "BY",
        "TICKET",
        "RECONCILE BY",
    ];
    let rows: Vec<Vec<String>> = changes.iter().map(row).collect();
    columns(&header, &rows)
}

/// Describes a change and how to reconcile it. Writing to a string cannot fail.
fn describe(change: &EmergencyChange) -> String {
    let spec = &change.spec;
    let mut text = format!(
        "# {} ({}): {} of {} {:?} by {}, release {} in namespace {} (revision {}, chart {})\n",
        change.metadata.name.as_deref().unwrap_or_default(),
        state(change).as_str(),
        format!("{:?}", spec.operation).to_lowercase(),
        spec.object.kind,
        spec.object.name,
        spec.user,
        spec.release.name,
        spec.release.namespace,
        spec.release.revision,
        spec.release.chart,
    );
    let text_of = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    for field in &spec.fields {
        let (declared, new) = (text_of(&field.declared), text_of(&field.new));
        let _ = writeln!(text, "#   {}: declared {declared}, now {new}", field.path);
    }
    if spec.release.server_side_apply && !spec.fields.is_empty() {
        text.push_str(
            "#   Helm uses server-side apply for this release: helm upgrade fails with a conflict unless \
             the chart has exactly these values or you use --force-conflicts\n",
        );
    }
    if spec.fields.is_empty() {
        text.push_str("#   remove the object from the chart, or recreate it with helm upgrade\n");
    } else {
        let (manifest, left) = values::manifest(spec);
        text.push_str("# the chart must render:\n");
        let yaml = output::encode(Format::Yaml, &manifest).ok().flatten();
        text.push_str(&yaml.unwrap_or_default());
        for path in left {
            let _ = writeln!(text, "# not shown: {path}");
        }
    }
    if let Some(patch) = &spec.patch {
        let _ = writeln!(text, "# patch: {patch}");
    }
    text.push_str("---\n");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change() -> EmergencyChange {
        let change = json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "EmergencyChange",
            "metadata": {"name": "web-1a2b", "namespace": "shop"},
            "spec": {
                "user": "ada", "at": "2026-11-21T03:00:00Z", "requestUid": "u-1",
                "operation": "Update", "ticket": "INC-1",
                "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
                    "name": "web"},
                "release": {"name": "myapp", "namespace": "shop", "chart": "myapp-1.0.0",
                    "revision": 3, "serverSideApply": true},
                "fields": [{"path": ".spec.replicas", "declared": "3", "old": "3", "new": "5"}],
                "patch": "[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":5}]",
                "reconcileBy": "2026-11-22T03:00:00Z",
            },
            "status": {"state": "Open"},
        });
        serde_json::from_value(change).unwrap()
    }

    #[test]
    fn a_change_is_a_line_of_a_table() {
        let text = table(&[change()]);
        let line: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            line,
            [
                "shop",
                "web-1a2b",
                "Open",
                "myapp",
                "Deployment/web",
                "ada",
                "INC-1",
                "2026-11-22T03:00Z"
            ]
        );
    }

    #[test]
    fn values_for_the_chart_are_printed_as_manifest_and_patch() {
        let text = describe(&change());
        for line in [
            "#   .spec.replicas: declared 3, now 5",
            "#   Helm uses server-side apply for this release: helm upgrade fails with a conflict unless \
             the chart has exactly these values or you use --force-conflicts",
            "apiVersion: \"apps/v1\"",
            "  replicas: 5",
            "# patch: [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":5}]",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
