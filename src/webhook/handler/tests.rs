//! The whole way of a request through the routes, with releases made by hand.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use futures_util::future::BoxFuture;
use helm_guard_core::{
    api::{BreakGlassGrant, EmergencyChangeSpec},
    compare::{redact::Redactor, schema::crd::CrdShape},
    guard::{
        Claim, Claimant, Held, ObjectRef, Own, Reach, RecordsAt, Resource, RevisionClaim, Sighting,
        Trusts, User, Witness,
        records::{Holder, Stake},
    },
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::{Phase, Status},
        storage::Driver,
    },
    policy::{Mode, Policy},
};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{
    record::{
        alerts::Alerts,
        audit::AuditLog,
        changes::Unkept,
        events::{self, Announcer},
        forecast::Gathered,
        metrics::{Figures, Metrics},
    },
    releases::{Autoscalers, Autoscaling, Wanted},
    review::{
        Emergencies,
        sources::{
            AccessSource, FreshClaims, FreshHolders, GrantSource, IndexSource, LiveOwner,
            NamespaceSource, ObjectSource, RecordSource, SchemaSource, SourceError, UnreadRelease,
        },
    },
    webhook::versions::Conversions,
};

const DEPLOYMENT: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":3}}"#;
const SECRET: &str = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"web"},"data":{"password":"aHVudGVyMg=="}}"#;
const ROLLOUT: &str = r#"{"apiVersion":"example.com/v1","kind":"Rollout","metadata":{"name":"web"},"spec":{"size":3}}"#;
const ROLLOUT_CRD: &str = r#"{"spec":{"group":"example.com","scope":"Namespaced",
    "names":{"kind":"Rollout","plural":"rollouts"},"versions":[{"name":"v1","served":true,
    "schema":{"openAPIV3Schema":{"type":"object"}},
    "subresources":{"scale":{"specReplicasPath":".spec.size","statusReplicasPath":".status.size"}}}]}}"#;

/// What happens when the records are read again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fresh {
    AsIndexed,
    /// Helm has written a new revision since.
    Declares(&'static str),
    Fails,
    NeverAnswers,
    Panics,
}

/// Releases made by hand: one release that declares one object.
#[derive(Debug)]
struct Handmade {
    declared: &'static str,
    fresh: Fresh,
    reads: Arc<AtomicUsize>,
    definition: Result<Option<&'static str>, ()>,
    phase: Phase,
    may_write: Result<bool, ()>,
    grants: Result<Value, ()>,
    foundations: Foundations,
    is_complete: bool,
    deputies: Deputies,
    takeover: TakeOver,
}

/// Where records of emergency changes are persisted, or why they are not.
#[derive(Debug)]
struct HandmadeStore {
    keep: Result<(), Unkept>,
    kept: Kept,
}

/// Another release that declares the object.
#[derive(Clone, Debug, Default)]
struct TakeOver {
    taker: Option<Claim>,
    /// Where the user may write release records; otherwise what `may_write` says.
    writes_in: Option<&'static [&'static str]>,
}

/// What the licenses of exempt controllers depend on.
#[derive(Clone, Debug)]
struct Deputies {
    is_autoscaled: Result<bool, ()>,
    /// A release with records elsewhere that declares the autoscaler.
    elsewhere: Option<Claimant>,
    live_uid: Result<Option<String>, ()>,
    /// `spec.presets` of the policy.
    presets: Value,
}

impl Default for Deputies {
    fn default() -> Self {
        Self {
            is_autoscaled: Ok(true),
            elsewhere: None,
            live_uid: Ok(None),
            presets: json!({}),
        }
    }
}

/// What releases hang on, as the API server would tell of it.
#[derive(Clone, Debug)]
struct Foundations {
    holders: Result<Vec<Holder>, ()>,
    /// What becomes known of any witness.
    sighting: Result<Sighting, ()>,
    history: Result<Vec<(u32, Status)>, ()>,
    is_terminating: bool,
    /// `spec.records` of the policy.
    policy: Value,
}

