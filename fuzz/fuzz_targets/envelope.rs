//! Any bytes may be posted. A body that is read as a review means the same to any JSON parser, a body that is
//! rejected is not a review, and every review can be evaluated.

#![no_main]

use std::sync::{Arc, LazyLock};

use helm_guard::webhook::envelope::{self, EnvelopeError};
use helm_guard_core::{
    compare::{redact::Redactor, schema::builtin::builtin},
    guard::{
        Claim, ConversionTargets, Knowledge, Operation, Question, Raw, Reach, Reason, RecordsAt,
        Request, RequestSubject, RevisionClaim, RevisionObject, judge, owners, screen, subject,
    },
    helm::{ReleaseName, lifecycle::Phase, manifest, record::ApplyMethod, storage::Driver},
    policy::{Labels, Policy, license::Facts},
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  template:
    spec:
      containers:
      - name: web
        image: nginx:1
        args: [a, b]
";

static CLAIM: LazyLock<Claim> = LazyLock::new(|| {
    let release = ReleaseName {
        namespace: "shop".into(),
        name: "web".into(),
    };
    let declared = manifest::parse(MANIFEST, &release).objects.remove(0);
    Claim {
        release: Arc::new(release),
        records: RecordsAt {
            driver: Driver::Secret,
            namespace: "shop".into(),
        },
        reach: Reach::Own,
        chart: "web-1".into(),
        phase: Phase::Settled,
        uninstalling_since: None,
        apply_method: ApplyMethod::default(),
        hook_accounts: Arc::default(),
        revisions: vec![RevisionClaim {
            revision: 1,
            held: RevisionObject::Declared(Arc::new(declared)),
        }],
    }
});

fuzz_target!(|body: &[u8]| {
    // It rejects input that the envelope does not look into: depth, large numbers, lone surrogates.
    let tree = serde_json::from_slice::<Value>(body)
        .ok()
        .filter(has_objects);
    match envelope::parse(body) {
        Ok(request) => {
            if let Some(tree) = tree {
                says_the_same(&request, &tree["request"]);
            }
            is_judged(&request);
        }
        Err(error) => {
            let _ = error.to_string();
            if let Some(tree) = tree {
                is_no_review(&error, &tree);
            }
        }
    }
});

/// Serde reads a list as a struct, field by field, which a reader of trees cannot know.
fn has_objects(tree: &Value) -> bool {
    let structs = [
        "",
        "/request",
        "/request/kind",
        "/request/resource",
        "/request/requestKind",
    ];
    let more = ["/request/userInfo", "/request/options"];
    let is_list = |path: &&str| tree.pointer(path).is_some_and(Value::is_array);
    !structs.iter().chain(&more).any(is_list)
}

fn says_the_same(request: &Request<'_>, tree: &Value) {
    let text = |path: &str| {
        tree.pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    for (read, path) in [
        (&request.uid, "/uid"),
        (&request.name, "/name"),
        (&request.namespace, "/namespace"),
        (&request.sub_resource, "/subResource"),
        (&request.kind.group, "/kind/group"),
        (&request.kind.version, "/kind/version"),
        (&request.kind.kind, "/kind/kind"),
        (&request.resource.group, "/resource/group"),
        (&request.resource.version, "/resource/version"),
        (&request.resource.resource, "/resource/resource"),
        (&request.user_info.username, "/userInfo/username"),
    ] {
        assert_eq!(read, text(path), "{path}");
    }
    let operation = text("/operation");
    match request.operation {
        Operation::Unknown => {
            assert!(!["CREATE", "UPDATE", "DELETE", "CONNECT"].contains(&operation))
        }
        known => assert_eq!(known.as_str(), operation),
    }
    let value = |raw: Raw<'_>| serde_json::from_str::<Value>(raw.get()).unwrap();
    for (read, path) in [
        (request.object, "/object"),
        (request.old_object, "/oldObject"),
        (request.user_info.extra, "/userInfo/extra"),
    ] {
        let found = tree.pointer(path).filter(|found| !found.is_null());
        assert_eq!(read.map(value).as_ref(), found, "{path}");
    }
    let groups = tree.pointer("/userInfo/groups").and_then(Value::as_array);
    let groups = groups.map(|groups| groups.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    assert_eq!(request.user_info.groups, groups.unwrap_or_default());
    assert_eq!(request.dry_run, tree["dryRun"] == true);
    assert_eq!(
        request.field_manager(),
        tree.pointer("/options/fieldManager")
            .and_then(Value::as_str)
    );
}

/// A tree parser keeps the last of two equal keys, and the envelope rejects the review: so only properties of
/// either one are checked.
fn is_no_review(error: &EnvelopeError, tree: &Value) {
    match error {
        EnvelopeError::NotJson { .. } => panic!("it is JSON: {tree}"),
        EnvelopeError::NoUid => {
            let uid = &tree["request"]["uid"];
            assert!(uid.is_null() || uid == "", "it has a uid: {tree}");
        }
        EnvelopeError::NoRequest => assert!(tree["request"].is_null(), "it has a request: {tree}"),
        EnvelopeError::NotAReview | EnvelopeError::Field { .. } => {}
        error => panic!("not an error of parsing: {error}"),
    }
}

fn is_judged(request: &Request<'_>) {
    let _ = owners(request);
    if screen(request).is_some() {
        return;
    }
    let Ok(RequestSubject::Object(object)) = subject(request) else {
        return;
    };
    let verdict = judge(&Question {
        request,
        object: &object,
        claims: std::slice::from_ref(&*CLAIM),
        knowledge: Knowledge::Builtin(builtin().lookup("apps", "v1", "Deployment").unwrap()),
        conversions: ConversionTargets::Versions(&[]),
        replicas_path: &["spec", "replicas"],
        policy: &Policy::default(),
        labels: Labels::Unknown,
        facts: Facts::default(),
        redactor: &Redactor::new(b"key"),
    });
    let changes = || verdict.findings.iter().flat_map(|finding| &finding.changes);
    for change in changes() {
        let _ = format!(
            "{} {} {} {}",
            change.path, change.declared, change.live, change.requested
        );
    }
    if verdict.reason == Reason::FieldsChanged {
        assert!(changes().next().is_some(), "a violation of nothing");
    }
}
