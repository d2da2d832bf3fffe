//! The content of an alert, independent of its format.
//!
//! Everything in an [`Alert`] is bounded and free of control characters: parts of it come from the
//! break-glass user, and sinks may interpret what they receive ([`clean`]).

mod clean;

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use helm_guard_core::{
    api::{
        ChangeState, EmergencyChangeSpec, Span,
        change::ChangeOperation,
        policy::alerts::AlertKind,
        reported::{ReportedField, ReportedObject, ReportedRelease},
    },
    guard::Decision,
    policy::alerts::template::{AlertDetail, AlertHeader, Placeholder},
    text::counted,
};
use jiff::{SignedDuration, Timestamp};

use self::clean::{clean, clean_field, clean_lines, fields};

/// Maximum length of the summary, in characters: `PagerDuty` accepts 1024, a phone shows fewer.
const SUMMARY_CHARS: usize = 300;

/// Maximum length of a one-line value, in characters.
const LINE_CHARS: usize = 512;

/// Maximum length of the reason, in characters.
const REASON_CHARS: usize = 2048;

/// Maximum length of the list of fields, in characters.
const FIELDS_CHARS: usize = 16 * 1024;

/// Maximum length of the patch, in characters: that of a stored patch.
const PATCH_CHARS: usize = 64 * 1024;

/// How long an alert is active if nothing resolves it.
const ACTIVE_FOR: SignedDuration = SignedDuration::from_hours(1);

/// How long an overdue change is active if nothing resolves it. The tracker resolves the alert with the
/// change.
pub(super) const OVERDUE_ACTIVE_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// For information.
    Info,
    /// To be looked at today.
    Warning,
    /// To be looked at now.
    Critical,
}

/// Whether the alert is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertStatus {
    /// Active.
    Firing,
    /// The condition is over.
    Resolved,
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The kind of event.
    pub kind: AlertKind,
    /// Whether it is active or resolved.
    pub status: AlertStatus,
    /// Identifies the incident: a [`AlertKind::Settled`] alert resolves the earlier alerts with the same key.
    pub key: String,
    /// A one-sentence summary.
    pub summary: String,
    /// When the alert was raised.
    pub at: Timestamp,
    /// When the event started.
    pub since: Timestamp,
    /// When the alert expires, if nothing resolves it before.
    pub until: Timestamp,
    details: BTreeMap<AlertDetail, String>,
    pub(crate) subject: Subject,
}

/// What an alert is about, for sinks that take more than text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) object: Option<ReportedObject>,
    pub(crate) release: Option<ReportedRelease>,
    /// The fields of one change.
    pub(crate) fields: Vec<ReportedField>,
}

/// Release records that were changed or deleted by hand.
#[derive(Clone, Copy, Debug)]
pub struct Tampering<'a> {
    /// Who sent the request, after impersonation.
    pub user: &'a str,
    /// The operation: `Update`, `Delete`.
    pub operation: &'a str,
    /// The record, a Secret or ConfigMap.
    pub object: &'a ReportedObject,
    /// The release, if known.
    pub release: Option<&'a ReportedRelease>,
    /// How the request was answered.
    pub decision: Decision,
    /// The time.
    pub at: Timestamp,
}

/// Denials above the rate of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Denials<'a> {
    /// The threshold.
    pub above: u32,
    /// The window.
    pub within: Span,
    /// The user of the last one.
    pub user: &'a str,
    /// The object of the last one.
    pub object: &'a ReportedObject,
    /// The time of the last one.
    pub at: Timestamp,
}

impl Alert {
    /// A break-glass user changed something.
    pub fn break_glass(change: &EmergencyChangeSpec) -> Self {
        let summary = format!(
            "{} used break-glass: {} of {} (release {})",
            change.user,
            operation(change.operation),
            change.object,
            change.release,
        );
        let mut alert = Self::about(change, AlertKind::BreakGlass, &summary, change.at.0);
        alert.until = change.reconcile_by.0;
        alert
    }

    /// A change is overdue: it is neither in the chart nor reverted.
    pub fn overdue(change: &EmergencyChangeSpec, now: Timestamp) -> Self {
        let summary = format!(
            "overdue: the emergency {} of {} by {} is not in the chart of release {}",
            operation(change.operation),
            change.object,
            change.user,
            change.release,
        );
        let mut alert = Self::about(change, AlertKind::Overdue, &summary, now);
        alert.until = after(now, OVERDUE_ACTIVE_FOR);
        alert.with(AlertDetail::State, ChangeState::Overdue.as_str())
    }