impl Default for Foundations {
    fn default() -> Self {
        Self {
            holders: Ok(Vec::new()),
            sighting: Ok(Sighting::Names(None)),
            history: Ok(Vec::new()),
            is_terminating: false,
            policy: json!({}),
        }
    }
}

/// The records that were kept, as JSON.
type Kept = Arc<Mutex<Vec<Value>>>;

fn claims(declared: &str, object: &ObjectRef<'_>, phase: Phase) -> Vec<Claim> {
    let value: Value = serde_json::from_str(declared).unwrap();
    let text = |pointer: &str| value.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let api_version = text("/apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let name = text("/metadata/name");
    if (object.group, object.kind, &*object.name) != (group, &text("/kind"), &name)
        || object.namespace != "shop"
    {
        return Vec::new();
    }
    vec![Claim {
        release: Arc::new(ReleaseName {
            namespace: "shop".to_owned(),
            name: "myapp".to_owned(),
        }),
        records: RecordsAt {
            driver: Driver::Secret,
            namespace: "shop".into(),
        },
        reach: Reach::Own,
        chart: Arc::from("myapp-1.2.0"),
        phase,
        uninstalling_since: None,
        apply_method: helm_guard_core::helm::record::ApplyMethod::default(),
        hook_accounts: Arc::default(),
        revisions: vec![RevisionClaim {
            revision: 3,
            held: Held::Declared(Arc::new(DeclaredObject {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text("/kind"),
                namespace: None,
                name,
                source: None,
                line: 1,
                keep: false,
                json: Arc::from(declared),
            })),
        }],
    }]
}

impl IndexSource for Handmade {
    fn claims(&self, object: &ObjectRef<'_>) -> Vec<Claim> {
        let mut claims = claims(self.declared, object, self.phase);
        claims.extend(self.takeover.taker.clone());
        claims
    }

    fn is_unreadable(&self, namespace: &str, release: &str) -> bool {
        (namespace, release) == ("shop", "broken")
    }

    fn is_complete(&self) -> bool {
        self.is_complete
    }

    fn recorded_in(&self, _namespace: &str) -> Vec<Arc<ReleaseName>> {
        let holders = self.foundations.holders.iter().flatten();
        holders
            .map(|holder| Arc::clone(&holder.claimant.release))
            .collect()
    }

    fn autoscaling(&self, _object: &ObjectRef<'_>, _trusts: Trusts<'_>) -> Autoscaling {
        match self.deputies.is_autoscaled {
            Ok(true) => Autoscaling::Declared,
            _ if self.deputies.elsewhere.is_some() => Autoscaling::InQuestion,
            _ => Autoscaling::Undeclared,
        }
    }
}

impl RecordSource for Handmade {
    async fn fresh_claims(
        &self,
        object: &ObjectRef<'_>,
        wanted: &Wanted<'_>,
        _deadline: Instant,
    ) -> FreshClaims {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let claims = match self.fresh {
            Fresh::AsIndexed => self.claims(object),
            Fresh::Declares(declared) => claims(declared, object, self.phase),
            Fresh::Fails => {
                let unread = wanted.claims.iter().map(|claim| UnreadRelease {
                    records: claim.records.clone(),
                    release: claim.release.name.clone(),
                    is_too_large: false,
                    error: "the API server is away".into(),
                });
                return FreshClaims {
                    claims: Vec::new(),
                    unread: unread.collect(),
                };
            }
            Fresh::NeverAnswers => std::future::pending().await,
            Fresh::Panics => panic!("hunter2"),
        };
        FreshClaims {
            claims,
            unread: Vec::new(),
        }
    }

    async fn fresh_holders(
        &self,
        _stake: Stake<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> FreshHolders {
        let holders = self.foundations.holders.clone();
        FreshHolders {
            failure: holders.is_err().then(|| "the API server is away".into()),
            holders: holders.unwrap_or_default(),
        }
    }

    async fn history(
        &self,
        _at: &RecordsAt,
        _release: &str,
        _deadline: Instant,
    ) -> Result<Vec<(u32, Status)>, SourceError> {
        let history = self.foundations.history.clone();
        history.map_err(|()| "the API server is away".into())
    }

    async fn autoscalers(
        &self,
        _object: &ObjectRef<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> Result<Autoscalers, SourceError> {
        match self.deputies.is_autoscaled {
            Err(()) => Err("the API server is away".into()),
            Ok(is_declared) => Ok(Autoscalers {
                is_declared,
                in_question: self.deputies.elsewhere.iter().cloned().collect(),
            }),
        }
    }
}

impl ObjectSource for Handmade {
    async fn owner_now(
        &self,
        _resource: &Resource<'_>,
        _object: &ObjectRef<'_>,
        _deadline: Instant,
    ) -> Result<Option<ReleaseName>, SourceError> {
        Err("the API server is away".into())
    }

    async fn sighting(
        &self,
        _witness: &Witness,
        _deadline: Instant,
    ) -> Result<Sighting, SourceError> {
        let sighting = self.foundations.sighting.clone();
        sighting.map_err(|()| "the API server is away".into())
    }

    async fn live_uid(
        &self,
        _owner: &LiveOwner<'_>,
        _deadline: Instant,
    ) -> Result<Option<String>, SourceError> {
        let uid = self.deputies.live_uid.clone();
        uid.map_err(|()| "the API server is away".into())
    }
}

impl NamespaceSource for Handmade {
    fn is_known_terminating(&self, _namespace: &str) -> bool {
        self.foundations.is_terminating
    }

    async fn is_terminating(
        &self,
        _namespace: &str,
        _deadline: Instant,
    ) -> Result<bool, SourceError> {
        Ok(self.foundations.is_terminating)
    }
}

impl AccessSource for Handmade {
    async fn may_write_records(
        &self,
        claim: &Claim,
        _user: &User<'_>,
    ) -> Result<bool, SourceError> {
        if let Some(namespaces) = self.takeover.writes_in {
            return Ok(namespaces.contains(&&*claim.records.namespace));
        }
        self.may_write.map_err(|()| "the API server is away".into())
    }
}

impl GrantSource for Handmade {
    async fn grants(&self, _deadline: Instant) -> Result<Vec<BreakGlassGrant>, SourceError> {
        let grants = self.grants.clone().map_err(|()| "403 Forbidden")?;
        Ok(serde_json::from_value(grants).unwrap())
    }
}

impl SchemaSource for Handmade {
    async fn custom_resource(
        &self,
        _group: &str,
        _plural: &str,
    ) -> Result<Option<Arc<CrdShape>>, SourceError> {
        let definition = self.definition.map_err(|()| "the API server is away")?;
        Ok(definition.map(|json| Arc::new(CrdShape::from_json(json).unwrap())))
    }
}

impl EmergencyStore for HandmadeStore {
    fn persist<'a>(
        &'a self,
        change: &'a EmergencyChangeSpec,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<String, Unkept>> {
        let kept = self.keep.clone().map(|()| {
            self.kept.lock().push(serde_json::to_value(change).unwrap());
            "web-1a2b".to_owned()
        });
        std::future::ready(kept).boxed()
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Setup {
    mode: Mode,
    declared: &'static str,
    fresh: Fresh,
    definition: Result<Option<&'static str>, ()>,
    phase: Phase,
    may_write: Result<bool, ()>,
    /// Where audit lines go, unless they are looked at.
    audit: Option<AuditLog>,
    /// What `spec.breakGlass` says beside who.
    rules: Value,
    grants: Result<Value, ()>,
    keep: Result<(), Unkept>,
    foundations: Foundations,
    own: Option<Own>,
    is_complete: bool,
    intake: Intake,
    deputies: Deputies,
    takeover: TakeOver,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mode: Mode::Deny,
            declared: DEPLOYMENT,
            fresh: Fresh::AsIndexed,
            definition: Ok(None),
            phase: Phase::Settled,
            may_write: Ok(false),
            rules: json!({}),
            grants: Ok(json!([])),
            keep: Ok(()),
            foundations: Foundations::default(),
            deputies: Deputies::default(),
            takeover: TakeOver::default(),
            audit: None,
            own: None,
            is_complete: true,
            intake: Intake::default(),
        }
    }
}

struct Bench {
    webhook: Arc<Webhook<Handmade>>,
    router: Router,
    recorder: Arc<Recorder>,
    announcer: Announcer,
    lines: Lines,
    reads: Arc<AtomicUsize>,
    conversions: Arc<Conversions>,
    kept: Kept,
}

/// Emergencies are for one service account.
fn policy(mode: Mode, mut rules: Value, records: &Value, presets: &Value) -> Policy {
    rules["identities"] = json!([{"subjects": {"serviceAccounts": ["ops/emergency"]}}]);
    let robot = json!({"name": "replica-robot", "subjects": {"users": ["robot"]},
        "kinds": [{"group": "apps", "kind": "Deployment"}], "paths": ["/spec/replicas"]});
    let spec = json!({"mode": mode, "records": records, "breakGlass": rules, "exemptions": [robot],
            "presets": presets});
    Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap()
}

/// Without the secret of the paths: what is tested here is what comes behind it.
fn open(webhook: Arc<Webhook<Handmade>>) -> Router {
    Router::new().fallback(async move |http: HttpRequest| {
        let route = match http.uri().path() {
            "/validate" => Route::Validate,
            "/validate/version" => Route::Version,
            "/foundations" => Route::Foundations,
            "/grants" => Route::Grants,
            "/policies" => Route::Policies,
            "/emergencies" => Route::Emergencies,
            "/closed" => Route::ClosedValidate,
            "/closed/foundations" => Route::ClosedFoundations,
            _ => return StatusCode::NOT_FOUND.into_response(),
        };
        dispatch(&webhook, route, http).await
    })
}

impl Setup {
    fn start(self) -> Bench {
        let lines = Lines::default();
        let reads = Arc::new(AtomicUsize::new(0));
        let conversions = Arc::<Conversions>::default();
        let kept = Kept::default();
        let (events, announcer) = events::queue();
        let recorder = Arc::new(Recorder {
            metrics: Metrics::new(self.mode, Figures::default),
            audit: self
                .audit
                .unwrap_or_else(|| AuditLog::new("p-1", lines.clone())),
            events,
            alerts: Alerts::default(),
            forecast: Arc::new(Gathered::wanted()),
            is_led: Arc::default(),
        });
        let webhook = Webhook {
            reviewer: Reviewer {
                sources: Handmade {
                    declared: self.declared,
                    fresh: self.fresh,
                    reads: Arc::clone(&reads),
                    definition: self.definition,
                    phase: self.phase,
                    may_write: self.may_write,
                    grants: self.grants,
                    foundations: self.foundations.clone(),
                    is_complete: self.is_complete,
                    deputies: self.deputies.clone(),
                    takeover: self.takeover,
                },
                policy: policy(
                    self.mode,
                    self.rules,
                    &self.foundations.policy,
                    &self.deputies.presets,
                )
                .live(),
                redactor: Redactor::new(b"key"),
                conversions: conversions.active(),
                own: self.own,
                emergencies: Emergencies::Considered,
            },
            emergencies: Box::new(HandmadeStore {
                keep: self.keep,
                kept: Arc::clone(&kept),
            }),
            recorder: Arc::clone(&recorder),
            intake: self.intake,
        };
        let webhook = Arc::new(webhook);
        Bench {
            router: open(Arc::clone(&webhook)),
            webhook,
            recorder,
            announcer,
            lines,
            reads,
            conversions,
            kept,
        }
    }
}

impl Bench {
    async fn post(&self, body: impl Into<Body>) -> (StatusCode, String) {
        let request = http::Request::post("/validate?timeout=3s")
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        self.call(request).await
    }

    async fn call(&self, request: http::Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn review(&self, request: &Value) -> Value {
        let (status, body) = self.post(review_of(request)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let review: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(review["response"]["uid"], "u-1");
        review["response"].clone()
    }

    fn metrics(&self) -> String {
        self.recorder.metrics.encode().unwrap()
    }

    fn audit_lines(&self) -> Vec<Value> {
        let bytes = self.lines.0.lock();
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    fn read_throughs(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

fn review_of(request: &Value) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
        .to_string()
}

/// An UPDATE of the Deployment from 3 replicas to `replicas`.
fn update(replicas: u32) -> Value {
    json!({
        "uid": "u-1", "operation": "UPDATE", "name": "web", "namespace": "shop",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "userInfo": {"username": "ada", "groups": ["dev"]},
        "options": {"fieldManager": "kubectl-edit"},
        "oldObject": {"metadata": {"name": "web", "uid": "o-1"}, "spec": {"replicas": 3}},
        "object": {"metadata": {"name": "web", "uid": "o-1"}, "spec": {"replicas": replicas}},
    })
}

fn with(mut request: Value, key: &str, value: Value) -> Value {
    request[key] = value;
    request
}

fn by_emergency(request: Value) -> Value {
    let user = json!({"username": "system:serviceaccount:ops:emergency", "groups": ["ops"]});
    with(request, "userInfo", user)
}

#[tokio::test]
async fn a_violation_is_denied_after_the_records_were_read_again() {
    let bench = Setup::default().start();
    let response = bench.review(&update(0)).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 403);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains(".spec.replicas: declared 3, live 3, requested 0"),
        "{message}"
    );
    assert_eq!(bench.read_throughs(), 1);
    let lines = bench.audit_lines();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["target"], "audit");
    assert_eq!(lines[0]["decision"], "denied");
    assert_eq!(lines[0]["user"], json!({"name": "ada", "groups": ["dev"]}));
    assert_eq!(lines[0]["releases"][0]["revisions"], json!([3]));
    assert!(bench.metrics().contains(
        r#"helm_guard_decisions_total{dry_run="false",operation="UPDATE",mode="Deny",verdict="denied",reason="fields-changed"} 1"#
    ));
}

/// A mutating webhook rewrites what Helm sends, so that it is no longer what the manifest declares.
#[rstest]
#[case::helm_at_work(Phase::Pending, "helm", Ok(true), "in-flight")]
#[case::somebody_who_says_so(Phase::Pending, "helm", Ok(false), "fields-changed")]
#[case::another_manager(Phase::Pending, "kubectl-edit", Ok(true), "fields-changed")]
#[case::no_operation_runs(Phase::Settled, "helm", Ok(true), "fields-changed")]
#[case::nobody_can_say(Phase::Pending, "helm", Err(()), "access-unknown")]
#[tokio::test]
async fn helms_own_request_passes_however_it_was_rewritten(
    #[case] phase: Phase,
    #[case] manager: &str,
    #[case] may_write: Result<bool, ()>,
    #[case] reason: &str,
) {
    let bench = Setup {
        phase,
        may_write,
        ..Setup::default()
    }
    .start();
    let request = with(update(0), "options", json!({"fieldManager": manager}));
    let response = bench.review(&request).await;
    assert_eq!(response["auditAnnotations"]["reason"], reason);
    assert_eq!(response["allowed"], reason != "fields-changed");
    assert_eq!(
        response.get("warnings").is_some(),
        reason == "access-unknown"
    );
}

#[tokio::test]
async fn what_helm_has_written_since_the_index_heard_of_it_counts() {
    let bench = Setup {
        fresh: Fresh::Declares(
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":5}}"#,
        ),
        ..Setup::default()
    }
    .start();
    let response = bench.review(&update(5)).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response.get("warnings"), None);
    assert_eq!(bench.read_throughs(), 1);
}

#[tokio::test]
async fn what_violates_nothing_passes_without_a_read_or_a_line() {
    let bench = Setup::default().start();
    let mut elsewhere = with(update(0), "namespace", json!("other"));
    assert_eq!(bench.review(&elsewhere).await["allowed"], true);
    elsewhere["operation"] = json!("CREATE");
    assert_eq!(bench.review(&elsewhere).await["allowed"], true);
    let label = json!({"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": {"replicas": 3}});
    let response = bench.review(&with(update(3), "object", label)).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(bench.read_throughs(), 0);
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
}

#[rstest]
#[case::failed(Fresh::Fails)]
#[case::silent(Fresh::NeverAnswers)]
#[tokio::test(start_paused = true)]
async fn nothing_is_denied_when_the_records_cannot_be_read_again(#[case] fresh: Fresh) {
    let bench = Setup {
        fresh,
        ..Setup::default()
    }
    .start();
    let asked = tokio::time::Instant::now();
    let response = bench.review(&update(0)).await;
    assert!(asked.elapsed().as_millis() <= 2800, "inside the 3 seconds");
    assert_eq!(response["allowed"], true);
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.contains("passes unjudged"), "{warning}");
    assert!(
        bench
            .metrics()
            .contains(r#"verdict="indeterminate",reason="read-through-failed"} 1"#)
    );
    // The clock of this test runs ahead of the thread that writes the line.
    bench
        .recorder
        .audit
        .flush(std::time::Duration::from_secs(10));
    assert_eq!(bench.audit_lines()[0]["decision"], "indeterminate");
}

#[tokio::test]
async fn a_bug_costs_one_request_and_says_nothing() {
    let bench = Setup {
        fresh: Fresh::Panics,
        ..Setup::default()
    }
    .start();
    let (status, body) = bench.post(review_of(&update(0))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!body.contains("hunter2"));
    assert_eq!(bench.review(&update(3)).await["allowed"], true);
    assert!(bench.metrics().contains("helm_guard_panics_total 1"));
    assert!(bench.metrics().contains("helm_guard_requests_in_flight 0"));
}

#[rstest]
#[case::warn(Mode::Warn, "warned", true)]
#[case::audit(Mode::Audit, "audited", false)]
#[tokio::test]
async fn other_modes_let_a_violation_pass_and_keep_it(
    #[case] mode: Mode,
    #[case] decision: &str,
    #[case] warns: bool,
) {
    let bench = Setup {
        mode,
        ..Setup::default()
    }
    .start();
    let response = bench.review(&update(0)).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response.get("warnings").is_some(), warns);
    assert_eq!(response["auditAnnotations"]["decision"], decision);
    assert_eq!(bench.audit_lines()[0]["decision"], decision);
}

#[rstest]
#[case::with_fresh_records(Fresh::AsIndexed)]
#[case::with_records_that_cannot_be_read(Fresh::Fails)]
#[tokio::test]
async fn a_break_glass_change_passes_and_leaves_its_patch(#[case] fresh: Fresh) {
    let mut bench = Setup {
        fresh,
        ..Setup::default()
    }
    .start();
    let response = bench.review(&by_emergency(update(9))).await;
    assert_eq!(response["allowed"], true);
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("break-glass change by system:serviceaccount:ops:emergency recorded"),
        "{warning}"
    );
    let line = bench.audit_lines().remove(0);
    assert_eq!(line["decision"], "break-glass");
    assert_eq!(line["fieldManager"], "kubectl-edit");
    assert_eq!(
        line["patch"],
        json!([{"op": "replace", "path": "/spec/replicas", "value": 9}])
    );
    assert_eq!(
        line["releases"][0],
        json!({"name": "myapp", "namespace": "shop", "chart": "myapp-1.2.0", "revisions": [3],
            "fields": [{"path": ".spec.replicas", "declared": "3", "old": "3", "new": "9"}]})
    );
    let note = bench.announcer.queued().unwrap();
    assert_eq!((note.action, &*note.api_version), ("Update", "apps/v1"));
    assert_eq!(note.uid.as_deref(), Some("o-1"));
    assert!(note.text.contains(".spec.replicas: declared 3"));
    assert!(
        bench
            .metrics()
            .contains(r#"helm_guard_break_glass_total{operation="UPDATE"} 1"#)
    );
}

#[tokio::test]
async fn a_break_glass_identity_that_violates_nothing_leaves_no_record() {
    let mut bench = Setup::default().start();
    let label = json!({"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": {"replicas": 3}});
    let request = by_emergency(with(update(3), "object", label));
    let response = bench.review(&request).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response.get("warnings"), None);
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
    assert_eq!(bench.announcer.queued(), None);
}

