//! Replays recorded admission reviews, in the order in which an API server sent them, through the
//! library: release records feed the index, and every line is reviewed with the index of that moment.
//! Each line must get the verdict of the table in [`expected`].
//!
//! `tests/data/reviews` holds a small recording that is always replayed. `HELM_GUARD_REVIEWS` names a folder of
//! further ones.

// Helpers of tests may panic.
mod replay {
    pub mod recording;
    pub mod records;
}

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use helm_guard::{
    review::{Entry, Reviewer, recorded::RecordedSources},
    webhook::envelope,
};
use helm_guard_core::{
    compare::redact::Redactor,
    guard::{
        Operation, Raw, Reason, Request, Verdict,
        records::{
            StoredRecord,
            edit::{Edit, edit},
            removal::{Removal, may_be_helms, removal},
        },
    },
    helm::{lifecycle::RevisionStatus, record::RecordLimits},
    policy::Policy,
};
use replay::{recording, records::Records};

/// No timeout is needed, because no cluster is involved.
const DEADLINE: Duration = Duration::from_secs(30);

/// The expected verdict of a line.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// It is allowed, with this reason.
    Passes(Reason),
    /// It is a violation at these paths; for a delete, there are none.
    Violates(Reason, Vec<String>),
}

/// Kinds whose objects controllers create for declared objects; no release declares them.
const MADE_BY_CONTROLLERS: &[&str] = &["Pod", "ReplicaSet", "EndpointSlice"];

/// The expected verdicts, by user and change.
fn expected(request: &Request<'_>) -> Expected {
    let user = &*request.user_info.username;
    let by_kubectl = user.starts_with("alice");
    let manager = request.field_manager().unwrap_or_default();
    let (kind, operation) = (&*request.kind.kind, request.operation);
    let texts = [request.old_object, request.object].map(|object| object.map(Raw::get));
    match (operation, &*request.sub_resource) {
        // Evaluated as the bound Pod, and no release declares one here.
        (Operation::Create, "binding") => Expected::Passes(Reason::NotDeclared),
        (Operation::Create | Operation::Connect, _) => Expected::Passes(Reason::NotJudged),
        (Operation::Update, "scale") if by_kubectl => {
            Expected::Violates(Reason::FieldsChanged, vec![".spec.replicas".to_owned()])
        }
        (Operation::Update, _) if texts[0] == texts[1] => Expected::Passes(Reason::Unchanged),
        // Controllers write the status, and leave the metadata of declared objects unchanged.
        (Operation::Update, "status") if !MADE_BY_CONTROLLERS.contains(&kind) => {
            Expected::Passes(Reason::NothingDeclaredChanges)
        }
        _ if MADE_BY_CONTROLLERS.contains(&kind) => Expected::Passes(Reason::NotDeclared),
        _ if kind == "Secret" && request.name.starts_with("sh.helm.release.v1.") => {
            Expected::Passes(Reason::NotDeclared)
        }
        (Operation::Update, "") if by_kubectl && manager == "kubectl-set" => {
            let container = if request.name.ends_with("-helm-demo") {
                "helm-demo"
            } else {
                "web"
            };
            let path = format!(".spec.template.spec.containers[name={container}].image");
            Expected::Violates(Reason::FieldsChanged, vec![path])
        }
        (Operation::Update, "") if by_kubectl && manager == "kubectl-rollout" => {
            Expected::Passes(Reason::NothingDeclaredChanges)
        }
        (Operation::Delete, "") if by_kubectl => {
            Expected::Violates(Reason::ObjectDeleted, Vec::new())
        }
        (Operation::Update, "") if manager == "helm" => {
            Expected::Passes(Reason::NothingDeclaredChanges)
        }
        // Helm names no field manager when it deletes.
        (Operation::Delete, "") if matches!(user, "admin" | "testbed-admin") => {
            Expected::Passes(Reason::Uninstalling)
        }
        _ => panic!("the table says nothing of {operation:?} {kind} by {user} ({manager})"),
    }
}

