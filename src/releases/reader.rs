//! Reads release records from the API server: metadata lists, single bodies.

use std::{sync::Arc, time::Duration};

use helm_guard_core::helm::{
    hooks, manifest,
    record::{self, DecodeError, Record, RecordLimits},
    storage::{DATA_KEY, Driver, LABEL_SELECTOR, MetadataError, RecordMeta, SECRET_TYPE},
};
use k8s_openapi::{
    ByteString, NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource,
    api::{GetParams, ListParams, ObjectMeta, PartialObjectMeta, Request},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    body::{About, Body, Parts},
    decoding::Decoding,
    key::{RecordKey, RecordVersion, StorageKey, Stored},
    lines::DOCUMENTS,
    store::BodyStore,
};
use crate::cluster::{ApiFailure, Clients, hedge::Attempts};

/// A record is 1 MiB at most; an API server that takes longer for it counts as down.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// From this size of its JSON on, a record is logged before it is decoded.
const LARGE: usize = 4 << 20;

/// Records in one page of a list: more than nearly any release has.
const PAGE: u32 = 500;

/// The maximum number of records of one release that are read. Helm itself reads all of them at
/// each step, with their bodies, so a release with this many is not usable.
const MOST_RECORDS: usize = 5000;

/// Why a record's body is unknown.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The call failed; a retry may succeed.
    #[error("failed to get the record: {0}")]
    Get(#[from] ApiFailure),
    /// The record does not exist any more.
    #[error("failed to get the record: it is gone")]
    Gone,
    /// The API server's answer does not parse.
    #[error("failed to read the record: its object does not parse")]
    Object,
    /// The object has no `release` key.
    #[error("failed to read the record: it has no `{DATA_KEY}` key")]
    Empty,
    /// The body is invalid.
    #[error("failed to decode the record: {0}")]
    Decode(#[from] DecodeError),
    /// The body belongs to another release or revision than the object's name says.
    #[error("failed to trust the record: its body is of another release or revision")]
    Mismatch,
    /// Decoding panicked; the process goes on.
    #[error("failed to decode the record: the decoder stopped")]
    Decoder,
}

impl ReadError {
    /// Whether a retry may succeed although the record is unchanged.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Get(_) | Self::Decoder)
    }
}

/// All records of one release at one point in time.
pub(crate) struct Listing {
    /// The resource version of the list.
    pub version: Box<str>,
    /// All records of the release, in any order.
    pub records: Vec<Stored>,
    /// Objects that look like records of the release, but are not.
    pub refused: Vec<MetadataError>,
    /// Whether there are more than are read.
    pub(crate) is_cut: bool,
}

/// Access to records.
#[derive(Clone)]
pub(crate) struct Reader {
    clients: Clients,
    limits: RecordLimits,
    store: Arc<BodyStore>,
}

impl Reader {
    /// A reader.
    pub(crate) fn new(clients: Clients, limits: RecordLimits, store: Arc<BodyStore>) -> Self {
        Self {
            clients,
            limits,
            store,
        }
    }

    pub(crate) fn client(&self) -> &Client {
        self.clients.pooled()
    }

