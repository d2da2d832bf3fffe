//! Plain requests to the API server: JSON in, JSON out, with the status code and the warnings.
//!
//! One client for each user, with keep-alive, and a limit on requests in flight that all users share.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;
use tokio::sync::Semaphore;

/// More requests would only queue in the API server.
const IN_FLIGHT: usize = 8;

/// How often a request is retried after "too many requests" or on a connection that was closed
/// while idle.
const TRIES: usize = 6;

/// One user's access.
#[derive(Clone)]
pub struct Api {
    client: Client,
    permits: Arc<Semaphore>,
}

/// Whether a request is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// Server-side dry run: `dryRun=All`.
    DryRun,
    /// For real.
    Really,
}

/// The API server's answer.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub code: u16,
    /// The object or a Status.
    pub body: Value,
    /// The texts of the `Warning` headers.
    pub warnings: Vec<String>,
}

impl Reply {
    /// Whether the request succeeded.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// The API server's error message.
    pub fn message(&self) -> &str {
        self.body
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// Whether the guard denied it, and not the API server itself.
    pub fn denied_by_guard(&self) -> bool {
        !self.is_ok() && is_denial(self.message())
    }
}

/// Whether the text of an error is a denial by the guard: `admission webhook
/// "objects.helm-guard.dev" denied the request`.
pub fn is_denial(message: &str) -> bool {
    message.contains("helm-guard.dev\" denied the request")
}

/// A limit that the clients of several users share.
pub fn permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(IN_FLIGHT))
}

impl Api {
    /// The client of a kubeconfig.
    pub async fn connect(kubeconfig: &Path, permits: Arc<Semaphore>) -> anyhow::Result<Self> {
        let parsed = Kubeconfig::read_from(kubeconfig)
            .with_context(|| format!("failed to read {}", kubeconfig.display()))?;
        let mut config =
            Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
        config.read_timeout = Some(Duration::from_secs(60));
        Ok(Self {
            client: Client::try_from(config)?,
            permits,
        })
    }

    /// GET of an object or a list.
    pub async fn get(&self, path: &str) -> anyhow::Result<Reply> {
        self.send(Method::GET, path, None).await
    }

    /// Replaces the object at `path`, stored or as a dry run.
    pub async fn put(&self, path: &str, object: &Value, persist: Persist) -> anyhow::Result<Reply> {
        let path = format!("{path}{}", query(persist));
        self.send(Method::PUT, &path, Some(object)).await
    }

    /// Creates an object in the collection at `path`.
    pub async fn post(&self, path: &str, object: &Value) -> anyhow::Result<Reply> {
        self.send(Method::POST, path, Some(object)).await
    }

    /// JSON merge patch of an object, for real.
    pub async fn merge_patch(&self, path: &str, change: &Value) -> anyhow::Result<Reply> {
        self.send(Method::PATCH, path, Some(change)).await
    }

    /// DELETE of an object.
    pub async fn delete(&self, path: &str, persist: Persist) -> anyhow::Result<Reply> {
        let path = format!("{path}{}", query(persist));
        self.send(Method::DELETE, &path, None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Reply> {
        let content_type = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let mut last = None;
        for attempt in 0..TRIES {
            let reply = self
                .exchange(method.clone(), path, content_type, body)
                .await?;
            // Too many requests, or an etcd leader election: nothing was decided.
            if reply.code != 429 && reply.code != 503 {
                return Ok(reply);
            }
            last = Some(reply);
            back_off(attempt).await;
        }
        last.with_context(|| format!("failed to {method} {path}: no try was made"))
    }

    /// One request and its answer. Only a broken connection is retried.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Reply> {
        let text = body
            .map(serde_json::to_vec)
            .transpose()?
            .unwrap_or_default();
        let mut last = None;
        for attempt in 0..TRIES {
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header("content-type", content_type)
                .header("accept", "application/json")
                .body(Body::from(text.clone()))?;
            let permit = self.permits.acquire().await?;
            match self.once(request).await {
                Ok(reply) => return Ok(reply),
                Err(error) => last = Some(error),
            }
            drop(permit);
            back_off(attempt).await;
        }
        match last {
            Some(error) => Err(error).with_context(|| format!("failed to {method} {path}")),
            None => bail!("failed to {method} {path}: no try was made"),
        }
    }

    async fn once(&self, request: Request<Body>) -> anyhow::Result<Reply> {
        let response = self.client.send(request).await?;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let warnings = head
            .headers
            .get_all("warning")
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        Ok(Reply {
            code: head.status.as_u16(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            warnings,
        })
    }
}

async fn back_off(attempt: usize) {
    let factor = u32::try_from(attempt + 1).unwrap_or(1);
    tokio::time::sleep(Duration::from_millis(100) * factor * factor).await;
}

fn query(persist: Persist) -> &'static str {
    match persist {
        Persist::DryRun => "?dryRun=All",
        Persist::Really => "",
    }
}

/// Polls until the answer is true or the time is over; returns which.
pub async fn eventually<F>(patience: Duration, mut ask: impl FnMut() -> F) -> anyhow::Result<bool>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let deadline = Instant::now() + patience;
    loop {
        if ask().await? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
