//! The stored part of a record's body: its release, its chart, its declared objects.
//!
//! The manifest's text, the chart and the values are dropped, and the objects are packed (see
//! [`super::pack`]): they are unpacked one by one on demand.

use std::{fmt, sync::Arc};

use helm_guard_core::helm::{
    ReleaseName,
    identity::{DeclaredObject, current_group},
    record::ApplyMethod,
};
use jiff::Timestamp;

use super::{
    cache::CacheKey,
    declared_kind::DeclaredKind,
    object_key::ObjectKey,
    pack::{PackError, Packed, PackedObject},
    store::{BodyStore, ChartModels},
};

/// Chart and times from the record; for metrics and messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Chart name.
    pub chart: Arc<str>,
    /// The chart's `version`.
    pub chart_version: Arc<str>,
    /// The chart's `appVersion`.
    pub app_version: Arc<str>,
    /// `info.last_deployed`, RFC 3339, if the record has one.
    pub last_deployed: Option<Box<str>>,
    /// Size of the stored record, in bytes. A Secret or ConfigMap holds at most 1 MiB.
    pub record_bytes: u32,
    /// `info.deleted`: when its uninstall started.
    pub deleted: Option<Timestamp>,
    /// How Helm applies its objects.
    pub apply_method: ApplyMethod,
    /// The service accounts of the hooks of a pending revision.
    pub hook_accounts: Arc<[Box<str>]>,
}

/// The stored part of one record's body.
pub struct Body {
    /// Unique among bodies.
    number: u64,
    release: Arc<ReleaseName>,
    chart: Arc<ChartModels>,
    about: Arc<About>,
    objects: Packed,
    /// Sorted; mostly the same for all releases of a chart.
    kinds: Arc<[DeclaredKind]>,
    /// The namespaces of its objects, if they are namespaced.
    namespaces: Box<[Arc<str>]>,
    problems: u32,
    cost: usize,
    /// For an outline: the cost of the full body.
    full_size: Option<usize>,
    store: Arc<BodyStore>,
}

/// The overhead of a body and of an object in addition to the packed text, in bytes: names, tables, entries.
const BODY: usize = 1024;
const OBJECT: usize = 64;

/// Bytes of names that nearly every body has, and mostly shares with others.
const NAMES: usize = 4096;

/// The parts of a [`Body`].
pub struct Parts {
    /// The release, from the body.
    pub release: ReleaseName,
    /// Chart and times.
    pub about: About,
    /// The declared objects in the order of the manifest.
    pub objects: Vec<DeclaredObject>,
    /// Documents of the manifest that did not parse.
    pub problems: usize,
}

impl Body {
    /// Stores `parts`, and shares what other bodies in `store` have, too.
    pub fn new(parts: Parts, store: &Arc<BodyStore>) -> Self {
        let Parts {
            release,
            about,
            mut objects,
            problems,
        } = parts;
        // Similar objects are next to each other. Objects with equal keys stay in the order of the manifest.
        objects.sort_by(|a, b| by_name(a).cmp(&by_name(b)));
        let mut kinds: Vec<DeclaredKind> = objects.iter().map(kind_of).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut namespaces: Vec<&str> = objects
            .iter()
            .map(|object| namespace_of(object, &release))
            .collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let namespaces: Box<[Arc<str>]> = namespaces
            .into_iter()
            .map(|namespace| store.words.intern(namespace))
            .collect();
        let keyed: Vec<(ObjectKey, DeclaredObject)> = objects
            .into_iter()
            .map(|object| (key_of(&object, &release), object))
            .collect();
        let chart = store.chart(&format!("{}-{}", about.chart, about.chart_version));
        let objects = Packed::new(&keyed, |number, draft| chart.model(number, draft));
        store.enters(objects.bytes());
        let cost = BODY
            + names(&kinds, &namespaces, &about).saturating_sub(NAMES)
            + OBJECT * objects.entries().len()
            + objects.bytes();
        Self {
            number: store.cache.number(),
            release: Arc::new(release),
            chart,
            about: Arc::new(About {
                chart: store.words.intern(&*about.chart),
                chart_version: store.words.intern(&*about.chart_version),
                app_version: store.words.intern(&*about.app_version),
                ..about
            }),
            objects,
            kinds: store.kinds.intern(kinds),
            namespaces,
            problems: u32::try_from(problems).unwrap_or(u32::MAX),
            cost,
            full_size: None,
            store: Arc::clone(store),
        }
    }

    /// Its size in the index, in bytes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// For an outline, the size of the full body.
    pub(crate) fn full_size(&self) -> Option<usize> {
        self.full_size
    }

    /// The same without the objects' content: only their names. `None` if it is an outline already, or
    /// if that saves nothing.
    pub(super) fn outline(&self) -> Option<Self> {
        let saved = self.objects.bytes();
        if self.full_size.is_some() || saved == 0 {
            return None;
        }
        let store = &self.store;
        store.enters(0);
        Some(Self {
            number: store.cache.number(),
            release: Arc::clone(&self.release),
            chart: self.chart.without_models(),
            about: Arc::clone(&self.about),
            objects: self.objects.outline(),
            kinds: Arc::clone(&self.kinds),
            namespaces: self.namespaces.clone(),
            problems: self.problems,
            cost: self.cost.saturating_sub(saved),
            full_size: Some(self.cost),
            store: Arc::clone(store),
        })
    }

