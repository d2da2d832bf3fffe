//! A release in a cluster: its revisions, and the live objects as Helm made them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::{
    api::EmergencyChange,
    compare::{
        redact::Redactor,
        schema::{ResourceScope, Shape, builtin::builtin},
    },
    guard::{HELM_WRITERS, Knowledge, RecordsAt},
    helm::{
        ReleaseName,
        hooks::HookObject,
        lifecycle::RevisionStatus,
        manifest::{self, Manifest},
        record::{ApplyMethod, Chart},
        storage::Driver,
    },
    policy::{Policy, license::Autoscaler},
    scan::{
        DriftFinding, LiveObject, Observed, ReleaseScan, ScanRules, ScannedObject, ScannedRelease,
        emergencies::OpenEmergencies,
        report::ReleaseReport,
        scanned::{KindServing, ReadRecord, RecordContent, ScannedRevision, UnreadableReason},
    },
};

/// When Helm wrote the newest revision.
pub(super) const DEPLOYED: &str = "2026-01-01T10:00:00Z";
/// Long after it.
pub(super) const EDITED: &str = "2026-01-20T10:00:00Z";

pub(super) const MANIFEST: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'web:1', env: [{name: A, value: a}], args: [x, y]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {a: '1', b: '2'}
---
apiVersion: v1
kind: Secret
metadata: {name: web}
stringData: {password: hunter2}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: web}
spec: {size: 1}
";

pub(super) struct SceneRevision {
    pub(super) number: u32,
    pub(super) status: RevisionStatus,
    pub(super) manifest: String,
    pub(super) created: Timestamp,
    pub(super) rolled_back_to: Option<u32>,
    pub(super) hooks: Vec<HookObject>,
    /// Why it cannot be read.
    pub(super) unreadable: Option<&'static str>,
    /// Whether Helm cannot either.
    pub(super) is_damaged: bool,
}

/// A live object, or why there is none.
pub(super) enum SceneObject {
    Present(Value),
    Unreadable(UnreadableReason<'static>),
}

pub(super) struct ReleaseScene {
    pub(super) revisions: Vec<SceneRevision>,
    pub(super) method: ApplyMethod,
    /// By kind and name; what is not here is absent.
    pub(super) live: BTreeMap<String, SceneObject>,
    pub(super) policy: Value,
    pub(super) changes: Vec<Value>,
    pub(super) autoscaler: Option<Autoscaler>,
    pub(super) serving: KindServing,
    pub(super) records_namespace: &'static str,
    pub(super) highest_seen: Option<u32>,
    pub(super) now: Timestamp,
}

impl ReleaseScene {
    /// Revision 3 of a release, deployed and in sync.
    pub(super) fn deployed() -> Self {
        let mut scene = Self {
            revisions: Vec::new(),
            method: ApplyMethod::ClientSide,
            live: BTreeMap::new(),
            policy: json!({}),
            changes: Vec::new(),
            autoscaler: None,
            serving: KindServing::Served,
            records_namespace: "shop",
            highest_seen: None,
            now: "2026-02-01T00:00:00Z".parse().unwrap(),
        };
        scene.add(3, RevisionStatus::Deployed, MANIFEST);
        scene.apply(MANIFEST, DEPLOYED);
        scene
    }

    pub(super) fn server_side() -> Self {
        Self {
            method: ApplyMethod::ServerSide,
            ..Self::deployed()
        }
    }

    /// A revision of this manifest; the numbers give its time.
    pub(super) fn add(&mut self, number: u32, status: RevisionStatus, manifest: &str) {
        let deployed: Timestamp = DEPLOYED.parse().unwrap();
        let days = SignedDuration::from_hours(24 * (i64::from(number) - 3));
        self.revisions.push(SceneRevision {
            number,
            status,
            manifest: manifest.to_owned(),
            created: deployed.checked_add(days).unwrap(),
            rolled_back_to: None,
            hooks: Vec::new(),
            unreadable: None,
            is_damaged: false,
        });
    }

    pub(super) fn revision(&mut self, number: u32) -> &mut SceneRevision {
        let mut all = self.revisions.iter_mut();
        all.find(|one| one.number == number).unwrap()
    }

