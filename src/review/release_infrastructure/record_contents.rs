//! The content of a release record: its release, and the other namespaces in which it declares objects.

use std::{collections::BTreeMap, sync::Arc};

use helm_guard_core::{
    compare::schema::{ResourceScope, builtin::builtin},
    guard::{Finding, Reason, Verdict, records::StoredRecord, verdict::FieldChange},
    helm::{
        ReleaseName, manifest,
        record::{ApplyMethod, Record, RecordLimits, decode},
    },
    policy::records::Guarded,
};
use tokio::time::timeout_at;

use super::infrastructure_review::InfrastructureReview;
use crate::{releases::decoding::Decoding, review::undecided::Undecided};

/// The release of a record.
pub(super) struct RecordContents {
    pub release: ReleaseName,
    pub chart: String,
    pub revision: u32,
    pub(crate) is_readable: bool,
    /// The other objects and users of a finding.
    pub involved: Vec<String>,
    /// The namespaces in the manifest other than the release's own, with an object in each.
    pub declares: Vec<(String, String)>,
}

impl RecordContents {
    /// Based on the storage of the record, because its body is unreadable or empty.
    pub(super) fn unreadable(namespace: &str, name: String, revision: u32) -> Self {
        Self {
            release: ReleaseName {
                namespace: namespace.to_owned(),
                name,
            },
            chart: "unknown".to_owned(),
            revision,
            is_readable: false,
            involved: Vec::new(),
            declares: Vec::new(),
        }
    }
}

impl<S> InfrastructureReview<'_, S> {
    /// The contents of the record's body; if it cannot be read, based on its storage.
    pub(super) async fn contents(&self, stored: StoredRecord) -> Result<RecordContents, Undecided> {
        let namespace = self.object.namespace.to_owned();
        let looks = !self.is_off(Guarded::Deployers);
        let claimed = claimed_bytes([&stored]);
        self.decoding(claimed, move || {
            let payload = stored.payload().unwrap_or_default();
            let revision = stored.revision;
            match decode(&payload, &RecordLimits::default()) {
                Ok(record) if record.release.name == stored.release => RecordContents {
                    chart: record.chart.to_string(),
                    declares: if looks { declares(&record) } else { Vec::new() },
                    release: record.release,
                    revision,
                    is_readable: true,
                    involved: Vec::new(),
                },
                _ => RecordContents::unreadable(&namespace, stored.release, revision),
            }
        })
        .await
    }

    /// Computes outside of the request threads, once the budget allows this many bytes of JSON.
    pub(super) async fn decoding<T: Send + 'static>(
        &self,
        claimed: usize,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undecided> {
        let computing = Decoding::of_process().run(claimed, compute);
        match timeout_at(self.deadline.into(), computing).await {
            Ok(Ok(computed)) => Ok(computed),
            Ok(Err(_panicked)) => Err(Undecided::because(Reason::RecordUnreadable)),
            Err(_) => Err(Undecided::because(Reason::DeadlineExceeded)),
        }
    }

    /// A violation, if the policy guards this for the release.
    pub(super) fn violation(
        &self,
        contents: RecordContents,
        (guarded, reason): (Guarded, Reason),
        changes: Vec<FieldChange>,
    ) -> Verdict {
        let Some(mode) = self.mode(guarded, &contents.release, &contents.chart) else {
            return Verdict::because(Reason::NotJudged);
        };
        let finding = Finding {
            release: Arc::new(contents.release),
            chart: contents.chart.into(),
            apply_method: ApplyMethod::default(),
            mode,
            revisions: vec![contents.revision],
            changes,
            involved: contents.involved,
        };
        Verdict::with_findings(reason, vec![finding])
    }
}

/// The total inflated size that the records claim.
pub(super) fn claimed_bytes<'r>(records: impl IntoIterator<Item = &'r StoredRecord>) -> usize {
    let payloads = records.into_iter().filter_map(StoredRecord::payload);
    payloads
        .map(|payload| RecordLimits::default().claimed_bytes(&payload))
        .sum()
}

/// The namespaces in a manifest other than the release's own. A cluster-scoped object is in none, and
/// counts for its release only while its annotations name it.
fn declares(record: &Record) -> Vec<(String, String)> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for object in manifest::parse(&record.manifest, &record.release).objects {
        let is_cluster_scoped =
            builtin().scope(&object.group, &object.kind) == Some(ResourceScope::Cluster);
        let namespace = object.namespace.unwrap_or_default();
        if namespace.is_empty() || namespace == record.release.namespace || is_cluster_scoped {
            continue;
        }
        let called = format!(
            "{} {:?} in namespace {namespace:?}",
            object.kind, object.name
        );
        found.entry(namespace).or_insert(called);
    }
    found.into_iter().collect()
}