    /// The release that the record belongs to.
    pub fn release(&self) -> &Arc<ReleaseName> {
        &self.release
    }

    /// The chart as `name-version`.
    pub fn chart(&self) -> &Arc<str> {
        &self.chart.label
    }

    /// Chart and times.
    pub fn about(&self) -> &Arc<About> {
        &self.about
    }

    /// Number of declared objects.
    pub fn count(&self) -> usize {
        self.objects.entries().len()
    }

    /// The declared objects, all unpacked.
    pub fn objects(&self) -> Result<Vec<DeclaredObject>, PackError> {
        self.objects.objects()
    }

    /// The kinds of the declared objects, in the versions of the manifest.
    pub fn kinds(&self) -> &Arc<[DeclaredKind]> {
        &self.kinds
    }

    /// Whether it declares an object in this namespace, if the object's kind is namespaced.
    pub fn is_in(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|known| **known == *namespace)
    }

    /// The keys of the declared objects, sorted; an object that is declared twice occurs twice.
    pub(super) fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.objects.entries().iter().map(|entry| entry.key)
    }

    /// Documents of the manifest that did not parse, so that their objects are not guarded.
    pub fn problems(&self) -> usize {
        usize::try_from(self.problems).unwrap_or(usize::MAX)
    }

    /// The object that the manifest declares under this name, if any.
    ///
    /// `namespace` is that of the live object and so determines its scope: if it is empty, the
    /// object is cluster-scoped, and a namespace in the document is ignored. Otherwise the
    /// document's namespace counts, or the release's if the document names none (cli-runtime
    /// `DefaultNamespace`). Of several documents for one object the last one wins, because Helm
    /// applies them in order.
    ///
    /// # Errors
    /// When it declares an object that may be this one and cannot be unpacked.
    pub fn find(
        &self,
        group: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<DeclaredObject>>, PackError> {
        let group = current_group(group, kind);
        let wanted = ObjectKey::wanted(group, kind, namespace, name);
        let entries = self.objects.entries();
        let start = entries.partition_point(|entry| entry.key < *wanted.start());
        let entries = entries.get(start..).unwrap_or_default();
        let end = entries.partition_point(|entry| entry.key <= *wanted.end());
        let entries = entries.get(..end).unwrap_or_default();
        let mut before = None;
        while let Some(entry) = last(entries, before) {
            let object = self.object(entry)?;
            let is_it = by_name(&object) == (group, kind, name)
                && (namespace.is_empty() || namespace_of(&object, &self.release) == namespace);
            if is_it {
                return Ok(Some(object));
            }
            before = Some(entry);
        }
        Ok(None)
    }

    /// Logs an unexpected error; a missing object due to the memory limit is expected.
    pub(super) fn log(&self, error: PackError) {
        if error != PackError::LeftOut {
            tracing::error!(release = %self.release, %error, "failed to read a stored manifest");
        }
    }

    fn object(&self, entry: &PackedObject) -> Result<Arc<DeclaredObject>, PackError> {
        let key = CacheKey {
            body: self.number,
            place: entry.place.number(),
        };
        let cache = &self.store.cache;
        if let Some(object) = cache.get(key) {
            return Ok(object);
        }
        let read = self.objects.object(entry.place);
        let object = read.inspect_err(|error| self.log(*error))?;
        let object = Arc::new(object);
        cache.insert(key, &object);
        Ok(object)
    }
}

/// The size of names that the writer of a record may choose in any number and length, in bytes.
fn names(kinds: &[DeclaredKind], namespaces: &[Arc<str>], about: &About) -> usize {
    let kinds = kinds.iter().map(|kind| {
        size_of::<DeclaredKind>() + kind.group.len() + kind.kind.len() + kind.version.len()
    });
    let namespaces = namespaces
        .iter()
        .map(|name| size_of::<Arc<str>>() + name.len());
    let accounts = about.hook_accounts.iter().map(|name| name.len());
    let chart = about.chart.len() + about.chart_version.len();
    // Counted again as the chart's label.
    let about = 2 * chart + about.app_version.len();
    kinds.chain(namespaces).chain(accounts).sum::<usize>() + about
}

/// The last of `entries` by its position, among those before the given one.
fn last<'e>(
    entries: &'e [PackedObject],
    before: Option<&PackedObject>,
) -> Option<&'e PackedObject> {
    entries
        .iter()
        .filter(|entry| before.is_none_or(|before| entry.place < before.place))
        .max_by_key(|entry| entry.place)
}

fn by_name(object: &DeclaredObject) -> (&str, &str, &str) {
    (&object.group, &object.kind, &object.name)
}

fn key_of(object: &DeclaredObject, release: &ReleaseName) -> ObjectKey {
    let namespace = namespace_of(object, release);
    ObjectKey::new(&object.group, &object.kind, namespace, &object.name)
}

fn namespace_of<'a>(object: &'a DeclaredObject, release: &'a ReleaseName) -> &'a str {
    match object.namespace.as_deref() {
        None | Some("") => &release.namespace,
        Some(namespace) => namespace,
    }
}

fn kind_of(object: &DeclaredObject) -> DeclaredKind {
    DeclaredKind {
        group: object.group.clone(),
        kind: object.kind.clone(),
        version: object.version.clone(),
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.store.leaves(self.objects.bytes());
    }
}

impl fmt::Debug for Body {
    /// Without the objects, which may hold Secret values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("release", &self.release)
            .field("chart", &self.chart.label)
            .field("objects", &self.count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