    /// A change was resolved, by `revision` if a revision did it.
    pub fn settled(
        change: &EmergencyChangeSpec,
        state: ChangeState,
        revision: Option<u32>,
        now: Timestamp,
    ) -> Self {
        let mut summary = format!(
            "{}: the emergency {} of {} by {} (release {}",
            state.as_str(),
            operation(change.operation),
            change.object,
            change.user,
            change.release,
        );
        if let Some(revision) = revision {
            let _ = write!(summary, ", revision {revision}");
        }
        summary.push(')');
        let mut alert = Self::about(change, AlertKind::Settled, &summary, now);
        alert.status = AlertStatus::Resolved;
        alert.until = now;
        alert.with(AlertDetail::State, state.as_str())
    }

    /// Somebody changed or deleted release records by hand.
    pub fn records_tampered(tampering: &Tampering<'_>) -> Self {
        let Tampering {
            user,
            operation,
            object,
            release,
            decision,
            at,
        } = *tampering;
        let did = match decision {
            Decision::Deny => "was denied changing",
            _ => "changed",
        };
        let summary = format!("{user} {did} Helm's records by hand: {operation} of {object}");
        // The deletion of a history is one incident, and a user who does it in a loop causes one alert.
        let what = release.map_or_else(|| object.to_string(), ToString::to_string);
        let key = format!("records/{what}/{}/{user}", decision.as_str());
        let alert = Self::firing(AlertKind::RecordsTampered, &key, &summary, at)
            .with(AlertDetail::User, user)
            .with(AlertDetail::Verdict, decision.as_str())
            .with(AlertDetail::Operation, operation)
            .of_object(object);
        match release {
            Some(release) => alert.of_release(release),
            None => alert,
        }
    }

    /// More denials than the policy's threshold.
    pub fn denials(denials: &Denials<'_>) -> Self {
        let Denials {
            above,
            within,
            user,
            object,
            at,
        } = *denials;
        let summary = format!(
            "more than {} denied within {within}, the last of {user} on {object}",
            counted(above, "request")
        );
        let mut alert = Self::firing(AlertKind::Denials, "denials", &summary, at)
            .with(AlertDetail::User, user)
            .with(AlertDetail::Verdict, Decision::Deny.as_str())
            .of_object(object)
            .with(AlertDetail::Above, &above.to_string())
            .with(AlertDetail::Within, &within.to_string());
        alert.until = after(at, within.get());
        alert
    }

    /// The key is the record: one per request and release.
    fn about(change: &EmergencyChangeSpec, kind: AlertKind, summary: &str, at: Timestamp) -> Self {
        let release = &change.release;
        let key = format!(
            "change/{}/{}/{}",
            change.request_uid, release.namespace, release.name
        );
        let mut alert = Self::firing(kind, &key, summary, at)
            .with(AlertDetail::User, &change.user)
            .with(AlertDetail::Operation, operation(change.operation))
            .of_object(&change.object)
            .of_release(release)
            .with(AlertDetail::Fields, &fields(&change.fields))
            .with(AlertDetail::ReconcileBy, &change.reconcile_by.0.to_string());
        alert.since = change.at.0;
        alert.subject.fields = change.fields.iter().map(clean_field).collect();
        let optional = [
            (AlertDetail::CredentialId, &change.credential_id),
            (AlertDetail::Grant, &change.grant),
            (AlertDetail::Ticket, &change.ticket),
            (AlertDetail::Reason, &change.reason),
            (AlertDetail::Patch, &change.patch),
        ];
        for (detail, value) in optional {
            if let Some(value) = value {
                alert = alert.with(detail, value);
            }
        }
        alert
    }

    pub(super) fn firing(kind: AlertKind, key: &str, summary: &str, at: Timestamp) -> Self {
        Self {
            kind,
            status: AlertStatus::Firing,
            key: clean(key, 255),
            summary: clean(summary, SUMMARY_CHARS),
            at,
            since: at,
            until: after(at, ACTIVE_FOR),
            details: BTreeMap::new(),
            subject: Subject::default(),
        }
    }