async fn replay(lines: &[String]) -> BTreeMap<&'static str, usize> {
    let mut records = Records::from_before(lines);
    let reviewer = Reviewer::for_questions(
        RecordedSources::new(records.directory(), []),
        Policy::default(),
        Redactor::new(b"a key for tests"),
    );
    let mut reasons = BTreeMap::new();
    for (number, line) in lines.iter().enumerate() {
        let request = envelope::parse(line.as_bytes()).expect("a recorded review is well-formed");
        let deadline = Instant::now() + DEADLINE;
        let review = reviewer.review(&request, Entry::AsRequested, deadline);
        let verdict = review.await.verdict;
        let what = format!(
            "line {number}: {} {} {:?} by {}",
            request.operation.as_str(),
            request.kind.kind,
            request.name,
            request.user_info.username
        );
        match expected(&request) {
            Expected::Passes(reason) => assert_eq!(verdict, Verdict::because(reason), "{what}"),
            Expected::Violates(reason, paths) => {
                assert_eq!(verdict.reason, reason, "{what}");
                assert_eq!(violated(&verdict), paths, "{what}");
            }
        }
        *reasons.entry(verdict.reason.as_str()).or_default() += 1;
        records.see(&request);
    }
    reasons
}

fn violated(verdict: &Verdict) -> Vec<String> {
    let changes = verdict.findings.iter().flat_map(|finding| &finding.changes);
    changes.map(|change| change.path.to_string()).collect()
}

/// Follows the record writes of the recorded Helms: the rule for records must find no violation.
/// Returns the number of updates and deletions.
fn helms_own(lines: &[String]) -> [usize; 2] {
    let mut histories: BTreeMap<String, BTreeMap<u32, RevisionStatus>> = BTreeMap::new();
    let mut seen = [0, 0];
    for line in lines {
        let request = envelope::parse(line.as_bytes()).expect("a recorded review is well-formed");
        let stored = |object: Option<Raw<'_>>| StoredRecord::of(&request.kind, object?);
        let (old, new) = (stored(request.old_object), stored(request.object));
        if let (Operation::Update, Some(old)) = (request.operation, &old) {
            let edited = edit(old, new.as_ref(), &RecordLimits::default());
            // Helm stores some states twice, which differ only in its time label.
            assert!(
                matches!(edited, Edit::Helms | Edit::Irrelevant),
                "{}: {edited:?}",
                request.name
            );
            seen[0] += 1;
        }
        let Some(record) = new.as_ref().or(old.as_ref()) else {
            continue;
        };
        let history = histories.entry(record.release.clone()).or_default();
        history.insert(record.revision, record.status());
        if request.operation == Operation::Delete {
            let now: Vec<_> = history.iter().map(|(n, status)| (*n, *status)).collect();
            let removed = removal(&now, record.revision, may_be_helms(&request));
            assert_eq!(removed, Removal::Uninstalled, "{}", request.name);
            assert!(may_be_helms(&request), "{}", request.name);
            history.remove(&record.revision);
            seen[1] += 1;
        }
    }
    seen
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn each_review_of_the_committed_recording_gets_its_verdict() {
    let lines = recording::read(&root().join("tests/data/reviews"));
    let [updates, deletions] = helms_own(&lines);
    assert!(updates > 0 && deletions > 0, "{updates} {deletions}");
    let reasons = replay(&lines).await;
    assert_eq!(reasons.get("fields-changed"), Some(&2), "{reasons:?}");
    assert_eq!(reasons.get("object-deleted"), Some(&1), "{reasons:?}");
    for reason in [
        "not-judged",
        "not-declared",
        "nothing-declared-changes",
        "uninstalling",
    ] {
        assert!(
            reasons.contains_key(reason),
            "{reason} is not in {reasons:?}"
        );
    }
}

#[tokio::test]
async fn each_review_of_external_recordings_gets_its_verdict() {
    let Some(folder) = std::env::var_os("HELM_GUARD_REVIEWS").map(PathBuf::from) else {
        eprintln!("set HELM_GUARD_REVIEWS to a folder of recorded reviews to replay them");
        return;
    };
    let lines = recording::read(&folder);
    let [updates, deletions] = helms_own(&lines);
    assert!(updates > 0 && deletions > 0, "{updates} {deletions}");
    let reasons = replay(&lines).await;
    assert!(reasons.values().sum::<usize>() > 0, "{reasons:?}");
    eprintln!("{reasons:?}");
}
