//! The manifest of a revision: the YAML documents that Helm sent to the API server.
//!
//! Invariants
//! - Declared is what Helm applies: documents are split, read, and expanded from lists by the rules
//!   of the code that Helm runs (apimachinery, cli-runtime, `sigs.k8s.io/yaml`).
//! - A document that cannot be read is one problem; its neighbors are declared nevertheless.
//! - Anyone may have written a manifest: an object has at most [`OBJECT_BYTES`], all of them
//!   [`MANIFEST_BYTES`] and [`OBJECTS`]. Anything beyond is a problem and takes no memory.
//! - Hooks are not declared: Helm creates and deletes them during its operations.
//!
//! Start at [`parse`].

pub use normalize::marks;

use std::{collections::HashMap, io, sync::Arc};

use serde_json::{Map, Value};

use crate::{
    helm::identity::{DeclaredObject, ReleaseName, current_group},
    yaml::{self, YamlError},
};

mod normalize;
mod split;

use split::ManifestDocument;

/// The most bytes of JSON of a declared object: twice what etcd accepts.
pub const OBJECT_BYTES: usize = 3 << 20;

/// The most bytes of a manifest, and of the JSON of its objects together: more than twice the
/// largest known record.
pub(crate) const MANIFEST_BYTES: usize = 16 << 20;

/// The most objects that a manifest may declare.
pub const OBJECTS: usize = 10_000;

/// The longest namespace, kind and version, all of them labels of DNS.
const LABEL_BYTES: usize = 63;

/// The longest group and, of most kinds, the longest name; those of RBAC have no limit.
const NAME_BYTES: usize = 1024;

/// The maximum number of problems that are listed; more are only counted.
const PROBLEMS: usize = 32;

/// The content of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The declared objects in the order of the manifest, each once: if two documents are for one
    /// object, the last counts, because Helm applies both in order.
    pub objects: Vec<DeclaredObject>,
    /// The first documents, or items of lists, that are not objects.
    pub problems: Vec<DocumentProblem>,
    /// The number of further ones.
    pub more_problems: usize,
}

impl Manifest {
    /// The number of documents, or items of lists, that are not objects.
    pub fn problem_count(&self) -> usize {
        self.problems.len() + self.more_problems
    }

    fn note(&mut self, document: &ManifestDocument<'_>, error: DocumentError) {
        if self.problems.len() == PROBLEMS {
            self.more_problems += 1;
            return;
        }
        self.problems.push(DocumentProblem {
            line: document.line,
            source: document.source.map(Into::into),
            error,
        });
    }
}

/// A document, or an item of a list, that is not an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentProblem {
    /// The line of the manifest on which the document starts, counted from 1.
    pub line: u32,
    /// The template that made it.
    pub source: Option<Box<str>>,
    /// What is wrong with it.
    pub error: DocumentError,
}

/// The problem of a document. Shows nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not readable as YAML.
    #[error("failed to parse the document: {0}")]
    Yaml(#[from] YamlError),
    /// A scalar or a list where an object should be.
    #[error("failed to read the document as an object")]
    NotAnObject,
    /// A field that names the object is missing, empty, or not a string.
    #[error("failed to read the object's {0}")]
    Field(&'static str),
    /// A field that names the object is longer than Kubernetes allows.
    #[error("the object's {0} is too long")]
    TooLong(&'static str),
    /// `items` that is not a list: Helm takes any document with `items` for a list of objects.
    #[error("failed to read the items of the list")]
    Items,
    /// The object is larger than any that the API server stores.
    #[error("the object is larger than {OBJECT_BYTES} bytes")]
    ObjectTooLarge,
    /// The objects before this one have reached the limit of a manifest.
    #[error(
        "the manifest is larger than {MANIFEST_BYTES} bytes or has more than {OBJECTS} objects"
    )]
    ManifestTooLarge,
}

/// Reads a manifest as Helm reads it.
///
/// Never fails as a whole: what cannot be read is in [`Manifest::problems`].
pub fn parse(manifest: &str, release: &ReleaseName) -> Manifest {
    read(manifest, release, Hooks::LeftOut)
}

/// Reads the manifest of a hook, all of whose objects are hooks.
pub(crate) fn parse_hook(manifest: &str, release: &ReleaseName) -> Manifest {
    read(manifest, release, Hooks::Read)
}

/// What happens to objects that are hooks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hooks {
    LeftOut,
    Read,
}

fn read(manifest: &str, release: &ReleaseName, hooks: Hooks) -> Manifest {
    let allowance = yaml::Allowance::for_manifest();
    let mut found = Manifest::default();
    let mut room = MANIFEST_BYTES;
    if manifest.len() > room {
        let whole = ManifestDocument {
            line: 1,
            source: None,
            text: manifest,
        };
        found.note(&whole, DocumentError::ManifestTooLarge);
        return found;
    }
    for document in split::documents(manifest) {
        let objects = match yaml::read(document.text, &allowance) {
            Ok(Value::Null) => continue,
            Ok(Value::Object(object)) if hooks == Hooks::LeftOut && is_hook(&object) => continue,
            Ok(value) => flatten(value),
            Err(error) => vec![Err(error.into())],
        };
        for object in objects {
            let declared = object.and_then(|object| {
                if found.objects.len() == OBJECTS {
                    return Err(DocumentError::ManifestTooLarge);
                }
                let object = declare(object, &document, release)?;
                let left = room.checked_sub(object.json.len());
                room = left.ok_or(DocumentError::ManifestTooLarge)?;
                Ok(object)
            });
            match declared {
                Ok(object) => found.objects.push(object),
                Err(error) => found.note(&document, error),
            }
        }
    }
    keep_last(&mut found.objects, release);
    found
}

