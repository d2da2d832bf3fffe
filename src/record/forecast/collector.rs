//! Counts the decisions of this process that mode Deny would have made denials.

use helm_guard_core::{
    guard::{Decided, Decision, Reason},
    helm::ReleaseName,
};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::{FIELDS, Forecast, ForecastAct, RowKey, repeats::RecentRequests};

/// Requests of a process that are remembered to recognize their repetitions.
const REMEMBERED: usize = 4096;

/// What this process has counted since the last batch.
#[derive(Debug, Default)]
pub(crate) struct Collector(pub(super) Option<Mutex<Counting>>);

#[derive(Debug)]
pub(super) struct Counting {
    pub(super) forecast: Forecast,
    recent: RecentRequests,
}

impl Collector {
    /// A collector that counts. The default one does not: its counts would go nowhere.
    pub(crate) fn counting() -> Self {
        Self(Some(Mutex::new(Counting {
            forecast: Forecast::default(),
            recent: RecentRequests::new(REMEMBERED),
        })))
    }

    /// Counts a decision, if it would be a denial in mode Deny.
    pub(crate) fn note(&self, decided: &Decided<'_>, at: Timestamp) {
        let Some(counting) = &self.0 else {
            return;
        };
        let is_autoscaler = decided.verdict.reason == Reason::UndeclaredAutoscaler;
        if !is_autoscaler && !matches!(decided.decision, Decision::Warn | Decision::Audit) {
            return;
        }
        let Some(object) = decided.object else {
            return;
        };
        let row_keys: Vec<RowKey> = row_keys(decided, object.group, object.kind).collect();
        let values: Vec<_> = decided
            .verdict
            .findings
            .iter()
            .flat_map(|finding| &finding.changes)
            .map(|change| [&change.live, &change.requested].map(ToString::to_string))
            .collect();
        let content = (&row_keys, object.namespace, &object.name, values);
        let mut counting = counting.lock();
        if !counting.recent.has(&content, at) {
            counting.forecast.note(row_keys, &object.name, at);
        }
    }

    /// Takes the counts and starts from zero.
    pub(crate) fn take(&self) -> Forecast {
        let taken = self.0.as_ref().map(|counting| {
            let mut counting = counting.lock();
            std::mem::take(&mut counting.forecast)
        });
        taken.unwrap_or_default()
    }
}

fn row_keys<'a>(
    decided: &'a Decided<'_>,
    group: &'a str,
    kind: &'a str,
) -> impl Iterator<Item = RowKey> + 'a {
    let request = decided.request;
    let act = match decided.verdict.reason {
        Reason::UndeclaredAutoscaler => ForecastAct::Autoscale,
        _ => ForecastAct::of(request.operation.as_str(), &request.sub_resource),
    };
    let what = move |release: &ReleaseName, field: String| RowKey {
        namespace: release.namespace.clone(),
        release: release.name.clone(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        act,
        field,
        user: request.user_info.username.clone().into_owned(),
        manager: request.field_manager().unwrap_or_default().to_owned(),
    };
    let findings = decided.verdict.findings.iter();
    findings
        .flat_map(move |finding| {
            let whole = (act == ForecastAct::Delete).then(|| what(&finding.release, String::new()));
            let fields = finding
                .changes
                .iter()
                .map(move |change| what(&finding.release, change.path.to_string()));
            whole.into_iter().chain(fields)
        })
        .take(FIELDS)
}
