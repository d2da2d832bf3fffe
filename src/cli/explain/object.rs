//! The object that is explained, from the cluster or from a file, and the explanation of it.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, bail};
use helm_guard_core::{
    api::{API_VERSION, reported::ReportedObject},
    compare::{
        lookup::{named_path, select},
        path::{FieldPath, Step},
        redact::Sensitivity,
    },
    guard::{Claim, NamedOwner, ObjectRef, settle, subject::owner_of},
    helm::storage::Driver,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Client,
    api::{ListParams, ObjectMeta},
};
use serde_json::Value;

use super::{
    ask::ChangedObject,
    change::changes,
    declarations::{Manifests, Shown, declarations, explained_fields},
    field_check::{self, FieldCheck},
    report::{ExplainedObject, Explanation},
};
use crate::{
    cli::{
        documents::{Source, text_of},
        in_force::{InForce, PolicyArgs},
        resource::KnownResource,
        reviewing::{self, Cluster},
        target::StorageDriver,
    },
    cluster::{
        ApiFailure,
        client::{self, KubeconfigSelection},
    },
    review::{Reviewer, Sources, recorded::RecordedSources, sources::IndexSource},
    webhook::registration::calls::usual,
};

/// What the user asked about.
pub(super) struct Asked<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    /// None for that of the kubeconfig's context.
    pub(super) namespace: Option<&'a str>,
    pub(super) path: Option<&'a FieldPath>,
}

/// The object, with what is known about it.
struct Subject<'a> {
    resource: &'a KnownResource,
    namespace: &'a str,
    name: &'a str,
    /// None if it does not exist.
    live: Option<&'a Value>,
    namespace_labels: Option<&'a BTreeMap<String, String>>,
    claims: Vec<Claim>,
    manifests: Manifests<'a>,
}

/// Explains an object in the cluster.
pub(super) async fn in_cluster(
    target: &KubeconfigSelection,
    drivers: &[StorageDriver],
    policy: &PolicyArgs,
    asked: &Asked<'_>,
) -> anyhow::Result<Explanation> {
    let client = client::connect(target).await?;
    let resource = KnownResource::find(&client, asked.kind).await?;
    let given = asked.namespace.unwrap_or(client.default_namespace());
    let namespace = resource.namespace(given);
    let mut policy = InForce::read(&client, policy).await?;
    let readable = readable_namespaces(&client, given, drivers).await?;
    if let [only] = &*readable {
        policy.notes.push(format!(
            "you may read release records in namespace {only:?} alone: releases in other namespaces are not considered"
        ));
    }
    let cluster = Cluster::read(client.clone(), &readable, drivers).await?;
    let claims = cluster
        .releases
        .claims(&resource.group, &resource.kind, namespace, asked.name);
    // In the version of the manifest: the API server converts, as it does for the webhook.
    let version = claims.iter().find_map(Claim::version);
    let version = version.unwrap_or(&resource.version).to_owned();
    let live = match resource.get(&client, &version, namespace, asked.name).await {
        // A version that is not served any more cannot be compared.
        Err(_) | Ok(None) if version != resource.version => {
            let version = &resource.version;
            resource
                .get(&client, version, namespace, asked.name)
                .await?
        }
        got => got?,
    };
    if live.is_none() && claims.is_empty() {
        let place = match namespace {
            "" => String::new(),
            namespace => format!(" in namespace {namespace:?}"),
        };
        bail!(
            "{} {:?} does not exist{place}, and no release declares it",
            resource.kind,
            asked.name
        );
    }
    let labels = namespace_labels(&client, namespace).await?;
    let reviewer = cluster.reviewer(policy.policy.clone())?;
    if let Some(labels) = &labels {
        reviewer
            .sources
            .namespaces
            .insert(namespace, Arc::clone(labels));
    }
    let path = asked.path.map(|path| named_path(path, live.as_ref()));
    let subject = Subject {
        resource: &resource,
        namespace,
        name: asked.name,
        live: live.as_ref(),
        namespace_labels: labels.as_deref(),
        claims,
        manifests: Manifests::Cluster(&client),
    };
    let explanation = subject.explain(&reviewer, policy, path.as_ref()).await?;
    if let Some(path) = &path {
        reject_unknown(&client, &resource, path, &explanation).await?;
        reject_missing_item(&resource, path, live.as_ref(), &explanation)?;
    }
    Ok(explanation)
}

