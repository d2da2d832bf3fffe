//! A real HTTPS server that receives alerts, and a Secret in the guard's namespace with its
//! credentials.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use serde_json::{Value, json};

use super::night::{admin, people};
use crate::{https::HttpsServer, scene::eventually};

const AUTHORIZATION: &str = "Basic b25jYWxsOmh1bnRlcjI=";
pub const ROUTING_KEY: &str = "R0UT1NGKEY";

/// A received request.
#[derive(Clone, Debug)]
pub struct Post {
    pub path: String,
    pub body: Value,
}

/// The server; all tests share it, each below a path of its own.
pub struct Sinks {
    server: HttpsServer,
    posts: Arc<Mutex<Vec<Post>>>,
}

/// The server, with its Secret.
pub fn sinks() -> &'static Sinks {
    static SINKS: OnceLock<Sinks> = OnceLock::new();
    SINKS.get_or_init(|| {
        // The manifests contain the namespace.
        people();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "helm-guard-alerts", "namespace": "helm-guard"},
            "stringData": {"authorization": AUTHORIZATION, "routing-key": ROUTING_KEY},
        });
        admin("apply -f -").stdin(secret.to_string()).ok();
        Sinks::start()
    })
}

impl Sinks {
    fn start() -> Self {
        let posts = Arc::<Mutex<Vec<Post>>>::default();
        let router = Router::new().fallback(take).with_state(Arc::clone(&posts));
        Self {
            server: HttpsServer::start(router),
            posts,
        }
    }

    /// `spec.alerts` with a sink of each type, below a path.
    pub fn of_each_sort(&self, below: &str) -> Value {
        let key = |key: &str| json!({"name": "helm-guard-alerts", "key": key});
        let sink = |name: &str, more: Value| {
            let mut sink = json!({"name": name, "type": name, "caBundle": self.server.ca,
                "url": format!("{}/{below}/{name}", self.server.url)});
            let fields = sink.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            sink
        };
        let ticket = r#"{"fields": {"summary": {{summary}}, "labels": ["{{ticket}}"],
            "description": "by {{user}}: {{patch}}", "state": {{state}}}}"#;
        json!({"sinks": [
            sink("slack", json!({})),
            sink("pagerduty", json!({"routingKeyFrom": key("routing-key")})),
            sink("alertmanager", json!({})),
            sink("http", json!({"headersFrom": {"Authorization": key("authorization")},
                "body": ticket})),
        ]})
    }

    /// Waits for a POST to a path that contains all of these words, and returns it.
    pub fn await_post(&self, path: &str, words: &[&str]) -> Post {
        eventually(&format!("a post to {path} with {words:?}"), || {
            let posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
            let mut posts = posts.iter();
            let is_it = |post: &&Post| {
                let text = post.body.to_string();
                post.path == path && words.iter().all(|word| text.contains(word))
            };
            posts.find(is_it).cloned()
        })
    }

    /// The POSTs to a path so far.
    pub fn posts(&self, path: &str) -> Vec<Post> {
        let posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let posts = posts.iter().filter(|post| post.path == path);
        posts.cloned().collect()
    }

    /// The number of POSTs to a path that contain all of these words.
    pub fn count(&self, path: &str, words: &[&str]) -> usize {
        let posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let said = posts.iter().filter(|post| {
            let text = post.body.to_string();
            post.path == path && words.iter().all(|word| text.contains(word))
        });
        said.count()
    }
}

/// The ticket system requires a password, and every body must be JSON.
async fn take(
    State(posts): State<Arc<Mutex<Vec<Post>>>>,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let authorization = headers.get("authorization");
    let authorization = authorization.map_or("", |value| value.to_str().unwrap());
    let Ok(body) = serde_json::from_str(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    if uri.path().ends_with("/http") && authorization != AUTHORIZATION {
        return StatusCode::UNAUTHORIZED;
    }
    posts
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Post {
            path: uri.path().to_owned(),
            body,
        });
    StatusCode::ACCEPTED
}
