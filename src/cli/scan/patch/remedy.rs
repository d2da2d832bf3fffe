//! Why a finding is not patched, and what restores the declared state instead.

use helm_guard_core::scan::{
    Consequence, DriftFinding, FindingClass, repair::NoRepair, report::ReleaseReport,
};

use super::shell::quoted;

/// A comment about a finding that no patch restores.
pub(super) fn not_patched(release: &ReleaseReport, finding: &DriftFinding) -> String {
    let (reason, remedy) = match finding.class {
        FindingClass::Changed | FindingClass::Removed => (
            no_patch_because(finding),
            restores_the_field(release, finding),
        ),
        FindingClass::Missing => (
            "the object does not exist".to_owned(),
            rollback(release, finding, "creates it again"),
        ),
        FindingClass::Unmarked => (
            finding.message.clone(),
            rollback(release, finding, "writes the marks again"),
        ),
        FindingClass::Emergency => {
            let change = finding.emergency_change.as_deref().unwrap_or_default();
            let reason = format!("emergency change {change} made it, and it is open");
            (reason, "resolve the emergency change first".to_owned())
        }
        FindingClass::MutatedAtAdmission => (
            "something changes it at admission".to_owned(),
            "it would change a patch, too".to_owned(),
        ),
        FindingClass::Claimed => (
            "the value is the declared one".to_owned(),
            "an upgrade that changes it needs --force-conflicts".to_owned(),
        ),
        FindingClass::Orphaned | FindingClass::HookLeftover | FindingClass::Leaked => {
            return nothing_declares(finding);
        }
        FindingClass::Foreign
        | FindingClass::PartiallyApplied
        | FindingClass::RecordLost
        | FindingClass::RecordUnreadable
        | FindingClass::StuckPending
        | FindingClass::RemovedApi
        | FindingClass::Unreadable => {
            let advice = finding.class.advice();
            return format!("{}: {}. {advice}", place(finding), finding.message);
        }
    };
    format!("{}: {reason}; {remedy}", place(finding))
}

/// A comment about something that is there and that nothing declares.
pub(super) fn nothing_declares(finding: &DriftFinding) -> String {
    format!(
        "{}: nothing declares it, so there is nothing to restore",
        place(finding)
    )
}

/// `not patched: Changed .data.password`
fn place(finding: &DriftFinding) -> String {
    match &finding.path {
        Some(path) => format!("not patched: {} {path}", finding.class),
        None => format!("not patched: {}", finding.class),
    }
}

fn no_patch_because(finding: &DriftFinding) -> String {
    match &finding.exact {
        Some(exact) => match &exact.repair {
            Err(why) => why.to_string(),
            Ok(_) => "it is restored".to_owned(),
        },
        None if finding.object.kind == "Secret" => "values of Secrets are not shown".to_owned(),
        None => "its whole value is not known".to_owned(),
    }
}

fn restores_the_field(release: &ReleaseReport, finding: &DriftFinding) -> String {
    let exact = finding.exact.as_deref();
    let is_rejected = exact.is_some_and(|exact| matches!(exact.repair, Err(NoRepair::Rejected)));
    if is_rejected {
        return format!(
            "delete the object, then {}",
            rollback(release, finding, "creates it again")
        );
    }
    match finding.consequence {
        Consequence::Kept => {
            "neither an upgrade nor a rollback restores it, so edit the object".to_owned()
        }
        _ => rollback(release, finding, "restores it"),
    }
}

/// The command of Helm that applies the declared state again.
fn rollback(release: &ReleaseReport, finding: &DriftFinding, effect: &str) -> String {
    if release.status != "deployed" {
        return format!(
            "the next upgrade or rollback of the release, which is {}, {effect}",
            release.status
        );
    }
    let exact = finding.exact.as_deref();
    let is_rejected = exact.is_some_and(|exact| matches!(exact.repair, Err(NoRepair::Rejected)));
    let force = match finding.consequence {
        Consequence::Blocks if !is_rejected => " --force-conflicts",
        _ => "",
    };
    format!(
        "helm rollback {} {} -n {}{force} {effect}",
        quoted(&release.name),
        release.revision,
        quoted(&release.namespace)
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::cli::scan::sample;

    fn finding(class: &str, kind: &str, consequence: &str) -> DriftFinding {
        let rest = json!({"path": ".spec.x", "consequence": consequence, "message": "it is so"});
        sample::finding(class, ("v1", kind, "web"), rest)
    }

    #[rstest]
    #[case::secret(
        "Changed",
        "Secret",
        "Reverted",
        "not patched: Changed .spec.x: values of Secrets are not shown; helm rollback web 3 -n shop restores it"
    )]
    #[case::conflict(
        "Removed",
        "Secret",
        "Blocks",
        "not patched: Removed .spec.x: values of Secrets are not shown; \
         helm rollback web 3 -n shop --force-conflicts restores it"
    )]
    #[case::kept(
        "Changed",
        "Widget",
        "Kept",
        "not patched: Changed .spec.x: its whole value is not known; \
         neither an upgrade nor a rollback restores it, so edit the object"
    )]
    #[case::missing(
        "Missing",
        "Service",
        "Recreated",
        "not patched: Missing .spec.x: the object does not exist; helm rollback web 3 -n shop creates it again"
    )]
    #[case::mutated(
        "MutatedAtAdmission",
        "Service",
        "Kept",
        "not patched: MutatedAtAdmission .spec.x: something changes it at admission; it would change a patch, too"
    )]
    #[case::leaked(
        "Leaked",
        "Service",
        "Leaked",
        "not patched: Leaked .spec.x: nothing declares it, so there is nothing to restore"
    )]
    #[case::stuck(
        "StuckPending",
        "Secret",
        "Blocks",
        "not patched: StuckPending .spec.x: it is so. Make sure that no operation is running, then run helm \
         rollback to the last revision that was deployed."
    )]
    fn a_comment_says_what_restores_it(
        #[case] class: &str,
        #[case] kind: &str,
        #[case] consequence: &str,
        #[case] expected: &str,
    ) {
        let report = sample::of(Vec::new());
        let finding = finding(class, kind, consequence);
        assert_eq!(not_patched(&report.releases[0], &finding), expected);
    }

    #[test]
    fn an_immutable_object_is_deleted_first() {
        let report = sample::of(Vec::new());
        let mut finding =
            sample::deployment().changed("Changed", ".spec.replicas", (&json!(3), Some(&json!(5))));
        finding.consequence = Consequence::Blocks;
        finding.exact.as_mut().unwrap().repair = Err(NoRepair::Rejected);
        assert_eq!(
            not_patched(&report.releases[0], &finding),
            "not patched: Changed .spec.replicas: the API server rejects this change of the object; delete the object, \
             then helm rollback web 3 -n shop creates it again"
        );
    }

    #[test]
    fn a_release_that_failed_has_no_revision_to_roll_back_to() {
        let mut report = sample::of(Vec::new());
        report.releases[0].status = "failed".to_owned();
        let finding = finding("Missing", "Service", "Recreated");
        let comment = not_patched(&report.releases[0], &finding);
        assert!(
            comment.contains("the next upgrade or rollback of the release, which is failed,"),
            "{comment}"
        );
        assert!(!comment.contains("helm rollback web"), "{comment}");
    }
}