/// A path that no release declares, that is not set, and that the kind does not have, is a mistake.
async fn reject_unknown(
    client: &Client,
    resource: &KnownResource,
    path: &FieldPath,
    explanation: &Explanation,
) -> anyhow::Result<()> {
    let is_declared = explanation
        .releases
        .iter()
        .any(|declaration| declaration.declared.is_some());
    if is_declared || explanation.live.is_some() {
        return Ok(());
    }
    let FieldCheck::Missing {
        parent,
        field,
        suggestion,
    } = field_check::check(client, resource, path).await
    else {
        return Ok(());
    };
    let hint = suggestion.map(|meant| format!("; did you mean {meant:?}?"));
    bail!(
        "{} has no field {field:?} at {parent}{}",
        resource.kind,
        hint.unwrap_or_default()
    )
}

/// So is an item of a list that the live object does not have, as far as no release declares it.
fn reject_missing_item(
    resource: &KnownResource,
    path: &FieldPath,
    live: Option<&Value>,
    explanation: &Explanation,
) -> anyhow::Result<()> {
    let mut releases = explanation.releases.iter();
    let (Some(live), None) = (live, &explanation.live) else {
        return Ok(());
    };
    if releases.any(|declaration| declaration.declared.is_some()) {
        return Ok(());
    }
    let steps = path.steps();
    let exists = |count: &usize| {
        let steps = steps.get(..*count);
        steps.is_some_and(|steps| select(live, steps).is_some())
    };
    let count = (0..steps.len()).take_while(exists).last().unwrap_or(0);
    let (parents, rest) = steps.split_at(count);
    let Some(item @ (Step::Item(_) | Step::Index(_))) = rest.first() else {
        return Ok(());
    };
    let parent = FieldPath::from(parents.to_vec());
    let item = FieldPath::from(vec![item.clone()]);
    bail!("{} has no item {item} at {parent}", resource.kind)
}

/// The namespaces whose records can be read: none stands for all.
async fn readable_namespaces(
    client: &Client,
    namespace: &str,
    drivers: &[StorageDriver],
) -> anyhow::Result<Vec<String>> {
    for driver in StorageDriver::drivers(drivers) {
        let one = ListParams::default().labels("owner=helm").limit(1);
        let listed = match driver {
            Driver::Secret => {
                let api: Api<Secret> = Api::all(client.clone());
                api.list_metadata(&one).await.map(drop)
            }
            Driver::ConfigMap => {
                let api: Api<ConfigMap> = Api::all(client.clone());
                api.list_metadata(&one).await.map(drop)
            }
        };
        match listed.map_err(ApiFailure::from) {
            Ok(()) => {}
            Err(failure) if failure.is_forbidden() => {
                return readable_in(client, namespace, driver).await;
            }
            Err(failure) => return Err(failure).context("failed to read the release records"),
        }
    }
    Ok(Vec::new())
}

async fn readable_in(
    client: &Client,
    namespace: &str,
    driver: Driver,
) -> anyhow::Result<Vec<String>> {
    let one = ListParams::default().labels("owner=helm").limit(1);
    let listed = match driver {
        Driver::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            api.list_metadata(&one).await.map(drop)
        }
        Driver::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            api.list_metadata(&one).await.map(drop)
        }
    };
    listed.map_err(ApiFailure::from).with_context(|| {
        format!("failed to read the release records, in all namespaces and in {namespace:?} alone")
    })?;
    Ok(vec![namespace.to_owned()])
}

/// None if they cannot be read, or the object is in no namespace.
async fn namespace_labels(
    client: &Client,
    namespace: &str,
) -> anyhow::Result<Option<Arc<BTreeMap<String, String>>>> {
    if namespace.is_empty() {
        return Ok(None);
    }
    let api: Api<Namespace> = Api::all(client.clone());
    match api.get_metadata(namespace).await.map_err(ApiFailure::from) {
        Ok(found) => Ok(Some(Arc::new(found.metadata.labels.unwrap_or_default()))),
        Err(failure) if failure.is_forbidden() => Ok(None),
        Err(failure) if failure.is_not_found() => bail!("namespace {namespace:?} does not exist"),
        Err(failure) => {
            Err(failure).with_context(|| format!("failed to read namespace {namespace:?}"))
        }
    }
}

/// A live object from a file.
pub(super) struct ObjectOnDisk {
    live: Value,
    resource: KnownResource,
    namespace: String,
    name: String,
}