#[rstest]
#[case::denied(update(0), false)]
#[case::break_glass(by_emergency(update(0)), true)]
#[tokio::test]
async fn a_dry_run_gets_its_answer_and_leaves_a_count_alone(
    #[case] request: Value,
    #[case] allowed: bool,
) {
    let mut bench = Setup::default().start();
    let before = bench.metrics();
    let response = bench.review(&with(request, "dryRun", json!(true))).await;
    assert_eq!(response["allowed"], allowed);
    let after = bench.metrics();
    let but_dry_runs = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::to_owned);
        let is_decision = |line: &String| line.contains("helm_guard_decisions");
        lines.filter(|line| !is_decision(line)).collect()
    };
    assert_eq!(but_dry_runs(&after), but_dry_runs(&before));
    assert!(after.contains(r#"helm_guard_decisions_total{dry_run="true""#));
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
    assert_eq!(bench.announcer.queued(), None);
}

#[tokio::test]
async fn each_object_of_a_deleted_collection_is_found_by_its_own_name() {
    let bench = Setup::default().start();
    let request = json!({
        "uid": "u-1", "operation": "DELETE", "name": "", "namespace": "shop",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "userInfo": {"username": "ada"}, "object": null,
        "oldObject": {"metadata": {"name": "web"}, "spec": {"replicas": 3}},
    });
    let response = bench.review(&request).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("helm uninstall myapp -n shop"),
        "{message}"
    );
}

