//! A webhook with fake sources, and requests to it.

use super::*;

#[derive(Clone, Default)]
pub(super) struct Lines(pub(super) Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) struct Setup {
    pub(super) mode: Mode,
    pub(super) declared: &'static str,
    pub(super) fresh: Fresh,
    pub(super) crd: Result<Option<&'static str>, ()>,
    pub(super) phase: Phase,
    pub(super) may_write: Result<bool, ()>,
    /// The sink of audit lines, unless a test reads them.
    pub(super) audit: Option<AuditLog>,
    /// The fields of `spec.breakGlass` other than the identity.
    pub(super) rules: Value,
    pub(super) grants: Result<Value, ()>,
    pub(super) keep: Result<(), PersistError>,
    pub(super) infrastructure: Infrastructure,
    pub(super) own: Option<Own>,
    pub(super) is_complete: bool,
    pub(super) intake: Intake,
    pub(super) deputies: Deputies,
    pub(super) takeover: TakeOver,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mode: Mode::Deny,
            declared: DEPLOYMENT,
            fresh: Fresh::AsIndexed,
            crd: Ok(None),
            phase: Phase::Settled,
            may_write: Ok(false),
            rules: json!({}),
            grants: Ok(json!([])),
            keep: Ok(()),
            infrastructure: Infrastructure::default(),
            deputies: Deputies::default(),
            takeover: TakeOver::default(),
            audit: None,
            own: None,
            is_complete: true,
            intake: Intake::default(),
        }
    }
}

pub(super) struct Bench {
    pub(super) webhook: Arc<Webhook<Handmade>>,
    pub(super) router: Router,
    pub(super) recorder: Arc<Recorder>,
    pub(super) announcer: Announcer,
    pub(super) lines: Lines,
    pub(super) reads: Arc<AtomicUsize>,
    pub(super) conversions: Arc<Conversions>,
    pub(super) kept: Kept,
}

/// Break-glass is for one service account.
pub(super) fn policy(mode: Mode, mut rules: Value, records: &Value, presets: &Value) -> Policy {
    rules["identities"] = json!([{"subjects": {"serviceAccounts": ["ops/emergency"]}}]);
    let robot = json!({"name": "replica-robot", "subjects": {"users": ["robot"]},
        "kinds": [{"group": "apps", "kind": "Deployment"}], "paths": ["/spec/replicas"]});
    let spec = json!({"mode": mode, "records": records, "breakGlass": rules, "exemptions": [robot],
            "presets": presets});
    Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap()
}

/// Without the secret paths, which have their own tests.
pub(super) fn open(webhook: Arc<Webhook<Handmade>>) -> Router {
    Router::new().fallback(async move |http: HttpRequest| {
        let route = match http.uri().path() {
            "/validate" => Route::Validate,
            "/validate/version" => Route::Version,
            "/infrastructure" => Route::ReleaseInfrastructure,
            "/grants" => Route::Grants,
            "/policies" => Route::Policies,
            "/emergencies" => Route::Emergencies,
            "/closed" => Route::ClosedValidate,
            "/closed/infrastructure" => Route::ClosedReleaseInfrastructure,
            _ => return StatusCode::NOT_FOUND.into_response(),
        };
        dispatch(&webhook, route, http).await
    })
}

impl Setup {
    pub(super) fn start(self) -> Bench {
        let lines = Lines::default();
        let reads = Arc::new(AtomicUsize::new(0));
        let conversions = Arc::<Conversions>::default();
        let kept = Kept::default();
        let (events, announcer) = events::queue();
        let recorder = Arc::new(Recorder {
            metrics: Metrics::new(Vec::new),
            audit: self
                .audit
                .unwrap_or_else(|| AuditLog::new("p-1", lines.clone())),
            events,
            alerts: Alerts::default(),
            emergency_alerts: EmergencyAlerts::default(),
            forecast: Arc::new(Collector::counting()),
            is_led: Arc::default(),
        });
        let webhook = Webhook {
            reviewer: Reviewer {
                sources: Handmade {
                    declared: self.declared,
                    fresh: self.fresh,
                    reads: Arc::clone(&reads),
                    crd: self.crd,
                    phase: self.phase,
                    may_write: self.may_write,
                    grants: self.grants,
                    infrastructure: self.infrastructure.clone(),
                    is_complete: self.is_complete,
                    deputies: self.deputies.clone(),
                    takeover: self.takeover,
                },
                policy: policy(
                    self.mode,
                    self.rules,
                    &self.infrastructure.policy,
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
    pub(super) async fn post(&self, body: impl Into<Body>) -> (StatusCode, String) {
        let request = http::Request::post("/validate?timeout=3s")
            .header("content-type", "application/json")
            .body(body.into())
            .unwrap();
        self.call(request).await
    }

    pub(super) async fn call(&self, request: http::Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(super) async fn review(&self, request: &Value) -> Value {
        let (status, body) = self.post(review_of(request)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let review: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(review["response"]["uid"], "u-1");
        review["response"].clone()
    }

    pub(super) fn metrics(&self) -> String {
        self.recorder.metrics.encode().unwrap()
    }

    /// The audit lines so far, each of which follows the schema.
    pub(super) fn audit_lines(&self) -> Vec<Value> {
        let bytes = self.lines.0.lock();
        let lines: Vec<Value> = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        for line in &lines {
            testbed::schema::assert_valid("AuditLine", line);
        }
        lines
    }

    pub(super) fn read_throughs(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

pub(super) fn review_of(request: &Value) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})
        .to_string()
}

/// An UPDATE of the Deployment from 3 replicas to `replicas`.
pub(super) fn update(replicas: u32) -> Value {
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

pub(super) fn with(mut request: Value, key: &str, value: Value) -> Value {
    request[key] = value;
    request
}

pub(super) fn by_emergency(request: Value) -> Value {
    let user = json!({"username": "system:serviceaccount:ops:emergency", "groups": ["ops"]});
    with(request, "userInfo", user)
}