    fn of_object(mut self, object: &ReportedObject) -> Self {
        let text = |text: &String| clean(text, LINE_CHARS);
        self.subject.object = Some(ReportedObject {
            api_version: text(&object.api_version),
            kind: text(&object.kind),
            namespace: text(&object.namespace),
            name: text(&object.name),
            subresource: text(&object.subresource),
            uid: object.uid.as_ref().map(text),
            resource_version: object.resource_version.as_ref().map(text),
        });
        self.with(AlertDetail::Object, &object.to_string())
    }

    pub(super) fn of_release(mut self, release: &ReportedRelease) -> Self {
        let text = |text: &String| clean(text, LINE_CHARS);
        self.subject.release = Some(ReportedRelease {
            namespace: text(&release.namespace),
            name: text(&release.name),
            chart: text(&release.chart),
            ..*release
        });
        self.with(AlertDetail::Namespace, &release.namespace)
            .with(AlertDetail::Release, &release.name)
            .with(AlertDetail::Chart, &release.chart)
            .with(AlertDetail::Revision, &release.revision.to_string())
    }

    /// What changed in words, a line each; not of a single change, whose fields are known.
    pub fn changes(&self) -> impl Iterator<Item = &str> {
        let text = self.detail(AlertDetail::Fields);
        let text = text.filter(|_| self.subject.fields.is_empty());
        text.unwrap_or_default().lines()
    }

    /// With one more detail; an empty text adds nothing.
    #[must_use]
    pub fn with(mut self, detail: AlertDetail, value: &str) -> Self {
        let value = match detail {
            AlertDetail::Fields => clean_lines(value, FIELDS_CHARS),
            AlertDetail::Patch => clean_lines(value, PATCH_CHARS),
            AlertDetail::Reason => clean(value, REASON_CHARS),
            _ => clean(value, LINE_CHARS),
        };
        if !value.is_empty() {
            self.details.insert(detail, value);
        }
        self
    }

    /// The details, in order.
    pub fn details(&self) -> impl Iterator<Item = (AlertDetail, &str)> {
        self.details
            .iter()
            .map(|(detail, value)| (*detail, value.as_str()))
    }

    /// One of the optional fields; `None` if the alert does not have it.
    pub fn detail(&self, detail: AlertDetail) -> Option<&str> {
        self.details.get(&detail).map(String::as_str)
    }

    /// The value of a template placeholder.
    pub fn value(&self, name: Placeholder) -> Cow<'_, str> {
        match name {
            Placeholder::Detail(detail) => self.detail(detail).unwrap_or_default().into(),
            Placeholder::Header(AlertHeader::Event) => self.kind.as_str().into(),
            Placeholder::Header(AlertHeader::Status) => self.status.as_str().into(),
            Placeholder::Header(AlertHeader::Severity) => Severity::of(self.kind).as_str().into(),
            Placeholder::Header(AlertHeader::Key) => self.key.as_str().into(),
            Placeholder::Header(AlertHeader::Summary) => self.summary.as_str().into(),
            Placeholder::Header(AlertHeader::At) => self.at.to_string().into(),
        }
    }
}

impl Severity {
    /// The severity of a kind.
    pub(crate) fn of(kind: AlertKind) -> Self {
        match kind {
            AlertKind::Settled => Self::Info,
            AlertKind::BreakGlass
            | AlertKind::Denials
            | AlertKind::PolicyLoosened
            | AlertKind::Drift
            | AlertKind::DriftOver => Self::Warning,
            AlertKind::Overdue
            | AlertKind::RecordsTampered
            | AlertKind::SinksChanged
            | AlertKind::PolicyMissing
            | AlertKind::Suspended
            | AlertKind::RegistrationChanged
            | AlertKind::NotReady
            | AlertKind::AuditFailing => Self::Critical,
        }
    }

    /// The name, the same for all sinks.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl AlertStatus {
    /// The name in Alertmanager's terms.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

pub(super) fn operation(operation: ChangeOperation) -> &'static str {
    match operation {
        ChangeOperation::Update => "Update",
        ChangeOperation::Delete => "Delete",
        ChangeOperation::Scale => "Scale",
    }
}

pub(super) fn after(at: Timestamp, time: SignedDuration) -> Timestamp {
    at.checked_add(time).unwrap_or(at)
}

#[cfg(test)]
pub(crate) mod tests;