#[rstest]
#[case::of_a_broken_release("broken", "record-unreadable")]
#[case::of_any_other("myapp", "not-declared")]
#[tokio::test]
async fn an_object_that_only_an_unreadable_record_can_declare_passes_with_a_warning(
    #[case] release: &str,
    #[case] reason: &str,
) {
    let bench = Setup::default().start();
    let annotations =
        json!({"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "shop"});
    let old = json!({"metadata": {"name": "api", "annotations": annotations}});
    let request = with(with(update(0), "name", json!("api")), "oldObject", old);
    let response = bench.review(&request).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["auditAnnotations"]["reason"], reason);
    assert_eq!(response.get("warnings").is_some(), release == "broken");
}

fn scale(group: &str, resource: &str) -> Value {
    json!({
        "uid": "u-1", "operation": "UPDATE", "name": "web", "namespace": "shop",
        "kind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
        "resource": {"group": group, "version": "v1", "resource": resource},
        "subResource": "scale", "userInfo": {"username": "ada"},
        "oldObject": {"metadata": {"name": "web"}, "spec": {"replicas": 3}},
        "object": {"metadata": {"name": "web"}, "spec": {}},
    })
}

#[rstest]
#[case::built_in(
    DEPLOYMENT,
    "apps",
    "deployments",
    "Deployment \"web\"",
    ".spec.replicas:"
)]
#[case::custom(ROLLOUT, "example.com", "rollouts", "Rollout \"web\"", ".spec.size:")]
#[tokio::test]
async fn a_scale_request_is_judged_as_a_change_of_its_parent(
    #[case] declared: &'static str,
    #[case] group: &str,
    #[case] resource: &str,
    #[case] object: &str,
    #[case] field: &str,
) {
    let bench = Setup {
        declared,
        definition: Ok(Some(ROLLOUT_CRD)),
        ..Setup::default()
    }
    .start();
    let response = bench.review(&scale(group, resource)).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(
        message.contains(object) && message.contains(field),
        "{message}"
    );
}

