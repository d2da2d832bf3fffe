//! A fake API server of release records that fails, lags and hangs on demand. The real one has its
//! own tests.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The server's state. Records are Secrets unless stated otherwise.
pub(crate) struct Fake {
    state: Mutex<FakeApiState>,
    /// If set, each namespaced list takes one permit.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

#[derive(Default)]
struct FakeApiState {
    version: u64,
    objects: BTreeMap<(&'static str, String, String), Value>,
    watches: Vec<(&'static str, mpsc::UnboundedSender<Bytes>)>,
    is_mute: bool,
    requests: Vec<String>,
    /// Requests of the pooled client whose line contains this are never answered.
    hanging: Option<String>,
    hung: usize,
    failures: VecDeque<Failure>,
}

/// What happens to the next requests whose request line contains a text.
struct Failure {
    line: String,
    status: u16,
    times: usize,
}

impl Fake {
    pub(crate) fn start() -> (Arc<Self>, Client) {
        let (fake, client, _) = Self::start_twice();
        (fake, client)
    }

    /// With a client whose connections may die, and one whose connections never do.
    pub(crate) fn start_twice() -> (Arc<Self>, Client, Client) {
        let fake = Arc::new(Self {
            state: Mutex::default(),
            gate: Mutex::default(),
        });
        let client = |is_pooled: bool| {
            let server = Arc::clone(&fake);
            let service = tower::service_fn(move |request: Request<kube::client::Body>| {
                let server = Arc::clone(&server);
                let uri = request.uri().clone();
                async move {
                    if is_pooled && server.hangs(&uri.to_string()) {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Infallible>(server.answer(&uri).await)
                }
            });
            Client::new(service, "default")
        };
        let (pooled, unpooled) = (client(true), client(false));
        (fake, pooled, unpooled)
    }

    /// From now on the pooled client gets no answer to requests whose line contains `line`.
    pub(crate) fn hang_pooled(&self, line: &str) {
        self.state.lock().hanging = Some(line.to_owned());
    }

    /// How many requests of it got none.
    pub(crate) fn hung(&self) -> usize {
        self.state.lock().hung
    }

    fn hangs(&self, line: &str) -> bool {
        let mut state = self.state.lock();
        let hangs = state
            .hanging
            .as_ref()
            .is_some_and(|text| line.contains(text));
        state.hung += usize::from(hangs);
        hangs
    }

    /// Writes a record of release `shop/web` that declares one Deployment.
    pub(crate) fn put(&self, revision: u32, status: &str, image: &str) {
        self.put_payload(revision, status, &payload(revision, status, image));
    }

    /// Writes a record with any payload.
    pub(crate) fn put_payload(&self, revision: u32, status: &str, payload: &str) {
        let name = format!("sh.helm.release.v1.web.v{revision}");
        let labels = json!({
            "owner": "helm", "name": "web", "status": status, "version": revision.to_string(),
        });
        let mut state = self.state.lock();
        state.version += 1;
        let key = ("secrets", "shop".to_owned(), name.clone());
        let uid = state.objects.get(&key).map_or_else(
            || json!(format!("uid-{}", state.version)),
            |known| known["metadata"]["uid"].clone(),
        );
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {
                "name": name, "namespace": "shop", "labels": labels, "uid": uid,
                "resourceVersion": state.version.to_string(),
            },
            "data": { "release": STANDARD.encode(payload) },
        });
        let event = if state.objects.contains_key(&key) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        state.objects.insert(key, object.clone());
        state.notify(event, &object);
    }

    pub(crate) fn delete(&self, revision: u32) {
        let mut state = self.state.lock();
        state.version += 1;
        let key = (
            "secrets",
            "shop".into(),
            format!("sh.helm.release.v1.web.v{revision}"),
        );
        let mut object = state.objects.remove(&key).unwrap();
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        state.notify("DELETED", &object);
    }

    /// From now on watches report nothing.
    pub(crate) fn mute(&self) {
        self.state.lock().is_mute = true;
    }

    /// Breaks all watches off with "too old resource version", so that clients list again.
    pub(crate) fn expire_watches(&self) {
        let mut state = self.state.lock();
        state.is_mute = false;
        let status = json!({
            "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired",
            "message": "too old resource version",
        });
        state.send("ERROR", None, &status);
        state.watches.clear();
    }

    /// The next `times` requests whose line contains `line` fail.
    pub(crate) fn fail(&self, line: &str, status: u16, times: usize) {
        let failure = Failure {
            line: line.to_owned(),
            status,
            times,
        };
        self.state.lock().failures.push_back(failure);
    }

    /// Lists of one namespace wait for permits of the semaphore.
    pub(crate) fn gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock() = Some(Arc::clone(&gate));
        gate
    }

