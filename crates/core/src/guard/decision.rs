//! From a verdict to a decision: the only place where modes and break-glass count.

use super::{Confidence, ObjectRef, Reason, Request, Verdict, VerdictOutcome};
use crate::api::Mode;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It violates nothing.
    Allow,
    /// The verdict is indeterminate: allowed with a warning, and counted.
    Indeterminate,
    /// The verdict is indeterminate, in a namespace that fails closed: the API server gets an error
    /// instead of an answer, and denies the request.
    FailClosed,
    /// It is denied.
    Deny,
    /// Allowed with a kubectl warning, by the mode.
    Warn,
    /// Allowed and only recorded, by the mode.
    Audit,
    /// Allowed for a break-glass identity, with a warning and a record.
    BreakGlass,
}

impl Decision {
    /// Its name in metrics, audit annotations and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Indeterminate => "indeterminate",
            Self::FailClosed => "fail-closed",
            Self::Deny => "denied",
            Self::Warn => "warned",
            Self::Audit => "audited",
            Self::BreakGlass => "break-glass",
        }
    }

    /// Whether the request is allowed.
    pub fn allows(self) -> bool {
        !matches!(self, Self::Deny | Self::FailClosed)
    }

    /// The same in an entry that fails closed: without a verdict, nothing is allowed.
    #[must_use]
    pub fn closed(self) -> Self {
        match self {
            Self::Indeterminate => Self::FailClosed,
            other => other,
        }
    }
}

/// A request and what was decided about it: the input of the answer and of the record.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// What was asked.
    pub request: &'a Request<'a>,
    /// The object that was evaluated, if it is known. For a scale request, the scaled object.
    pub object: Option<&'a ObjectRef<'a>>,
    /// What the rules find.
    pub verdict: &'a Verdict,
    /// What is answered in this enforcement mode.
    pub decision: Decision,
    /// The mode in force.
    pub mode: Mode,
}

/// Whether break-glass covers a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmergencyAccess {
    /// It does not cover one, or it is not needed.
    None,
    /// It covers the violation.
    Granted,
}

/// A verdict, and the decision that follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The verdict, if a decision may follow from it.
    pub verdict: Verdict,
    /// The mode that applies: that of what is violated, or the default one.
    pub mode: Mode,
    /// What is answered in this enforcement mode.
    pub decision: Decision,
}

/// Decides. Break-glass counts in every mode, because its changes are recorded. A request without a
/// violation is not an emergency. A violation from the index alone is never denied: without break-glass,
/// it is treated as unreadable records.
pub fn decide(verdict: Verdict, default_mode: Mode, access: EmergencyAccess) -> Ruling {
    let is_violation = verdict.reason.outcome() == VerdictOutcome::Violation;
    let verdict = match (verdict.confidence, access) {
        (Confidence::IndexOnly, EmergencyAccess::None) if is_violation => {
            Verdict::because(Reason::ReadThroughFailed)
        }
        _ => verdict,
    };
    let mode = verdict.mode().unwrap_or(default_mode);
    let decision = match (verdict.reason.outcome(), access, mode) {
        (VerdictOutcome::Pass, _, _) => Decision::Allow,
        (VerdictOutcome::Indeterminate, _, _) => Decision::Indeterminate,
        (VerdictOutcome::Violation, EmergencyAccess::Granted, _) => Decision::BreakGlass,
        (VerdictOutcome::Violation, EmergencyAccess::None, Mode::Deny) => Decision::Deny,
        (VerdictOutcome::Violation, EmergencyAccess::None, Mode::Warn) => Decision::Warn,
        (VerdictOutcome::Violation, EmergencyAccess::None, Mode::Audit) => Decision::Audit,
    };
    Ruling {
        verdict,
        mode,
        decision,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const PASS: Reason = Reason::NotDeclared;
    const VIOLATION: Reason = Reason::ObjectDeleted;
    const INDETERMINATE: Reason = Reason::VersionDiffers;

    #[test]
    fn only_a_violation_without_break_glass_in_deny_mode_is_denied() {
        for reason in [PASS, INDETERMINATE, VIOLATION] {
            for mode in [Mode::Deny, Mode::Warn, Mode::Audit] {
                for access in [EmergencyAccess::None, EmergencyAccess::Granted] {
                    let ruling = decide(Verdict::because(reason), mode, access);
                    let expected = reason == VIOLATION
                        && mode == Mode::Deny
                        && access == EmergencyAccess::None;
                    assert_eq!(!ruling.decision.allows(), expected, "{ruling:?}");
                }
            }
        }
    }

    #[rstest]
    #[case::pass(PASS, Decision::Allow)]
    #[case::indeterminate(INDETERMINATE, Decision::Indeterminate)]
    fn break_glass_changes_nothing_where_nothing_is_violated(
        #[case] reason: Reason,
        #[case] expected: Decision,
    ) {
        let ruling = decide(
            Verdict::because(reason),
            Mode::Deny,
            EmergencyAccess::Granted,
        );
        assert_eq!(ruling.decision, expected);
    }

    #[rstest]
    #[case::denied_to_nobody(VIOLATION, EmergencyAccess::None, Decision::Indeterminate)]
    #[case::recorded_as_it_is(VIOLATION, EmergencyAccess::Granted, Decision::BreakGlass)]
    #[case::pass(PASS, EmergencyAccess::None, Decision::Allow)]
    fn a_violation_from_the_index_alone_is_never_denied(
        #[case] reason: Reason,
        #[case] access: EmergencyAccess,
        #[case] expected: Decision,
    ) {
        let verdict = Verdict {
            confidence: Confidence::IndexOnly,
            ..Verdict::because(reason)
        };
        let ruling = decide(verdict, Mode::Deny, access);
        assert_eq!(ruling.decision, expected);
        let known = match expected {
            Decision::Indeterminate => Reason::ReadThroughFailed,
            _ => reason,
        };
        assert_eq!(ruling.verdict.reason, known);
    }

    #[test]
    fn each_decision_has_a_distinct_name() {
        let words = [
            Decision::Allow,
            Decision::Indeterminate,
            Decision::FailClosed,
            Decision::Deny,
            Decision::Warn,
            Decision::Audit,
            Decision::BreakGlass,
        ]
        .map(Decision::as_str);
        let expected = [
            "allowed",
            "indeterminate",
            "fail-closed",
            "denied",
            "warned",
            "audited",
            "break-glass",
        ];
        assert_eq!(words, expected);
    }
}