    /// For reads that a decision waits for.
    pub(crate) fn attempts(&self) -> Attempts<'_> {
        self.clients.attempts()
    }

    /// For reads that can wait.
    pub(crate) fn once(&self) -> Attempts<'_> {
        self.clients.once()
    }

    /// One consistent list of a release's records: metadata only, and without a resource version,
    /// so that the API server answers with the newest state (Kubernetes API concepts, "Semantics
    /// for get and list": most recent).
    pub(crate) async fn list(
        &self,
        storage: &Arc<StorageKey>,
        attempts: &Attempts<'_>,
    ) -> Result<Listing, ApiFailure> {
        let selector = format!("{LABEL_SELECTOR},name={}", storage.name);
        let params = ListParams::default().labels(&selector).limit(PAGE);
        let namespace = &*storage.namespace;
        let (version, metadata, is_cut) = match storage.driver {
            // Anyone may set the label: see `SECRET_TYPE`.
            Driver::Secret => {
                let params = params.fields(&format!("type={SECRET_TYPE}"));
                list_of::<Secret>(attempts, namespace, params).await
            }
            Driver::ConfigMap => list_of::<ConfigMap>(attempts, namespace, params).await,
        }?;
        let mut listing = Listing {
            version,
            records: Vec::new(),
            refused: Vec::new(),
            is_cut,
        };
        for metadata in &metadata {
            match stored(storage.driver, metadata) {
                Ok(Some(stored)) => listing.records.push(stored),
                Ok(None) => {}
                Err(error) => listing.refused.push(error),
            }
        }
        Ok(listing)
    }

    /// A record's body, and the state of the record.
    pub(crate) async fn body(
        &self,
        key: &RecordKey,
        attempts: &Attempts<'_>,
    ) -> Result<(RecordVersion, Body), ReadError> {
        let (version, payload) = payload(key, attempts).await?;
        let (limits, store, key) = (self.limits, Arc::clone(&self.store), key.clone());
        let claimed = limits.claimed_bytes(&payload);
        // Before the work starts: if the process dies during it, the log shows why.
        if claimed < LARGE {
            tracing::debug!(record = %key, claimed, "decoding a release record");
        } else {
            tracing::info!(record = %key, claimed, "decoding a large release record");
        }
        let decoding = Decoding::of_process();
        let decoded = decoding.run(claimed, move || decode(&payload, limits, &store, &key));
        match decoded.await {
            Ok(body) => Ok((version, body?)),
            Err(_panicked) => Err(ReadError::Decoder),
        }
    }
}

async fn list_of<K>(
    attempts: &Attempts<'_>,
    namespace: &str,
    mut params: ListParams,
) -> Result<(Box<str>, Vec<ObjectMeta>, bool), ApiFailure>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let mut metadata = Vec::new();
    loop {
        let page = attempts.call(|client| {
            let api: Api<PartialObjectMeta<K>> = Api::namespaced(client, namespace);
            let params = &params;
            async move { in_time(api.list(params)).await }
        });
        let list = page.await?;
        metadata.extend(list.items.into_iter().map(|item| item.metadata));
        // All pages are of the time of the first one.
        let version = list.metadata.resource_version.unwrap_or_default().into();
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            None => return Ok((version, metadata, false)),
            Some(_) if metadata.len() >= MOST_RECORDS => return Ok((version, metadata, true)),
            Some(token) => params.continue_token = Some(token),
        }
    }
}

/// What a record holds, as it is stored.
pub(crate) async fn payload(
    key: &RecordKey,
    attempts: &Attempts<'_>,
) -> Result<(RecordVersion, Vec<u8>), ReadError> {
    match key.storage.driver {
        Driver::Secret => {
            let (version, ByteString(payload)) = get::<Secret, ByteString>(key, attempts).await?;
            Ok((version, payload))
        }
        Driver::ConfigMap => {
            let (version, payload) = get::<ConfigMap, String>(key, attempts).await?;
            Ok((version, payload.into_bytes()))
        }
    }
}

/// Reads the object as text and parses it here: for typed objects, the client library logs the
/// entire text if it does not parse.
async fn get<K, P>(
    key: &RecordKey,
    attempts: &Attempts<'_>,
) -> Result<(RecordVersion, P), ReadError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    P: DeserializeOwned,
{
    let path = K::url_path(&(), Some(&key.storage.namespace));
    let asking = attempts.call(|client| {
        let request = Request::new(&path).get(&key.object_name(), &GetParams::default());
        async move {
            let request = request.map_err(kube::Error::BuildRequest)?;
            in_time(client.request_text(request)).await
        }
    });
    let text = asking.await.map_err(|failure| {
        if failure.is_not_found() {
            ReadError::Gone
        } else {
            ReadError::Get(failure)
        }
    })?;
    let object: RecordObject<P> =
        serde_json::from_str(&text).map_err(|_quotes| ReadError::Object)?;
    // Deleted and replaced by something else of its name: a record's type never changes.
    if object.secret_type.is_some_and(|of| *of != *SECRET_TYPE) {
        return Err(ReadError::Gone);
    }
    let payload = object
        .data
        .and_then(|data| data.release)
        .ok_or(ReadError::Empty)?;
    let RecordMetadata {
        uid,
        resource_version,
    } = object.metadata;
    Ok((
        RecordVersion {
            uid: (&*uid).into(),
            resource_version: (&*resource_version).into(),
        },
        payload,
    ))
}