    /// Lines of requests that contain `text`.
    pub(crate) fn requests(&self, text: &str) -> Vec<String> {
        let state = self.state.lock();
        state
            .requests
            .iter()
            .filter(|line| line.contains(text))
            .cloned()
            .collect()
    }

    async fn answer(&self, uri: &Uri) -> Response<Body> {
        let line = uri.to_string();
        self.state.lock().requests.push(line.clone());
        if let Some(status) = self.failure(&line) {
            // Clients use the reason.
            let reason = if status == 404 {
                "NotFound"
            } else {
                "Injected"
            };
            let status_object = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
                "reason": reason, "message": "injected failure", "metadata": {},
            });
            return respond(status, &status_object);
        }
        let path = uri.path();
        let parts: Vec<&str> = path.trim_start_matches("/api/v1/").split('/').collect();
        let (plural, namespace, name) = match parts[..] {
            ["namespaces", namespace, plural] => (plural, Some(namespace), None),
            ["namespaces", namespace, plural, name] => (plural, Some(namespace), Some(name)),
            [plural] => (plural, None, None),
            _ => panic!("unexpected request {line}"),
        };
        let plural = if plural == "secrets" {
            "secrets"
        } else {
            "configmaps"
        };
        match (name, line.contains("watch=true")) {
            (Some(name), _) => self.get(plural, namespace.unwrap(), name),
            (None, true) => self.watch(plural),
            (None, false) => {
                let gate = self.gate.lock().clone();
                let answer = self.list(plural, namespace);
                if let (Some(gate), Some(_)) = (gate, namespace) {
                    gate.acquire().await.unwrap().forget();
                }
                answer
            }
        }
    }

    fn failure(&self, line: &str) -> Option<u16> {
        let mut state = self.state.lock();
        let at = state
            .failures
            .iter()
            .position(|failure| line.contains(&failure.line))?;
        state.failures[at].times -= 1;
        let status = state.failures[at].status;
        if state.failures[at].times == 0 {
            state.failures.remove(at);
        }
        Some(status)
    }

    fn get(&self, plural: &'static str, namespace: &str, name: &str) -> Response<Body> {
        let state = self.state.lock();
        match state
            .objects
            .get(&(plural, namespace.to_owned(), name.to_owned()))
        {
            Some(object) => respond(200, object),
            None => respond(
                404,
                &json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                    "reason": "NotFound", "message": "not found", "metadata": {},
                }),
            ),
        }
    }

    fn list(&self, plural: &'static str, namespace: Option<&str>) -> Response<Body> {
        let state = self.state.lock();
        let items: Vec<Value> = state
            .objects
            .iter()
            .filter(|((of, at, _), _)| *of == plural && namespace.is_none_or(|n| n == at))
            .map(|(_, object)| metadata_of(object))
            .collect();
        respond(
            200,
            &json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": { "resourceVersion": state.version.to_string() },
                "items": items,
            }),
        )
    }

    fn watch(&self, plural: &'static str) -> Response<Body> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state.lock().watches.push((plural, sender));
        let frames = stream::unfold(receiver, |mut receiver| async {
            let line = receiver.recv().await?;
            Some((Ok(Frame::data(line)), receiver))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

impl FakeApiState {
    fn notify(&mut self, event: &str, object: &Value) {
        self.send(event, Some("secrets"), &metadata_of(object));
    }

    fn send(&mut self, event: &str, plural: Option<&str>, object: &Value) {
        if self.is_mute {
            return;
        }
        let line = Bytes::from(format!("{}\n", json!({ "type": event, "object": object })));
        self.watches.retain(|(of, watch)| {
            plural.is_some_and(|plural| plural != *of) || watch.send(line.clone()).is_ok()
        });
    }
}

fn metadata_of(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

fn respond(status: u16, object: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(object.to_string())).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// The payload of a record as Helm before compression wrote it: base64 of JSON.
pub(crate) fn payload(revision: u32, status: &str, image: &str) -> String {
    payload_of(revision, status, &[&deployment(image)])
}

/// A document that declares the one object.
pub(crate) fn deployment(image: &str) -> String {
    format!(
        "# Source: web/templates/deployment.yaml\napiVersion: apps/v1\nkind: Deployment\n\
         metadata:\n  name: web\nspec:\n  image: {image}\n"
    )
}

/// The body of a record with these documents.
pub(crate) fn payload_of(revision: u32, status: &str, documents: &[&str]) -> String {
    let documents: Vec<String> = documents
        .iter()
        .map(|text| format!("---\n{text}\n"))
        .collect();
    let manifest = documents.concat();
    let record = json!({
        "name": "web", "namespace": "shop", "version": revision,
        "info": { "status": status, "last_deployed": "2026-01-02T03:04:05Z" },
        "chart": { "metadata": { "name": "web", "version": "1.0.0", "appVersion": "9" } },
        "manifest": manifest,
    });
    STANDARD.encode(record.to_string())
}
