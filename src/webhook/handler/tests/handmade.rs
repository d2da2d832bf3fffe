//! Fake sources: one release that declares one object.

use super::*;

pub(super) const DEPLOYMENT: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":3}}"#;
pub(super) const SECRET: &str = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"web"},"data":{"password":"aHVudGVyMg=="}}"#;
pub(super) const ROLLOUT: &str = r#"{"apiVersion":"example.com/v1","kind":"Rollout","metadata":{"name":"web"},"spec":{"size":3}}"#;
pub(super) const ROLLOUT_CRD: &str = r#"{"spec":{"group":"example.com","scope":"Namespaced",
    "names":{"kind":"Rollout","plural":"rollouts"},"versions":[{"name":"v1","served":true,
    "schema":{"openAPIV3Schema":{"type":"object"}},
    "subresources":{"scale":{"specReplicasPath":".spec.size","statusReplicasPath":".status.size"}}}]}}"#;

/// The result of reading the records again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fresh {
    AsIndexed,
    /// Helm has written a new revision since.
    Declares(&'static str),
    Fails,
    NeverAnswers,
    Panics,
}

/// Fake releases: one release that declares one object.
#[derive(Debug)]
pub(super) struct Handmade {
    pub(super) declared: &'static str,
    pub(super) fresh: Fresh,
    pub(super) reads: Arc<AtomicUsize>,
    pub(super) crd: Result<Option<&'static str>, ()>,
    pub(super) phase: Phase,
    pub(super) may_write: Result<bool, ()>,
    pub(super) grants: Result<Value, ()>,
    pub(super) infrastructure: Infrastructure,
    pub(super) is_complete: bool,
    pub(super) deputies: Deputies,
    pub(super) takeover: TakeOver,
}

/// The store for records of emergency changes, or its error.
#[derive(Debug)]
pub(super) struct HandmadeStore {
    pub(super) keep: Result<(), PersistError>,
    pub(super) kept: Kept,
}

/// Another release that declares the object.
#[derive(Clone, Debug, Default)]
pub(super) struct TakeOver {
    pub(super) taker: Option<Claim>,
    /// Where the user may write release records; otherwise `may_write` applies.
    pub(super) writes_in: Option<&'static [&'static str]>,
}

/// A release of namespace `shop` that has these objects of a deleted CRD or namespace.
pub(super) fn holder(name: &str, objects: &[&str]) -> AffectedRelease {
    AffectedRelease {
        claimant: Claimant {
            release: Arc::new(ReleaseName {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            }),
            reach: Reach::Own,
            witnesses: Vec::new(),
        },
        chart: Arc::from("web-1.0.0"),
        revisions: vec![3],
        objects: objects.iter().map(|&object| object.to_owned()).collect(),
    }
}

/// The facts for the licenses of exempt controllers.
#[derive(Clone, Debug)]
pub(super) struct Deputies {
    pub(super) is_autoscaled: Result<bool, ()>,
    /// A release with records elsewhere that declares the autoscaler.
    pub(super) elsewhere: Option<Claimant>,
    pub(super) live_uid: Result<Option<String>, ()>,
    /// `spec.presets` of the policy.
    pub(super) presets: Value,
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

/// Release infrastructure, as the API server would report it.
#[derive(Clone, Debug)]
pub(super) struct Infrastructure {
    pub(super) holders: Result<Vec<AffectedRelease>, ()>,
    /// The state of every witness.
    pub(super) sighting: Result<Sighting, ()>,
    pub(super) history: Result<Vec<(u32, RevisionStatus)>, ()>,
    pub(super) is_terminating: bool,
    /// `spec.records` of the policy.
    pub(super) policy: Value,
}

impl Default for Infrastructure {
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

/// The persisted records, as JSON.
pub(super) type Kept = Arc<Mutex<Vec<Value>>>;

pub(super) fn claims(declared: &str, object: &ObjectRef<'_>, phase: Phase) -> Vec<Claim> {
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
            held: RevisionObject::Declared(Arc::new(DeclaredObject {
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
        let holders = self.infrastructure.holders.iter().flatten();
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
        wanted: &WantedRecords<'_>,
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
                    error: "the API server is unavailable".into(),
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
        _stake: DeletionTarget<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> FreshHolders {
        let holders = self.infrastructure.holders.clone();
        FreshHolders {
            failure: holders
                .is_err()
                .then(|| "the API server is unavailable".into()),
            holders: holders.unwrap_or_default(),
        }
    }

    async fn history(
        &self,
        _at: &RecordsAt,
        _release: &str,
        _deadline: Instant,
    ) -> Result<Vec<(u32, RevisionStatus)>, SourceError> {
        let history = self.infrastructure.history.clone();
        history.map_err(|()| "the API server is unavailable".into())
    }

    async fn autoscalers(
        &self,
        _object: &ObjectRef<'_>,
        _trusts: Trusts<'_>,
        _deadline: Instant,
    ) -> Result<Autoscalers, SourceError> {
        match self.deputies.is_autoscaled {
            Err(()) => Err("the API server is unavailable".into()),
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
        Err("the API server is unavailable".into())
    }

    async fn sighting(
        &self,
        _witness: &Witness,
        _deadline: Instant,
    ) -> Result<Sighting, SourceError> {
        let sighting = self.infrastructure.sighting.clone();
        sighting.map_err(|()| "the API server is unavailable".into())
    }

    async fn live_uid(
        &self,
        _owner: &LiveOwner<'_>,
        _deadline: Instant,
    ) -> Result<Option<String>, SourceError> {
        let uid = self.deputies.live_uid.clone();
        uid.map_err(|()| "the API server is unavailable".into())
    }
}

impl NamespaceSource for Handmade {
    fn is_known_terminating(&self, _namespace: &str) -> bool {
        self.infrastructure.is_terminating
    }

    async fn is_terminating(
        &self,
        _namespace: &str,
        _deadline: Instant,
    ) -> Result<bool, SourceError> {
        Ok(self.infrastructure.is_terminating)
    }
}

impl AccessSource for Handmade {
    async fn may_write_records(
        &self,
        claim: &Claim,
        _user: &UserInfo<'_>,
    ) -> Result<bool, SourceError> {
        if let Some(namespaces) = self.takeover.writes_in {
            return Ok(namespaces.contains(&&*claim.records.namespace));
        }
        self.may_write
            .map_err(|()| "the API server is unavailable".into())
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
        let crd = self.crd.map_err(|()| "the API server is unavailable")?;
        Ok(crd.map(|json| Arc::new(CrdShape::from_json(json).unwrap())))
    }
}

impl EmergencyStore for HandmadeStore {
    fn persist<'a>(
        &'a self,
        change: &'a EmergencyChangeSpec,
        _deadline: Instant,
    ) -> BoxFuture<'a, Result<Persisted, PersistError>> {
        let kept = self.keep.clone().map(|()| {
            self.kept.lock().push(serde_json::to_value(change).unwrap());
            Persisted::New("web-1a2b".to_owned())
        });
        std::future::ready(kept).boxed()
    }
}