/// The parts of a Secret or `ConfigMap` that a record consists of.
#[derive(Deserialize)]
struct RecordObject<P> {
    metadata: RecordMetadata,
    #[serde(default, rename = "type")]
    secret_type: Option<Box<str>>,
    data: Option<Data<P>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordMetadata {
    uid: Box<str>,
    resource_version: Box<str>,
}

/// The only field is [`DATA_KEY`].
#[derive(Deserialize)]
struct Data<P> {
    release: Option<P>,
}

async fn in_time<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, ApiFailure> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(ApiFailure::timeout()),
    }
}

/// Computation only: for a thread that may block.
pub(super) fn decode(
    payload: &[u8],
    limits: RecordLimits,
    store: &Arc<BodyStore>,
    key: &RecordKey,
) -> Result<Body, ReadError> {
    let mut record = record::decode(payload, &limits)?;
    if *record.release.name != *key.storage.name || record.revision != key.revision {
        return Err(ReadError::Mismatch);
    }
    let text = std::mem::take(&mut record.manifest);
    let manifest = manifest::parse(&text, &record.release);
    // Logged before its objects are packed.
    drop(text);
    let logged = manifest
        .problems
        .iter()
        .filter(|_| DOCUMENTS.may_log(&key.storage.namespace));
    for problem in logged {
        tracing::warn!(
            record = %key,
            line = problem.line,
            source = problem.source.as_deref().unwrap_or_default(),
            error = %problem.error,
            "failed to read a document of a manifest, its objects are not guarded"
        );
    }
    if manifest.more_problems > 0 {
        let more = manifest.more_problems;
        tracing::warn!(record = %key, more, "failed to read more documents of this manifest");
    }
    let about = about(&record, payload.len());
    let parts = Parts {
        release: record.release,
        about,
        problems: manifest.problem_count(),
        objects: manifest.objects,
    };
    Ok(Body::new(parts, store))
}

fn about(record: &Record, record_bytes: usize) -> About {
    About {
        record_bytes: u32::try_from(record_bytes).unwrap_or(u32::MAX),
        chart: record.chart.name.as_str().into(),
        chart_version: record.chart.version.as_str().into(),
        app_version: record
            .chart
            .app_version
            .as_deref()
            .unwrap_or_default()
            .into(),
        last_deployed: record.last_deployed.as_deref().map(Into::into),
        deleted: record.deleted.as_deref().and_then(|at| at.parse().ok()),
        apply_method: record.apply_method,
        hook_accounts: hooks::accounts(record).into(),
    }
}

/// The record in an object's metadata; `None` if it is not a record.
pub fn stored(driver: Driver, metadata: &ObjectMeta) -> Result<Option<Stored>, MetadataError> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let labels = metadata
        .labels
        .iter()
        .flatten()
        .map(|(key, value)| (&**key, &**value));
    let meta = RecordMeta::from_metadata(driver, namespace, name, labels)?;
    Ok(meta.map(|meta| Stored {
        key: RecordKey {
            storage: Arc::new(StorageKey {
                driver,
                namespace: meta.storage_namespace.into(),
                name: meta.release_name.into(),
            }),
            revision: meta.revision,
        },
        status: meta.status,
        version: version(metadata),
    }))
}

fn version(metadata: &ObjectMeta) -> RecordVersion {
    RecordVersion {
        uid: metadata.uid.as_deref().unwrap_or_default().into(),
        resource_version: metadata
            .resource_version
            .as_deref()
            .unwrap_or_default()
            .into(),
    }
}
