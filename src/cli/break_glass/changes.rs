//! `break-glass changes`: lists emergency changes, and what to add to the chart.

use std::fmt::Write;

use clap::Parser;
use helm_guard_core::{
    api::{ChangeState, EmergencyChange},
    text::minute,
};
use kube::{Api, Client, api::ListParams};
use serde_json::Value;

use super::{api_calls::CallResult, values};
use crate::cli::{
    output::{self, Cell, Column, Format, Screen, Table, Tone, print},
    target,
};

/// `helm-guard break-glass changes`
#[derive(Debug, Parser)]
pub(crate) struct ChangesArgs {
    /// Namespace of the releases; default: that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// Changes of this user only, e.g. ada@example.com
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Include resolved changes
    #[arg(long)]
    pub(crate) all: bool,
    /// Print the fields to include in the chart with their values, as a manifest and as a patch
    #[arg(long)]
    pub(crate) values: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

pub(super) async fn list(client: &Client, args: &ChangesArgs) -> anyhow::Result<()> {
    let namespace = target::namespace(args.namespace.as_deref());
    let api: Api<EmergencyChange> = match &namespace {
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
    for change in &mut changes {
        change.metadata.managed_fields = None;
    }
    let text = match output::encode_list(args.output, &changes)? {
        Some(text) => text,
        None if args.values => changes.iter().map(describe).collect(),
        None if changes.is_empty() => {
            let place = match (&namespace, args.all_namespaces) {
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
        None => table(
            &changes,
            args.all_namespaces,
            Screen::of_stdout(args.output),
        ),
    };
    print(text.as_bytes())
}

fn state(change: &EmergencyChange) -> ChangeState {
    let status = change.status.as_ref();
    status.map(|status| status.state).unwrap_or_default()
}

/// The columns of emergency changes.
const COLUMNS: [Column; 7] = [
    Column::whole("NAME"),
    Column::whole("STATE"),
    Column::cut("OBJECT"),
    Column::cut("USER"),
    Column::whole("RECONCILE BY"),
    Column::wide("RELEASE"),
    Column::wide("TICKET"),
];

/// As kubectl does, with their namespace only where there are several.
fn table(changes: &[EmergencyChange], with_namespace: bool, screen: Screen) -> String {
    let row = |change: &EmergencyChange| {
        let spec = &change.spec;
        let state = state(change);
        let tone = match state {
            ChangeState::Open => Tone::Warning,
            ChangeState::Overdue => Tone::Bad,
            _ => Tone::Plain,
        };
        vec![
            change.metadata.name.clone().unwrap_or_default().into(),
            Cell::toned(tone, state.as_str()),
            format!("{}/{}", spec.object.kind, spec.object.name).into(),
            short_user(&spec.user).into(),
            minute(spec.reconcile_by.0).to_string().into(),
            spec.release.name.clone().into(),
            spec.ticket.clone().unwrap_or_default().into(),
        ]
    };
    let rows = changes.iter().map(row);
    if !with_namespace {
        return Table::new(&COLUMNS, rows.collect()).text(screen);
    }
    let columns: Vec<Column> = std::iter::once(Column::cut("NAMESPACE"))
        .chain(COLUMNS)
        .collect();
    let namespaces = changes.iter();
    let namespaces = namespaces.map(|change| change.metadata.namespace.clone());
    let rows = namespaces.zip(rows).map(|(namespace, mut row)| {
        row.insert(0, namespace.unwrap_or_default().into());
        row
    });
    Table::new(&columns, rows.collect()).text(screen)
}

/// A service account as `NAMESPACE/NAME`, as flags and policies name it.
fn short_user(user: &str) -> String {
    match user.strip_prefix("system:serviceaccount:") {
        Some(account) => account.replacen(':', "/", 1),
        None => user.to_owned(),
    }
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
    let text_of = |value: &Option<Value>| {
        value
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), Value::to_string)
    };
    for field in &spec.fields {
        let (declared, now) = (text_of(&field.declared), text_of(&field.requested));
        let _ = writeln!(text, "#   {}: declared {declared}, now {now}", field.path);
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
                "fields": [{"path": ".spec.replicas", "declared": 3, "live": 3, "requested": 5}],
                "patch": "[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":5}]",
                "reconcileBy": "2026-11-22T03:00:00Z",
            },
            "status": {"state": "Open"},
        });
        serde_json::from_value(change).unwrap()
    }

    #[test]
    fn a_change_is_a_line_of_a_table() {
        let text = table(&[change()], true, Screen::default());
        let text = anstream::adapter::strip_str(&text).to_string();
        let line: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = "shop web-1a2b Open Deployment/web ada 2026-11-22T03:00Z";
        assert_eq!(line.join(" "), expected);
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
