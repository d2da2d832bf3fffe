//! Scans of a release: after Helm's own steps they find nothing, and of changes by hand they find all, and nothing else.
//! A real upgrade then shows whether each consequence was right.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use testbed::Output;

use crate::{
    api::Persist,
    checks::CRD_KIND,
    drift::{self, Denied, head},
    environment::Environment,
    leaves::Step,
    probe::{Context, Target},
    tally::{Scans, Tally},
};

/// A release and its cluster.
pub struct ScannedRelease<'a> {
    pub environment: &'a Environment,
    pub namespace: &'a str,
    pub release: &'a str,
}

/// What a finding is about: kind, namespace, name, and the fields on the way to the field, without list items.
type Subject = (String, String, String, Vec<String>);

/// Class and subject.
type FindingKey = (String, Subject);

/// A finding of a scan.
struct Finding {
    subject: Subject,
    class: String,
    consequence: String,
    document: Value,
}

impl Finding {
    /// What tells it from others: one field may be changed and claimed.
    fn key(&self) -> FindingKey {
        (self.class.clone(), self.subject.clone())
    }

    fn is(&self, consequence: &str) -> bool {
        self.consequence == consequence
    }
}

/// Kinds of which one object is deleted, and of another one the label of Helm is removed: nothing else depends on them.
const EXPENDABLE: [&str; 3] = ["ConfigMap", "ServiceAccount", "Service"];

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// What Helm marks its objects with. A scan reports them together, without a field.
const MARKS: [&str; 3] = [
    MANAGED_BY,
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
];

/// Scans after a step of Helm: any drift that is found is not there.
pub fn after_helm(of: &ScannedRelease<'_>, context: &Context<'_>) -> anyhow::Result<Tally> {
    let found = findings(of)?;
    for finding in &found {
        report(context, "unfounded", finding);
    }
    Ok(Tally {
        scans: Scans {
            after_helm: 1,
            unfounded: found.len(),
            ..Scans::default()
        },
        ..Tally::default()
    })
}

/// Changes, deletes and unmarks objects, scans, and upgrades for real.
pub fn after_drift(
    of: &ScannedRelease<'_>,
    context: &Context<'_>,
    denied: &[(Target, Vec<Denied>)],
    upgrade: &dyn Fn(&[&str]) -> Output,
) -> anyhow::Result<Tally> {
    // Removed webhooks of the release (`Environment::silence`), and fields that were written back and are claimed now.
    let known = findings(of)?;
    let before: BTreeSet<FindingKey> = keys(&known);
    let expected = of.environment.block_on(make(context, denied))?;
    let mut found = findings(of)?;
    found.retain(|finding| !before.contains(&finding.key()));
    let mut tally = Tally::default();
    let scans = &mut tally.scans;
    for subject in &expected {
        // What could not be written back was found before.
        let mut all = found.iter().chain(&known);
        if all.any(|finding| covers(&finding.subject, subject)) {
            scans.found += 1;
        } else {
            scans.missed += 1;
            log(context, "missed", &json!({"subject": subject}));
        }
    }
    for finding in &found {
        let mut subjects = expected.iter();
        if !subjects.any(|subject| covers(&finding.subject, subject)) {
            scans.unfounded += 1;
            report(context, "unfounded", finding);
        }
    }
    scans.mispredicted += consequences(of, context, &found, upgrade)?;
    Ok(tally)
}

/// Upgrades, and returns how many consequences were wrong.
fn consequences(
    of: &ScannedRelease<'_>,
    context: &Context<'_>,
    found: &[Finding],
    upgrade: &dyn Fn(&[&str]) -> Output,
) -> anyhow::Result<usize> {
    let mut wrong = 0;
    let is_blocked = found.iter().any(|finding| finding.is("Blocks"));
    let mut output = upgrade(&[]);
    if output.status.success() == is_blocked {
        wrong += 1;
        let expected = if is_blocked {
            "it stops"
        } else {
            "it succeeds"
        };
        let details = json!({"expected": expected, "message": head(&output.stderr)});
        log(context, "upgrade", &details);
    }
    if !output.status.success() && output.stderr.contains("conflict") {
        // The upgrade brought the webhooks of the release back, and nothing answers them here.
        of.environment.silence()?;
        output = upgrade(&["--force-conflicts"]);
    }
    if !output.status.success() {
        log(
            context,
            "upgrade",
            &json!({"message": head(&output.stderr)}),
        );
        return Ok(wrong + 1);
    }
    let left = keys(&findings(of)?);
    for finding in found {
        let is_left = left.contains(&finding.key());
        let is_right = match &*finding.consequence {
            "Reverted" | "Recreated" | "Blocks" => !is_left,
            "Kept" => is_left,
            _ => true,
        };
        if !is_right {
            wrong += 1;
            report(context, "mispredicted", finding);
        }
    }
    Ok(wrong)
}

