//! An API server that serves only release records, any number of them at once, and counts its requests.
//!
//! It uses TLS, paginated lists and open watches like a real one. Lists of other kinds are empty. It does not
//! show how long a real one takes; [`crate::memory`] measures with both if a real one can be filled in
//! reasonable time.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use helm_guard::webhook::{
    accept::{self, ConnectionLimits, Options, Protocol},
    tls::{self as serving, ServingCertificate},
};
use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    release::{Release, Revision},
    tls::Identity,
};

/// One record, ready to be sent.
struct Record {
    namespace: String,
    release: String,
    name: String,
    /// As an item of a metadata list.
    metadata: String,
    /// The whole Secret; `None` for revisions that are never read.
    secret: Option<Bytes>,
}

/// The records of the server.
#[derive(Default)]
pub struct Records {
    /// Sorted by namespace, release and revision.
    all: Vec<Record>,
    by_release: HashMap<(String, String), Range<usize>>,
    by_name: HashMap<(String, String), usize>,
}

impl Records {
    /// The records of releases, generated on all cores.
    pub fn of(releases: &[Release]) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let chunk = releases.len().div_ceil(cores).max(1);
        let mut records = Self::default();
        thread::scope(|scope| {
            let makers: Vec<_> = releases
                .chunks(chunk)
                .map(|releases| scope.spawn(|| releases.iter().flat_map(records_of).collect()))
                .collect();
            for maker in makers {
                let made: Vec<Record> = maker.join().unwrap_or_default();
                records.all.extend(made);
            }
        });
        records
    }

    /// Adds a record with this payload.
    pub fn add(&mut self, namespace: &str, release: &str, revision: Revision, payload: &str) {
        self.all
            .push(record(namespace, release, revision, Some(payload)));
    }

    fn index(&mut self) {
        // Stable: revisions of a release stay in their order.
        self.all
            .sort_by(|a, b| (&a.namespace, &a.release).cmp(&(&b.namespace, &b.release)));
        for (at, record) in self.all.iter().enumerate() {
            let release = (record.namespace.clone(), record.release.clone());
            let range = self.by_release.entry(release).or_insert(at..at);
            range.end = at + 1;
            let name = (record.namespace.clone(), record.name.clone());
            self.by_name.insert(name, at);
        }
    }
}

fn records_of(release: &Release) -> Vec<Record> {
    let (namespace, name) = (release.namespace(), release.name());
    let revisions = release.revisions();
    let records = revisions.iter().map(|&(revision, status)| {
        // These are never read, and would fill the memory of this process.
        let payload = (status != "superseded").then(|| release.payload((revision, status)));
        record(&namespace, &name, (revision, status), payload.as_deref())
    });
    records.collect()
}

/// The Secret of a record, as Helm writes it.
pub fn secret(
    namespace: &str,
    release: &str,
    (revision, status): Revision,
    payload: &str,
) -> Value {
    let name = format!("sh.helm.release.v1.{release}.v{revision}");
    json!({
        "kind": "Secret", "apiVersion": "v1",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {
                "createdAt": "1767323045", "modifiedAt": "1767323045", "name": release,
                "owner": "helm", "status": status, "version": revision.to_string(),
            },
        },
        "data": {"release": BASE64_STANDARD.encode(payload)},
        "type": "helm.sh/release.v1",
    })
}

fn record(namespace: &str, release: &str, revision: Revision, payload: Option<&str>) -> Record {
    let mut secret = secret(namespace, release, revision, payload.unwrap_or_default());
    let metadata = &mut secret["metadata"];
    metadata["uid"] = uid(namespace, release, revision.0).into();
    metadata["resourceVersion"] = "1000".into();
    metadata["creationTimestamp"] = "2026-01-02T03:04:05Z".into();
    metadata["managedFields"] = json!([{
        "manager": "Helm", "operation": "Update", "apiVersion": "v1",
        "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:data": {".": {}, "f:release": {}},
            "f:metadata": {"f:labels": {
                ".": {}, "f:createdAt": {}, "f:modifiedAt": {}, "f:name": {}, "f:owner": {},
                "f:status": {}, "f:version": {},
            }},
            "f:type": {},
        },
    }]);
    Record {
        namespace: namespace.to_owned(),
        release: release.to_owned(),
        name: text(&secret["metadata"]["name"]),
        metadata: json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": secret["metadata"],
        })
        .to_string(),
        secret: payload.map(|_| secret.to_string().into()),
    }
}