impl ObjectOnDisk {
    pub(super) fn read(source: &Source, namespace: Option<&str>) -> anyhow::Result<Self> {
        let mut documents = source.documents()?;
        let (Some(live), true) = (documents.pop(), documents.is_empty()) else {
            bail!("{} must have one object", source.name());
        };
        let metadata: ObjectMeta =
            serde_json::from_value(live.get("metadata").cloned().unwrap_or_default())
                .map_err(|_quotes| anyhow::anyhow!("{}: the metadata is invalid", source.name()))?;
        let api_version = text_of(&live, "apiVersion");
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
        let kind = text_of(&live, "kind");
        let (Some(name), false, false) = (metadata.name, version.is_empty(), kind.is_empty())
        else {
            bail!(
                "{} is not an object: it needs apiVersion, kind and metadata.name",
                source.name()
            );
        };
        Ok(Self {
            resource: KnownResource::named(group, version, &kind),
            namespace: metadata
                .namespace
                .or_else(|| namespace.map(str::to_owned))
                .unwrap_or_default(),
            name,
            live,
        })
    }

    pub(super) async fn explain(
        &self,
        sources: RecordedSources,
        policy: InForce,
        path: Option<&FieldPath>,
    ) -> anyhow::Result<Explanation> {
        let reviewer = reviewing::reviewer(sources, policy.policy.clone())?;
        let object = ObjectRef {
            group: &self.resource.group,
            kind: &self.resource.kind,
            namespace: &self.namespace,
            name: self.name.as_str().into(),
        };
        let subject = Subject {
            resource: &self.resource,
            namespace: &self.namespace,
            name: &self.name,
            live: Some(&self.live),
            namespace_labels: None,
            claims: reviewer.sources.claims(&object),
            manifests: Manifests::Records,
        };
        let path = path.map(|path| named_path(path, Some(&self.live)));
        subject.explain(&reviewer, policy, path.as_ref()).await
    }
}

impl Subject<'_> {
    async fn explain<S: Sources>(
        &self,
        reviewer: &Reviewer<S>,
        policy: InForce,
        path: Option<&FieldPath>,
    ) -> anyhow::Result<Explanation> {
        let resource = self.resource;
        let live = self.live;
        let metadata = live.and_then(|live| live.get("metadata")).cloned();
        let metadata: ObjectMeta =
            serde_json::from_value(metadata.unwrap_or_default()).unwrap_or_default();
        let owner = match live {
            Some(_) => NamedOwner::Known(owner_of(&metadata.annotations.unwrap_or_default())),
            None => NamedOwner::Unseen,
        };
        let rules = reviewer.policy.load_full();
        let settled = settle(self.claims.clone(), &owner, |namespace| {
            rules.records().trusts(namespace)
        });
        let claims = settled.counting;
        let shown = Shown {
            redactor: &reviewer.redactor,
            sensitivity: Sensitivity::of(&resource.group, &resource.kind),
        };
        let releases = declarations(&claims, path, shown, self.manifests).await;
        let fields = match (path, live) {
            (None, Some(live)) => {
                explained_fields(&reviewer.sources, resource, &claims, live, shown).await?
            }
            _ => Vec::new(),
        };
        let registration = policy.registration.clone();
        let mut explanation = Explanation {
            api_version: API_VERSION,
            kind: "Explanation",
            object: ExplainedObject {
                object: ReportedObject {
                    api_version: live.map_or_else(
                        || resource.api_version(),
                        |live| text_of(live, "apiVersion"),
                    ),
                    kind: resource.kind.clone(),
                    namespace: self.namespace.to_owned(),
                    name: self.name.to_owned(),
                    ..ReportedObject::default()
                },
                exists: live.is_some(),
            },
            path: path.map(ToString::to_string),
            policy: policy.applied(),
            releases,
            live: path.and_then(|path| shown.value(live?, path)),
            writer: path
                .and_then(|path| helm_guard_core::scan::writers::last_writer(live?, path.steps())),
            fields,
            if_changed: Vec::new(),
        };
        let Some(live) = live else {
            return Ok(explanation);
        };
        let changed = ChangedObject {
            resource,
            namespace: self.namespace,
            name: self.name,
            live,
            namespace_labels: self.namespace_labels,
            registration: &registration.unwrap_or_else(|| Box::new(usual())),
        };
        let declared = explanation.releases.iter();
        let declared: Vec<&Value> = declared
            .filter_map(|declaration| declaration.declared.as_ref())
            .collect();
        for change in changes(live, path, &declared, resource.is_scalable) {
            let answer = changed.ask(reviewer, &change).await?;
            explanation.if_changed.push(answer);
        }
        Ok(explanation)
    }
}