#[tokio::test]
async fn a_scale_of_a_kind_that_cannot_be_looked_up_passes_with_a_warning() {
    let bench = Setup {
        declared: ROLLOUT,
        definition: Err(()),
        ..Setup::default()
    }
    .start();
    let response = bench.review(&scale("example.com", "rollouts")).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["auditAnnotations"]["reason"], "schema-unavailable");
    assert!(response["warnings"][0].is_string());
}

#[tokio::test]
async fn no_secret_value_leaves_the_process() {
    for fresh in [Fresh::AsIndexed, Fresh::Fails] {
        let mut bench = Setup {
            declared: SECRET,
            fresh,
            ..Setup::default()
        }
        .start();
        let secret = |value: &str| {
            json!({"metadata": {"name": "web", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": format!("{{\"a\":\"{value}\"}}")}},
                "data": {"password": value}})
        };
        let request = json!({
            "uid": "u-1", "operation": "UPDATE", "name": "web", "namespace": "shop",
            "kind": {"group": "", "version": "v1", "kind": "Secret"},
            "resource": {"group": "", "version": "v1", "resource": "secrets"},
            "userInfo": {"username": "ada"},
            "oldObject": secret("aHVudGVyMg=="), "object": secret("aHVudGVyMw=="),
        });
        let mut said = bench.review(&request).await.to_string();
        let broken = bench.review(&by_emergency(request)).await;
        assert_eq!(broken["auditAnnotations"]["decision"], "break-glass");
        said += &broken.to_string();
        said += &Value::from(bench.audit_lines()).to_string();
        let note = bench.announcer.queued().unwrap();
        said += &note.text;
        said += &bench.metrics();
        assert!(!said.contains("aHVudGVyM"), "{said}");
        assert!(said.contains("<redacted"), "{said}");
    }
}

