//! Release records: their content, and forged ones.

use std::io::{Read, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    discovery::Served,
    releases::Release,
    request::Place,
    target::{Role, Target},
    world::World,
};

/// The name of a record.
pub fn name(release: &str, revision: u32) -> String {
    format!("sh.helm.release.v1.{release}.v{revision}")
}

/// Labels that Helm changes by itself.
const MOVING: &[&str] = &["status", "createdAt", "modifiedAt"];

/// The newest record of a release.
pub async fn newest(world: &World, release: &Release) -> anyhow::Result<Value> {
    let path = format!(
        "/api/v1/namespaces/{}/secrets?labelSelector=owner%3Dhelm,name%3D{}",
        release.namespace, release.name
    );
    let list = world.oncall.get(&path).await?.body;
    let revision = |record: &Value| {
        let version = record.pointer("/metadata/labels/version")?.as_str()?;
        version.parse::<u32>().ok()
    };
    let newest = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .max_by_key(|record| revision(record));
    let mut newest = newest.cloned().unwrap_or_default();
    newest["apiVersion"] = json!("v1");
    newest["kind"] = json!("Secret");
    Ok(newest)
}

/// The parts of a record that do not change while its revision is the newest.
pub fn lasting(record: &Value) -> Value {
    let mut lasting = record.clone();
    let mut strip = |map: &str, fields: &[&str]| {
        if let Some(map) = lasting.pointer_mut(map).and_then(Value::as_object_mut) {
            map.retain(|field, _| !fields.contains(&field.as_str()));
        }
    };
    strip(
        "/metadata",
        &[
            "managedFields",
            "resourceVersion",
            "uid",
            "creationTimestamp",
        ],
    );
    strip("/metadata/labels", MOVING);
    lasting
}

/// The newest record, the namespace of a release and the CRDs of its custom resources: the
/// infrastructure of a release.
pub async fn infrastructure(
    world: &World,
    release: &Release,
    targets: &[Target],
) -> anyhow::Result<Vec<Target>> {
    let served = Served::ask(&world.mallory).await?;
    let mut found = Vec::new();
    let record = newest(world, release).await?;
    let declared = lasting(&record);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = text(&record["metadata"]["name"]);
    let path = format!("/api/v1/namespaces/{}/secrets/{name}", release.namespace);
    if let Some(place) = Place::parse(&path) {
        let what = ("the newest record", place, Role::Record);
        found.push(Target::new(&served, what, declared, record));
    }
    let mut paths = vec![format!("/api/v1/namespaces/{}", release.namespace)];
    for target in targets {
        let group = target.place.group();
        if group.ends_with(".example.com") {
            let plural = &target.place.plural;
            paths.push(format!(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}"
            ));
        }
    }
    for path in paths {
        let live = world.oncall.get(&path).await?.body;
        let declared = json!({
            "apiVersion": live["apiVersion"], "kind": live["kind"],
            "metadata": {"name": live["metadata"]["name"]},
        });
        let title = format!("{} of the release", text(&live["kind"]));
        if let Some(place) = Place::parse(&path) {
            found.push(Target::new(
                &served,
                (&title, place, Role::Infrastructure),
                declared,
                live,
            ));
        }
    }
    Ok(found)
}

/// The JSON in a record.
pub fn decoded(record: &Value) -> Option<Value> {
    let outer = BASE64_STANDARD
        .decode(record.pointer("/data/release")?.as_str()?)
        .ok()?;
    let inner = BASE64_STANDARD.decode(outer).ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*inner)
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

/// Encodes the content of a record.
fn encoded(body: &Value) -> Option<String> {
    let level = flate2::Compression::default();
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), level);
    zip.write_all(body.to_string().as_bytes()).ok()?;
    Some(BASE64_STANDARD.encode(zip.finish().ok()?))
}

/// The kind of object that stores a forged record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A Secret of Helm's type.
    Secret,
    /// A Secret of type Opaque.
    Opaque,
    ConfigMap,
}

/// A forged record.
#[derive(Clone, Debug)]
pub struct Forged {
    pub namespace: String,
    /// The kind of object.
    pub kept: Kept,
    /// The release in its name and labels.
    pub release: String,
    pub revision: u32,
    /// The status, in the label and in the body.
    pub status: String,
    /// Its body, except for the revision and the status; `None` for no body.
    pub body: Option<Value>,
}

impl Forged {
    pub fn name(&self) -> String {
        name(&self.release, self.revision)
    }

    /// The collection in which it is created.
    pub fn place(&self) -> Place {
        let plural = if self.kept == Kept::ConfigMap {
            "configmaps"
        } else {
            "secrets"
        };
        Place {
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            namespace: Some(self.namespace.clone()),
            name: None,
            subresource: None,
        }
    }

    pub fn object(&self) -> Value {
        let text = match &self.body {
            None => "bm90aGluZw==".to_owned(),
            Some(body) => {
                let mut body = body.clone();
                body["version"] = json!(self.revision);
                body["info"]["status"] = json!(self.status);
                encoded(&body).unwrap_or_default()
            }
        };
        let (kind, kept) = match self.kept {
            Kept::Secret => ("Secret", Some("helm.sh/release.v1")),
            Kept::Opaque => ("Secret", Some("Opaque")),
            Kept::ConfigMap => ("ConfigMap", None),
        };
        let data = match self.kept {
            Kept::ConfigMap => text,
            _ => BASE64_STANDARD.encode(text),
        };
        let mut object = json!({
            "apiVersion": "v1", "kind": kind,
            "metadata": {
                "name": self.name(), "namespace": self.namespace,
                "labels": {
                    "owner": "helm", "name": self.release, "status": self.status,
                    "version": self.revision.to_string(),
                },
            },
            "data": {"release": data},
        });
        if let Some(kept) = kept {
            object["type"] = json!(kept);
        }
        object
    }
}