/// In the format of API servers, the same in each run.
fn uid(namespace: &str, release: &str, revision: u32) -> String {
    let half = |salt: &str| {
        let mut hasher = DefaultHasher::new();
        (salt, namespace, release, revision).hash(&mut hasher);
        hasher.finish()
    };
    let (high, low) = (half("high"), half("low"));
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A running server, until it is dropped.
pub struct Api {
    address: SocketAddr,
    ca: String,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    records: Records,
    calls: Mutex<BTreeMap<String, usize>>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Api {
    /// Starts one on a free port.
    pub async fn start(mut records: Records, identity: &Identity) -> Result<Self> {
        records.index();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let certificate = ServingCertificate::new();
        certificate.install(
            &identity.pair,
            &["127.0.0.1".to_owned()],
            std::time::SystemTime::now(),
        )?;
        let shared = Arc::new(Shared {
            records,
            calls: Mutex::default(),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        let stop = CancellationToken::new();
        // A watch is one long answer.
        let long = Duration::from_secs(24 * 60 * 60);
        let options = Options {
            protocol: Protocol::Tls(serving::server_config(
                &certificate,
                serving::HttpVersions::Http1And2.into(),
            )?),
            limits: ConnectionLimits {
                request_timeout: long,
                drain_delay: Duration::ZERO,
                drain_timeout: Duration::ZERO,
                ..ConnectionLimits::default()
            },
            stats: Arc::default(),
        };
        tokio::spawn(accept::serve(listener, router, options, stop.clone()));
        Ok(Self {
            address,
            ca: identity.ca().to_owned(),
            shared,
            stop,
        })
    }

    /// Writes a kubeconfig for it.
    pub fn kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority-data": BASE64_STANDARD.encode(&self.ca),
            }}],
            "users": [{"name": "bench", "user": {"token": "bench"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        let path = folder.join(format!("kubeconfig-{}", self.address.port()));
        std::fs::write(&path, config.to_string()).context("failed to write a kubeconfig")?;
        Ok(path)
    }

    /// The number of requests so far, by verb and resource.
    pub fn calls(&self) -> BTreeMap<String, usize> {
        self.shared.calls.lock().clone()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let query = Query::of(parts.uri.query().unwrap_or_default());
    let path = Asked::of(parts.uri.path());
    let verb = match (&parts.method, query.is_watch, path.name) {
        (&Method::GET, true, _) => "watch",
        (&Method::GET, false, None) => "list",
        (&Method::GET, false, Some(_)) => "get",
        _ => "write",
    };
    *shared
        .calls
        .lock()
        .entry(format!("{verb} {}", path.plural))
        .or_default() += 1;
    match (verb, path.plural, path.namespace, path.name) {
        ("watch", ..) => watch(query.timeout),
        ("list", "secrets", namespace, _) => list(&shared.records, namespace, &query),
        ("get", "secrets", Some(namespace), Some(name)) => get(&shared.records, namespace, name),
        ("list", ..) => json_of(empty_list()),
        ("get", ..) => not_found(),
        // Every write succeeds.
        _ => {
            let written = body
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes);
            json_of(written.unwrap_or_default())
        }
    }
}

/// The relevant parts of a path.
struct Asked<'p> {
    plural: &'p str,
    namespace: Option<&'p str>,
    name: Option<&'p str>,
}

impl<'p> Asked<'p> {
    fn of(path: &'p str) -> Self {
        let mut parts: Vec<&str> = path.split('/').skip(1).collect();
        let skip = if parts.first() == Some(&"api") { 2 } else { 3 };
        let rest = parts.split_off(skip.min(parts.len()));
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            rest => (None, rest),
        };
        Self {
            plural: rest.first().copied().unwrap_or("-"),
            namespace,
            name: rest.get(1).copied(),
        }
    }
}

/// The relevant parts of a query.
struct Query {
    is_watch: bool,
    limit: usize,
    from: usize,
    release: Option<String>,
    timeout: Duration,
}

impl Query {
    fn of(query: &str) -> Self {
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| value)
                .next()
        };
        let number = |name| value(name).and_then(|text: &str| text.parse().ok());
        let selector = value("labelSelector").unwrap_or_default();
        // Only these characters of a selector are escaped.
        let selector = selector.replace("%3D", "=").replace("%2C", ",");
        let release = selector
            .split(',')
            .find_map(|term| term.strip_prefix("name="));
        Self {
            is_watch: matches!(value("watch"), Some("true" | "1")),
            limit: number("limit")
                .filter(|limit| *limit > 0)
                .unwrap_or(usize::MAX),
            from: number("continue").unwrap_or_default(),
            release: release.map(str::to_owned),
            timeout: Duration::from_secs(number("timeoutSeconds").unwrap_or(290) as u64),
        }
    }
}

