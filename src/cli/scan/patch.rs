//! What would restore the declared state: for each object a `kubectl patch`, in a script for `sh`.
//!
//! Invariants
//! - A patch is never wrong: it has whole values only, and tests all that it relies on, so it fails on an object that
//!   changed since the scan.
//! - Nothing of the cluster is a command: values are quoted, and a comment is one line.
//! - Every finding is in the script. What no patch restores is a comment that says why, and what does.
//!
//! Start at [`patch`].

mod remedy;
mod shell;

use std::fmt::Write;

use helm_guard_core::scan::{
    DriftFinding, FindingClass, ScanReport,
    repair::{self, FieldRepair},
    report::ReleaseReport,
};

use self::{
    remedy::{not_patched, nothing_declares},
    shell::{Shell, quoted},
};
use super::{
    group::by_object,
    summary::{failure, sentence, unlisted},
    visible::one_line,
};

/// The longest patch that is an argument. Linux takes 128 KiB for one.
const ARGUMENT_BYTES: usize = 100_000;

/// The script. Writing to a string cannot fail.
pub(super) fn patch(report: &ScanReport) -> String {
    let mut script = Shell::default();
    script.comment(&format!(
        "Restores what releases declare in {}, as scanned at {}.",
        report.cluster, report.scanned_at
    ));
    script.comment("Each patch tests what the scan saw, and fails if that changed since.");
    script.comment(
        "kubectl owns a patched field afterwards: where Helm applies server-side, an upgrade that changes it needs \
         --force-conflicts.",
    );
    for release in &report.releases {
        for findings in by_object(&release.findings) {
            write_object(&mut script, release, &findings);
        }
        if let Some(more) = unlisted(release) {
            script.blank();
            script.comment(&more);
        }
    }
    for orphan in &report.orphans {
        script.blank();
        script.comment(&format!(
            "{} (release {}/{})",
            orphan.finding.object, orphan.release_namespace, orphan.release_name
        ));
        script.comment(&nothing_declares(&orphan.finding));
    }
    script.blank();
    for one in &report.errors {
        script.comment(&format!("not complete: {}", failure(one)));
    }
    script.comment(&sentence(report));
    script.text()
}

fn write_object(script: &mut Shell, release: &ReleaseReport, findings: &[&DriftFinding]) {
    let Some(first) = findings.first() else {
        return;
    };
    script.blank();
    script.comment(&format!(
        "{} (release {}/{}, revision {})",
        first.object, release.namespace, release.name, release.revision
    ));
    let mut repairs = Vec::new();
    for finding in findings {
        match repair_of(finding) {
            Some(repair) => {
                let path = finding.path.as_deref().unwrap_or_default();
                script.comment(&format!("{} {path}", finding.class));
                repairs.push(repair);
            }
            None => script.comment(&not_patched(release, finding)),
        }
    }
    if !repairs.is_empty() {
        script.command(&command(first, &repairs));
    }
}

/// What restores the field, where a patch does and should.
fn repair_of(finding: &DriftFinding) -> Option<&FieldRepair> {
    if !matches!(finding.class, FindingClass::Changed | FindingClass::Removed) {
        return None;
    }
    finding.exact.as_ref()?.repair.as_ref().ok()
}

fn command(finding: &DriftFinding, repairs: &[&FieldRepair]) -> String {
    let object = &finding.object;
    let kind = match object.api_version.split_once('/') {
        // With the version, because the paths are those of this version.
        Some((group, version)) => format!("{}.{version}.{group}", object.kind),
        None => object.kind.clone(),
    };
    let mut command = "kubectl patch".to_owned();
    if object.name.starts_with('-') {
        // It would be an option.
        let _ = write!(command, " {}", quoted(&format!("{kind}/{}", object.name)));
    } else {
        let _ = write!(command, " {} {}", quoted(&kind), quoted(&object.name));
    }
    if !object.namespace.is_empty() {
        let _ = write!(command, " -n {}", quoted(&object.namespace));
    }
    command.push_str(" --type=json");
    let patch = repair::patch(repairs.iter().copied());
    // kubectl reads a patch as YAML, to which more characters are line breaks than to JSON.
    let patch = one_line(&patch.to_string());
    if patch.len() <= ARGUMENT_BYTES {
        let _ = write!(command, " -p {}", quoted(&patch));
    } else {
        let _ = write!(
            command,
            " --patch-file=/dev/stdin <<'PATCH'\n{patch}\nPATCH"
        );
    }
    command
}

#[cfg(test)]
mod tests;
