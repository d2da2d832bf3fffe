//! One object behind the API server's rules on writing it: existing names, resource versions,
//! deletion preconditions. For races that cannot be forced with a real API server.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// The action of another replica.
pub(crate) type Meanwhile = Box<dyn FnOnce(&mut FakeApiStore) + Send>;

/// The stored object, and its history.
#[derive(Default)]
pub(crate) struct FakeApiStore {
    pub(crate) object: Option<Value>,
    version: u64,
    /// Methods and paths, in order.
    pub(crate) requests: Vec<String>,
    /// Run once before the next write is processed: another replica's writes.
    pub(crate) meanwhile: Option<Meanwhile>,
    /// If set, the answer to everything.
    pub(crate) refuse: Option<u16>,
}

impl FakeApiStore {
    /// Stores it under the next resource version.
    pub(crate) fn put(&mut self, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.object = Some(object.clone());
        object
    }

    fn answer(&mut self, method: &Method, body: &Value) -> (u16, Value) {
        if *method != Method::GET
            && let Some(meanwhile) = self.meanwhile.take()
        {
            meanwhile(self);
        }
        if let Some(code) = self.refuse {
            return refusal(code);
        }
        let live = self
            .object
            .as_ref()
            .map(|live| live["metadata"]["resourceVersion"].clone());
        match (method.as_str(), live) {
            // Server-side apply creates missing fields, and does not change fields of another manager.
            ("GET" | "PATCH", Some(_)) => (200, self.object.clone().unwrap()),
            ("POST" | "PATCH", None) => (201, self.put(body.clone())),
            ("PUT", Some(live)) if body["metadata"]["resourceVersion"] == live => {
                (200, self.put(body.clone()))
            }
            ("DELETE", Some(live))
                if body["preconditions"].is_null()
                    || body["preconditions"]["resourceVersion"] == live =>
            {
                (200, self.object.take().unwrap())
            }
            (_, Some(_)) => refusal(409),
            (_, None) => refusal(404),
        }
    }
}

fn refusal(code: u16) -> (u16, Value) {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        _ => "ServiceUnavailable",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code,
    });
    (code, status)
}

/// A client to a new store.
pub(crate) fn api() -> (Client, Arc<Mutex<FakeApiStore>>) {
    let store = Arc::new(Mutex::new(FakeApiStore::default()));
    (client_unless(&store, Arc::default()), store)
}

/// A client that gets an error from everything while `cut_off` is set.
pub(crate) fn client_unless(store: &Arc<Mutex<FakeApiStore>>, cut_off: Arc<AtomicBool>) -> Client {
    let serving = Arc::clone(store);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (store, cut_off) = (Arc::clone(&serving), Arc::clone(&cut_off));
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            let mut store = store.lock();
            store
                .requests
                .push(format!("{} {}", parts.method, parts.uri.path()));
            let (code, answer) = if cut_off.load(Ordering::SeqCst) {
                refusal(503)
            } else {
                store.answer(&parts.method, &body)
            };
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            let response = Response::builder().status(StatusCode::from_u16(code).unwrap());
            Ok::<_, Infallible>(response.body(answer).unwrap())
        }
    });
    Client::new(service, "default")
}
