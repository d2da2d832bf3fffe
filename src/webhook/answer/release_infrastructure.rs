//! Messages about release infrastructure: records, namespaces, CRDs.

use helm_guard_core::{
    guard::{Decided, Finding, Reason, Request, records::StoredRecord},
    helm::lifecycle::RevisionStatus,
    text,
};

use super::phrases::{self, called, numbers, values};

/// Releases listed in a message; the rest is counted.
const LISTED: usize = 16;

/// The maximum number of deployers in a message.
const NAMES: usize = 8;

/// The violation and the remedy, a line each; `None` for an ordinary object.
pub(super) fn lines(decided: &Decided<'_>) -> Option<Vec<String>> {
    let findings = &decided.verdict.findings;
    let object = decided.object.map(called).unwrap_or_default();
    let first = findings.first()?;
    let (release, namespace) = (&first.release.name, &first.release.namespace);
    Some(match decided.verdict.reason {
        Reason::RecordTampered => {
            let mut lines = vec![format!(
                "{object} is the record of {}, which only Helm writes:",
                phrases::release(first)
            )];
            let changes = first.changes.iter();
            lines.extend(changes.map(|change| format!("  {}: {}", change.path, values(change))));
            lines.push(format!(
                "Change the release, not its record: helm upgrade {release} <chart> -n \
                 {namespace}; or go back: helm rollback {release} -n {namespace}"
            ));
            lines
        }
        Reason::RecordDeleted => {
            let Loss { lost, instead } = Loss::of(decided.request);
            let mut lines = vec![format!(
                "{object} is the record of {}: {lost}",
                phrases::release(first)
            )];
            if !first.involved.is_empty() {
                let others = first.involved.join(", ");
                lines.push(format!("Other releases recorded there: {others}"));
            }
            let revision = numbers(&first.revisions);
            let instead = instead
                .replace("RELEASE", &format!("{release} -n {namespace}"))
                .replace("REVISION", &revision);
            lines.push(instead);
            lines
        }
        Reason::NotADeployer => vec![
            format!("{object} is the record of {}", phrases::release(first)),
            format!(
                "{} is not an allowed deployer of this release (spec.records.deployers of the policy)",
                decided.request.user_info.username
            ),
            deployers(&first.involved),
        ],
        Reason::DeclaresOutsideScope => vec![
            format!("{object} is the record of {}", phrases::release(first)),
            format!(
                "It declares objects where {} may not deploy (spec.records.deployers of the policy): {}",
                decided.request.user_info.username,
                first.involved.join(", ")
            ),
            "Deploy it as a user who may deploy there, too, or remove these objects from the chart"
                .to_owned(),
        ],
        Reason::NamespaceHoldsReleases => {
            let head = format!("{object} holds Helm releases, which would be lost with it:");
            let listed = list(findings, phrases::release);
            [vec![head], listed, owners(first), vec![uninstall(findings)]].concat()
        }
        Reason::DefinitionInUse => {
            let head = format!(
                "{object} has instances that Helm releases declare; they would be deleted \
                 with it without admission checks:"
            );
            let listed = list(findings, |finding| {
                format!(
                    "{}: {}",
                    phrases::release(finding),
                    finding.involved.join(", ")
                )
            });
            [vec![head], listed, owners(first), vec![uninstall(findings)]].concat()
        }
        _ => return None,
    })
}

/// What is lost with a record, and how to reach the goal of its deletion.
struct Loss {
    lost: &'static str,
    instead: &'static str,
}

impl Loss {
    /// By the status in the label of the record.
    fn of(request: &Request<'_>) -> Self {
        let record = request
            .old_object
            .and_then(|old| StoredRecord::of(&request.kind, old));
        match record.map(|record| record.status()) {
            Some(RevisionStatus::Superseded) => Self {
                lost: "without it that revision cannot be restored",
                instead: "Helm keeps the history short itself: helm upgrade RELEASE <chart> \
                          --history-max <n>",
            },
            // There is no earlier revision to go back to.
            Some(RevisionStatus::PendingInstall) => Self {
                lost: "without it the changes of that operation are unknown",
                instead: "To recover from an interrupted install: helm rollback RELEASE REVISION; or \
                          remove it: helm uninstall RELEASE",
            },
            Some(RevisionStatus::PendingUpgrade | RevisionStatus::PendingRollback) => Self {
                lost: "without it the changes of that operation are unknown",
                instead: "To recover from an interrupted operation: helm rollback RELEASE",
            },
            _ => Self {
                lost: "without it Helm loses the release, and the objects of the release are orphaned",
                instead: "Remove the release and its records together: helm uninstall RELEASE",
            },
        }
    }
}

fn deployers(named: &[String]) -> String {
    if named.is_empty() {
        return "The policy names no allowed deployers".to_owned();
    }
    format!("Allowed deployers: {}", text::list(named, NAMES))
}

fn list(findings: &[Finding], line: impl Fn(&Finding) -> String) -> Vec<String> {
    let mut lines: Vec<_> = findings
        .iter()
        .take(LISTED)
        .map(|finding| format!("  {}", line(finding)))
        .collect();
    let more = findings.len().saturating_sub(LISTED);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}

/// The owner references of an update that leads to the deletion.
fn owners(finding: &Finding) -> Vec<String> {
    if finding.changes.is_empty() {
        return Vec::new();
    }
    let changes = finding.changes.iter().take(LISTED);
    let mut lines = vec![
        "The garbage collector would delete it once a new owner is deleted, and an owner that does not \
         exist counts as deleted:"
            .to_owned(),
    ];
    lines.extend(changes.map(|change| format!("  {}: {}", change.path, values(change))));
    lines
}

fn uninstall(findings: &[Finding]) -> String {
    const COMMANDS: usize = 4;
    let commands: Vec<_> = findings
        .iter()
        .take(COMMANDS)
        .map(|finding| {
            let (name, namespace) = (&finding.release.name, &finding.release.namespace);
            format!("helm uninstall {name} -n {namespace}")
        })
        .collect();
    let more = if findings.len() > COMMANDS {
        "; …"
    } else {
        ""
    };
    format!("Uninstall them first: {}{more}", commands.join("; "))
}