    /// Writes the objects of a manifest as Helm does, at some time.
    pub(super) fn apply(&mut self, manifest: &str, time: &str) {
        for object in manifest::parse(manifest, &name()).objects {
            let mut live: Value = serde_json::from_str(&object.json).unwrap();
            live["metadata"]["namespace"] = json!("shop");
            live["metadata"]["uid"] = json!("u");
            live["metadata"]["generation"] = json!(1);
            live["spec"]["defaulted"] = json!("by the server");
            let entry = managed("helm", time, &live);
            live["metadata"]["managedFields"] = json!([entry]);
            let key = format!("{}/{}", object.kind, object.name);
            self.live.insert(key, SceneObject::Present(live));
        }
    }

    pub(super) fn object(&mut self, key: &str) -> &mut Value {
        match self.live.get_mut(key) {
            Some(SceneObject::Present(live)) => live,
            _ => panic!("{key} does not exist"),
        }
    }

    /// Sets a value as a client other than Helm does: it becomes the owner, and Helm is none any more.
    pub(super) fn edit(&mut self, key: &str, pointer: &str, value: &Value, manager: &str) {
        let live = self.object(key);
        let fields = field_set_at(live, pointer);
        set(live, pointer, Some(value));
        let entries = live["metadata"]["managedFields"].as_array_mut().unwrap();
        remove_set(&mut entries[0]["fieldsV1"], &fields);
        entries.push(json!({
            "manager": manager, "operation": "Update", "time": EDITED, "fieldsV1": fields,
        }));
    }

    /// Removes a field as a client does: nobody owns it any more.
    pub(super) fn remove(&mut self, key: &str, pointer: &str) {
        let live = self.object(key);
        let fields = field_set_at(live, pointer);
        for entry in live["metadata"]["managedFields"].as_array_mut().unwrap() {
            remove_set(&mut entry["fieldsV1"], &fields);
        }
        self.lose(key, pointer);
    }

    /// A field is gone, and its owners are as before.
    pub(super) fn lose(&mut self, key: &str, pointer: &str) {
        let live = self.object(key);
        live["metadata"]["generation"] = json!(2);
        set(live, pointer, None);
    }

    pub(super) fn scan(&self) -> ReleaseReport {
        let release = name();
        let chart = Chart {
            name: "web".to_owned(),
            version: "1.2.0".to_owned(),
            app_version: None,
        };
        let manifests = self
            .revisions
            .iter()
            .map(|one| manifest::parse(&one.manifest, &release));
        let manifests: Vec<Manifest> = manifests.collect();
        let revisions = self
            .revisions
            .iter()
            .zip(&manifests)
            .map(|(one, manifest)| {
                let content = match one.unreadable {
                    Some(why) if one.is_damaged => RecordContent::Damaged(why),
                    Some(why) => RecordContent::Unreadable(why),
                    None => RecordContent::Read(ReadRecord {
                        chart: &chart,
                        apply_method: self.method,
                        last_deployed: Some(one.created),
                        deleted: None,
                        rolled_back_to: one.rolled_back_to,
                        objects: &manifest.objects,
                        unread_documents: manifest.problem_count(),
                        hooks: &one.hooks,
                    }),
                };
                ScannedRevision {
                    revision: one.number,
                    status: one.status,
                    created: Some(one.created),
                    content,
                }
            });
        let revisions: Vec<_> = revisions.collect();
        let scanned = ScannedRelease {
            name: &release,
            records: &RecordsAt {
                driver: Driver::Secret,
                namespace: self.records_namespace.into(),
            },
            revisions: &revisions,
            highest_seen: self.highest_seen,
        };
        let policy = serde_json::from_value(self.policy.clone()).unwrap();
        let changes = self.changes.iter().cloned().map(serde_json::from_value);
        let changes: Vec<EmergencyChange> = changes.map(Result::unwrap).collect();
        let rules = ScanRules {
            policy: &Policy::compile(&policy).unwrap(),
            redactor: &Redactor::new(b"key").keeping_values(),
            writers: HELM_WRITERS,
            emergencies: &OpenEmergencies::of(&changes),
            now: self.now,
            pending_grace: SignedDuration::from_mins(10),
        };
        let texts = self.live.iter().map(|(key, object)| match object {
            SceneObject::Present(live) => (key, Ok(live.to_string())),
            SceneObject::Unreadable(reason) => (key, Err(*reason)),
        });
        let texts: BTreeMap<&String, _> = texts.collect();
        let scan = ReleaseScan::new(&scanned, &rules);
        scan.run(|object| self.observe(object, &texts))
    }