#[rstest]
#[case::not_json("hunter2", 400, "not-json")]
#[case::empty("", 400, "not-json")]
#[case::no_request(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
    400,
    "no-request"
)]
#[tokio::test]
async fn a_malformed_review_is_refused_and_counted(
    #[case] body: &'static str,
    #[case] status: u16,
    #[case] kind: &str,
) {
    let bench = Setup::default().start();
    let (got, text) = bench.post(body).await;
    assert_eq!(got.as_u16(), status);
    assert!(
        text.starts_with("failed to read the AdmissionReview"),
        "{text}"
    );
    assert!(!text.contains("hunter2"));
    let counter = format!(r#"helm_guard_rejected_envelopes_total{{kind="{kind}"}} 1"#);
    assert!(bench.metrics().contains(&counter));
    assert_eq!(bench.review(&update(3)).await["allowed"], true);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_one_at_the_limit_is_read() {
    let bench = Setup::default().start();
    let (status, _) = bench.post(vec![b' '; MAX_BODY_BYTES + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut body = review_of(&update(3)).into_bytes();
    body.resize(MAX_BODY_BYTES, b' ');
    assert_eq!(bench.post(body).await.0, StatusCode::OK);
}

#[rstest]
#[case::no_content_type(http::Request::post("/validate"), 415)]
#[case::form(
    http::Request::post("/validate").header("content-type", "text/plain"),
    415
)]
#[case::other_path(http::Request::post("/"), 404)]
#[case::other_method(http::Request::get("/validate"), 405)]
#[tokio::test]
async fn what_is_no_review_at_all_gets_its_http_error(
    #[case] request: http::request::Builder,
    #[case] status: u16,
) {
    let bench = Setup::default().start();
    let request = request.body(Body::from(review_of(&update(3)))).unwrap();
    assert_eq!(bench.call(request).await.0.as_u16(), status);
}

#[tokio::test]
async fn a_content_type_with_parameters_is_json_too() {
    let bench = Setup::default().start();
    let request = http::Request::post("/validate")
        .header("content-type", "Application/JSON; charset=utf-8")
        .body(Body::from(review_of(&update(3))))
        .unwrap();
    assert_eq!(bench.call(request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn unknown_operations_and_kinds_pass_and_are_counted() {
    let bench = Setup::default().start();
    let frobnicate = with(update(0), "operation", json!("FROBNICATE"));
    assert_eq!(bench.review(&frobnicate).await["allowed"], true);
    let kind = json!({"group": "never.seen", "version": "v9", "kind": "Thing"});
    let thing = with(update(0), "kind", kind);
    assert_eq!(bench.review(&thing).await["allowed"], true);
    let metrics = bench.metrics();
    assert!(
        metrics.contains(
            r#"{dry_run="false",operation="UNKNOWN",mode="Deny",verdict="allowed",reason="not-judged"} 1"#
        )
    );
    assert!(
        metrics.contains(
            r#"{dry_run="false",operation="UPDATE",mode="Deny",verdict="allowed",reason="not-declared"} 1"#
        )
    );
}

mod closed;
mod deputies;
mod foundations;
mod glass;
mod ownership;
mod perimeter;
mod secret_paths;
mod trail;
mod unread;
mod versions;