fn list(records: &Records, namespace: Option<&str>, query: &Query) -> Response {
    let all = match (namespace, &query.release) {
        (Some(namespace), Some(release)) => {
            let key = (namespace.to_owned(), release.clone());
            records.by_release.get(&key).cloned().unwrap_or_default()
        }
        // The records of a single namespace are never requested here.
        _ => 0..records.all.len(),
    };
    let from = (all.start + query.from).min(all.end);
    let to = from.saturating_add(query.limit).min(all.end);
    let items = records.all.get(from..to).unwrap_or_default();
    let mut text = String::from(
        r#"{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1000""#,
    );
    if to < all.end {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#","continue":"{}","remainingItemCount":{}"#,
            to - all.start,
            all.end - to
        );
    }
    text.push_str(r#"},"items":["#);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&item.metadata);
    }
    text.push_str("]}");
    json_of(text)
}

fn get(records: &Records, namespace: &str, name: &str) -> Response {
    let at = records
        .by_name
        .get(&(namespace.to_owned(), name.to_owned()));
    let record = at.and_then(|at| records.all.get(*at));
    match record.and_then(|record| record.secret.clone()) {
        Some(secret) => json_of(secret),
        None => not_found(),
    }
}

fn empty_list() -> &'static str {
    r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1000"},"items":[]}"#
}

/// A watch without events.
fn watch(timeout: Duration) -> Response {
    let nothing = stream::once(tokio::time::sleep(timeout));
    let nothing = nothing.filter_map(|()| async { None::<Result<Bytes, std::io::Error>> });
    json_of(Body::from_stream(nothing))
}

fn not_found() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "not found", "reason": "NotFound", "code": 404,
    });
    (StatusCode::NOT_FOUND, json_of(status.to_string())).into_response()
}

fn json_of(body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resource_namespace_and_object() {
        let parts = |path| {
            let path = Asked::of(path);
            (path.plural, path.namespace, path.name)
        };
        assert_eq!(parts("/api/v1/secrets"), ("secrets", None, None));
        assert_eq!(parts("/api/v1/namespaces"), ("namespaces", None, None));
        assert_eq!(
            parts("/api/v1/namespaces/shop/secrets/a"),
            ("secrets", Some("shop"), Some("a"))
        );
        assert_eq!(
            parts("/apis/coordination.k8s.io/v1/namespaces/shop/leases"),
            ("leases", Some("shop"), None)
        );
        assert_eq!(
            parts("/apis/g/v1/guardpolicies/default"),
            ("guardpolicies", None, Some("default"))
        );
    }

    #[test]
    fn list_queries_are_parsed() {
        let query = Query::of("&limit=500&continue=1000&labelSelector=owner%3Dhelm%2Cname%3Dweb");
        assert_eq!((query.limit, query.from), (500, 1000));
        assert_eq!(query.release.as_deref(), Some("web"));
        assert!(!query.is_watch && Query::of("watch=true&labelSelector=owner%3Dhelm").is_watch);
    }

    #[test]
    fn uids_look_as_an_api_servers_and_differ() {
        let uids = [("a", "b", 1), ("a", "b", 2), ("ab", "", 1)].map(|(n, r, v)| uid(n, r, v));
        for uid in &uids {
            let lengths: Vec<usize> = uid.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{uid}");
        }
        assert!(uids[0] != uids[1] && uids[0] != uids[2]);
    }

    #[test]
    fn the_records_of_a_release_are_together() {
        let releases = [Release::settled(1), Release::settled(0)];
        let mut records = Records::of(&releases);
        records.index();
        let key = (releases[0].namespace(), releases[0].name());
        assert_eq!(records.by_release[&key], 3..6);
        assert!(records.all[3].secret.is_none() && records.all[5].secret.is_some());
    }
}