/// The documents of a YAML stream with more than blank lines and comments, each with its first
/// line, counted from 1.
pub fn documents(stream: &str) -> impl Iterator<Item = (u32, &str)> {
    split::documents(stream).map(|document| (document.line, document.text))
}

type Item = Result<Map<String, Value>, DocumentError>;

/// The objects in a document: itself, or those in its `items`, at any depth.
///
/// Helm recognizes a list by `items`, not by its kind (`unstructuredJSONScheme` of apimachinery),
/// and an item without kind and version gets those of the list (`PodList` holds Pods).
fn flatten(value: Value) -> Vec<Item> {
    let Value::Object(mut object) = value else {
        return vec![Err(DocumentError::NotAnObject)];
    };
    let items = match object.remove("items") {
        None => return vec![Ok(object)],
        Some(Value::Null) => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => return vec![Err(DocumentError::Items)],
    };
    let list_kind = text(&object, "kind").unwrap_or_default();
    let item_kind = list_kind.strip_suffix("List").unwrap_or(list_kind);
    let item_version = text(&object, "apiVersion").unwrap_or_default();
    items
        .into_iter()
        .flat_map(|mut item| {
            if let Value::Object(item) = &mut item
                && text(item, "kind").is_none()
                && text(item, "apiVersion").is_none()
            {
                item.insert("kind".into(), item_kind.into());
                item.insert("apiVersion".into(), item_version.into());
            }
            flatten(item)
        })
        .collect()
}

fn declare(
    mut object: Map<String, Value>,
    document: &ManifestDocument<'_>,
    release: &ReleaseName,
) -> Result<DeclaredObject, DocumentError> {
    let named = |map, key, field| text(map, key).ok_or(DocumentError::Field(field));
    let api_version = named(&object, "apiVersion", "apiVersion")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if version.is_empty() || version.contains('/') {
        return Err(DocumentError::Field("apiVersion"));
    }
    let kind = short(named(&object, "kind", "kind")?, LABEL_BYTES, "kind")?;
    short(version, LABEL_BYTES, "apiVersion")?;
    short(group, NAME_BYTES, "apiVersion")?;
    let (group, version) = (current_group(group, &kind).to_owned(), version.to_owned());
    let metadata = object
        .get("metadata")
        .and_then(Value::as_object)
        .ok_or(DocumentError::Field("metadata"))?;
    let name = named(metadata, "name", "metadata.name")?;
    let name = short(name, NAME_BYTES, "metadata.name")?;
    let namespace = text(metadata, "namespace")
        .map(|namespace| short(namespace, LABEL_BYTES, "metadata.namespace"))
        .transpose()?;
    let keep = annotation(metadata, "helm.sh/resource-policy").is_some();
    normalize::normalize(&mut object, &group, &kind, release);
    Ok(DeclaredObject {
        group,
        version,
        kind,
        namespace,
        name,
        source: document.source.map(Into::into),
        line: document.line,
        keep,
        json: text_of(object)?,
    })
}

/// The object as JSON. Its tree is freed before the text is copied.
fn text_of(object: Map<String, Value>) -> Result<Arc<str>, DocumentError> {
    let mut text = Bounded::default();
    serde_json::to_writer(&mut text, &object).map_err(|_full| DocumentError::ObjectTooLarge)?;
    drop(object);
    let text = String::from_utf8(text.bytes).map_err(|_never| DocumentError::NotAnObject)?;
    Ok(text.into())
}

/// Accepts at most [`OBJECT_BYTES`].
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OBJECT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// If several documents are for one object, only the last stays. A document without a namespace and
/// one with the release's namespace name the same object, whatever the scope of the kind.
fn keep_last(objects: &mut Vec<DeclaredObject>, release: &ReleaseName) {
    let key = |object: &DeclaredObject| {
        (
            object.group.clone(),
            object.kind.clone(),
            object
                .namespace
                .clone()
                .unwrap_or_else(|| release.namespace.clone()),
            object.name.clone(),
        )
    };
    let last: HashMap<_, _> = objects
        .iter()
        .enumerate()
        .map(|(n, object)| (key(object), n))
        .collect();
    if last.len() == objects.len() {
        return;
    }
    let mut position = 0..;
    objects.retain(|object| last.get(&key(object)).copied() == position.next());
}

/// Helm removes hooks before it stores a manifest. A post-renderer of Helm 3 can add the annotation
/// to an object afterwards. Helm then creates it as an ordinary object, but its author meant a
/// hook, so it is not guarded.
fn is_hook(object: &Map<String, Value>) -> bool {
    object
        .get("metadata")
        .and_then(Value::as_object)
        .is_some_and(|metadata| annotation(metadata, "helm.sh/hook").is_some())
}

/// A name is stored as it is, separately from the compressed object.
fn short(name: &str, bytes: usize, field: &'static str) -> Result<String, DocumentError> {
    if name.len() > bytes {
        return Err(DocumentError::TooLong(field));
    }
    Ok(name.to_owned())
}

fn annotation<'a>(metadata: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    metadata.get("annotations")?.as_object()?.get(key)
}

/// A non-empty string.
fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