/// Makes all changes, and returns what a scan should find.
async fn make(
    context: &Context<'_>,
    denied: &[(Target, Vec<Denied>)],
) -> anyhow::Result<Vec<Subject>> {
    let mut expected = Vec::new();
    // A changed CRD may reject or lose its objects.
    let usable = denied
        .iter()
        .filter(|(target, _)| target.object.kind != CRD_KIND);
    let (mut expendable, others): (Vec<_>, Vec<_>) =
        usable.partition(|(target, _)| EXPENDABLE.contains(&&*target.object.kind));
    if let Some((target, _)) = expendable.pop() {
        let reply = context
            .emergency
            .delete(&target.object.path, Persist::Really)
            .await?;
        ensure!(reply.is_ok(), "failed to delete: {}", reply.message());
        expected.push(subject(target, Vec::new()));
    }
    if let Some((target, _)) = expendable.pop() {
        let unmarked = json!({"metadata": {"labels": {MANAGED_BY: null}}});
        let reply = context
            .emergency
            .merge_patch(&target.object.path, &unmarked)
            .await?;
        ensure!(reply.is_ok(), "failed to unmark: {}", reply.message());
        expected.push(subject(target, marks()));
    }
    for (target, denied) in others.into_iter().chain(expendable) {
        for one in drift::make(context, target, denied).await? {
            let steps = one.leaf.live.iter().flatten();
            let fields = steps.filter_map(|step| match step {
                Step::Field(name) => Some(name.clone()),
                Step::Item(_) => None,
            });
            let fields: Vec<String> = fields.collect();
            let is_mark = fields
                .last()
                .is_some_and(|last| fields.len() == 3 && MARKS.contains(&&**last));
            expected.push(subject(target, if is_mark { marks() } else { fields }));
        }
    }
    Ok(expected)
}

/// Stands for the marks of an object.
fn marks() -> Vec<String> {
    vec!["its marks".to_owned()]
}

fn subject(target: &Target, fields: Vec<String>) -> Subject {
    let text = |pointer: &str| {
        let found = target.live.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    (
        target.object.kind.clone(),
        text("/metadata/namespace"),
        text("/metadata/name"),
        fields,
    )
}

/// Whether a finding is about this field, or about all of a list or object that it is in.
fn covers(finding: &Subject, subject: &Subject) -> bool {
    let (kind, namespace, name, fields) = finding;
    (kind, namespace, name) == (&subject.0, &subject.1, &subject.2)
        && subject.3.starts_with(fields)
        && fields.is_empty() == subject.3.is_empty()
}

fn keys(found: &[Finding]) -> BTreeSet<FindingKey> {
    found.iter().map(Finding::key).collect()
}

fn findings(of: &ScannedRelease<'_>) -> anyhow::Result<Vec<Finding>> {
    let output = of.environment.scan(of.release, of.namespace)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice::<Value>(&output.stdout);
    let report = report.with_context(|| format!("the scan failed: {stderr}"))?;
    ensure!(
        report.get("complete") == Some(&json!(true)),
        "the scan is not complete: {}",
        report.get("errors").unwrap_or(&Value::Null)
    );
    let releases = report.get("releases").and_then(Value::as_array);
    let found = releases.into_iter().flatten().filter_map(|release| {
        let findings = release.get("findings")?.as_array()?;
        Some(
            findings
                .iter()
                .filter(|one| one.get("severity") != Some(&json!("Info"))),
        )
    });
    Ok(found.flatten().map(finding).collect())
}

fn finding(document: &Value) -> Finding {
    let text = |pointer: &str| {
        let found = document.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    Finding {
        subject: (
            text("/object/kind"),
            text("/object/namespace"),
            text("/object/name"),
            match &*text("/class") {
                "Unmarked" => marks(),
                _ => fields(&text("/path")),
            },
        ),
        class: text("/class"),
        consequence: text("/consequence"),
        document: document.clone(),
    }
}

/// The fields of a path as findings have it, such as `.spec.containers[name=web].image` or `.data["a.b"]`.
fn fields(path: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (name, after) = quoted.split_once("\"]").unwrap_or((quoted, ""));
            fields.push(name.to_owned());
            rest = after;
        } else if let Some(item) = rest.strip_prefix('[') {
            rest = item.split_once(']').map_or("", |(_, after)| after);
        } else {
            let field = rest.trim_start_matches('.');
            let end = field.find(['.', '[']).unwrap_or(field.len());
            let (name, after) = field.split_at(end);
            fields.push(name.to_owned());
            rest = after;
        }
    }
    fields
}

fn report(context: &Context<'_>, what: &str, finding: &Finding) {
    log(
        context,
        what,
        &json!({"class": finding.class, "finding": finding.document}),
    );
}

fn log(context: &Context<'_>, what: &str, details: &Value) {
    context
        .log
        .write(&json!({"run": context.title, "what": format!("scan: {what}"), "details": details}));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_its_fields() {
        for (path, expected) in [
            ("", &[][..]),
            (".spec.replicas", &["spec", "replicas"]),
            (
                ".spec.containers[name=web].image",
                &["spec", "containers", "image"],
            ),
            (".data[\"a.b\"]", &["data", "a.b"]),
            (
                ".metadata.labels[\"app.kubernetes.io/name\"]",
                &["metadata", "labels", "app.kubernetes.io/name"],
            ),
            (".spec.ports[0].port", &["spec", "ports", "port"]),
        ] {
            assert_eq!(fields(path), expected, "{path}");
        }
    }

    #[test]
    fn a_finding_covers_the_field_or_the_list_that_it_is_in() {
        let of = |path: &str| {
            let object = ["Service", "shop", "web"].map(str::to_owned);
            let [kind, namespace, name] = object;
            (kind, namespace, name, fields(path))
        };
        assert!(covers(&of(".spec.ports"), &of(".spec.ports[0].port")));
        assert!(covers(&of(".spec.type"), &of(".spec.type")));
        assert!(!covers(&of(".spec.type"), &of(".spec.ports")));
        assert!(
            !covers(&of(""), &of(".spec.ports")),
            "the object is not missing"
        );
        assert!(covers(&of(""), &of("")));
    }
}