    fn observe<'o>(
        &'o self,
        object: &ScannedObject<'_>,
        texts: &'o BTreeMap<&String, Result<String, UnreadableReason<'static>>>,
    ) -> Observed<'o> {
        let key = object.key(None);
        let knowledge = match builtin().lookup(key.group, "v1", key.kind) {
            Some(shape) => Knowledge::Builtin(shape),
            None => Knowledge::Custom(Shape::plain()),
        };
        Observed {
            live: match texts.get(&format!("{}/{}", key.kind, key.name)) {
                None => LiveObject::Absent,
                Some(Err(reason)) => LiveObject::Unreadable(*reason),
                Some(Ok(json)) => LiveObject::Present {
                    json,
                    version: "v1",
                },
            },
            scope: Some(ResourceScope::Namespaced),
            knowledge,
            serving: if key.kind == "Widget" {
                KindServing::Served
            } else {
                self.serving
            },
            replicas_path: &["spec", "replicas"],
            autoscaler: self.autoscaler,
        }
    }

    /// The only finding.
    pub(super) fn only(&self) -> DriftFinding {
        let report = self.scan();
        let [finding] = &*report.findings else {
            panic!("{:#?}", report.findings);
        };
        assert!(finding.message.len() < 400 && !finding.message.ends_with('.'));
        finding.clone()
    }

    /// The classes of all findings, each with its object.
    pub(super) fn found(&self) -> Vec<String> {
        let findings = self.scan().findings;
        let line = |finding: &DriftFinding| format!("{} {}", finding.class, finding.object);
        findings.iter().map(line).collect()
    }
}

pub(super) fn name() -> ReleaseName {
    ReleaseName {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    }
}

fn set(live: &mut Value, pointer: &str, value: Option<&Value>) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let (parent, key) = (live.pointer_mut(parent).unwrap(), key.replace("~1", "/"));
    match (value, parent) {
        (Some(value), Value::Array(items)) => items[key.parse::<usize>().unwrap()] = value.clone(),
        (Some(value), parent) => parent[key] = value.clone(),
        (None, Value::Object(fields)) => drop(fields.remove(&key)),
        (None, Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
        (None, other) => panic!("{other}"),
    }
}

pub(super) fn managed(manager: &str, time: &str, object: &Value) -> Value {
    let mut fields = object.clone();
    fields["spec"].as_object_mut().unwrap().remove("defaulted");
    json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": field_set(&fields)})
}

/// The field set of a value, with items named by `name`.
fn field_set(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (format!("f:{name}"), field_set(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) if items.iter().all(|item| item.get("name").is_some()) => items
            .iter()
            .map(|item| (format!("k:{{\"name\":{}}}", item["name"]), field_set(item)))
            .collect::<Map<_, _>>()
            .into(),
        _ => json!({}),
    }
}

/// The field set of the one field at a place of an object.
fn field_set_at(object: &Value, pointer: &str) -> Value {
    let (mut at, mut names) = (object, Vec::new());
    for step in pointer.split('/').skip(1) {
        let name;
        (name, at) = match at {
            Value::Array(items) => {
                let item = &items[step.parse::<usize>().unwrap()];
                (format!("k:{{\"name\":{}}}", item["name"]), item)
            }
            fields => {
                let field = step.replace("~1", "/");
                (format!("f:{field}"), &fields[&field])
            }
        };
        names.push(name);
    }
    let names = names.iter().rev();
    names.fold(json!({}), |below, name| json!({name: below}))
}

/// Takes the leaves of one set out of another. An empty set would be a whole value, so none is left.
fn remove_set(from: &mut Value, taken: &Value) {
    let Value::Object(fields) = from else { return };
    for (name, below) in taken.as_object().unwrap() {
        if below.as_object().unwrap().is_empty() {
            fields.remove(name);
        } else if let Some(from) = fields.get_mut(name) {
            remove_set(from, below);
            if *from == json!({}) {
                fields.remove(name);
            }
        }
    }
}
