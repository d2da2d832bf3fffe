//! What is kept of a record's body: the release it belongs to, its chart, its declared objects.
//!
//! The manifest's text, the chart and the values are gone once it is made, and the objects are packed
//! (see [`super::pack`]): they are unpacked one by one when they are asked for.

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
    pack::{Entry, PackError, Packed},
    store::{Chart, Store},
};

/// Chart and times, as the record has them; for metrics and messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Chart name.
    pub chart: Arc<str>,
    /// Chart version.
    pub chart_version: Arc<str>,
    /// The chart's `appVersion`.
    pub app_version: Arc<str>,
    /// `info.last_deployed`, RFC 3339, where the record has one.
    pub last_deployed: Option<Box<str>>,
    /// `info.deleted`: when its uninstallation began.
    pub deleted: Option<Timestamp>,
    /// How Helm applies its objects.
    pub apply_method: ApplyMethod,
    /// Of a pending revision: the service accounts that its hooks run as.
    pub hook_accounts: Arc<[Box<str>]>,
}

/// The kept part of one record's body.
pub struct Body {
    /// Of no other body.
    number: u64,
    release: Arc<ReleaseName>,
    chart: Arc<Chart>,
    about: Arc<About>,
    objects: Packed,
    /// Sorted; those of a chart mostly have the same.
    kinds: Arc<[DeclaredKind]>,
    /// Those that its objects are in, if they are namespaced.
    namespaces: Box<[Arc<str>]>,
    problems: u32,
    cost: usize,
    /// Of an outline: the cost of the whole.
    whole: Option<usize>,
    store: Arc<Store>,
}

/// What a body and an object of it take beside what is packed, in bytes: names, tables, entries.
const BODY: usize = 1024;
const OBJECT: usize = 64;

/// Bytes of names that nearly every body has, mostly the same as others.
const NAMES: usize = 4096;

/// What a [`Body`] is made of.
pub struct Parts {
    /// The release, by the body.
    pub release: ReleaseName,
    /// Chart and times.
    pub about: About,
    /// The declared objects in the order of the manifest.
    pub objects: Vec<DeclaredObject>,
    /// Documents of the manifest that did not parse.
    pub problems: usize,
}

impl Body {
    /// Keeps `parts`, and shares what other bodies in `store` have too.
    pub fn new(parts: Parts, store: &Arc<Store>) -> Self {
        let Parts {
            release,
            about,
            mut objects,
            problems,
        } = parts;
        // What is alike comes together. Objects equal in these stay in the order of the manifest.
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
            whole: None,
            store: Arc::clone(store),
        }
    }

    /// What it takes in the index, in bytes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Of an outline, what the whole body takes.
    pub fn whole(&self) -> Option<usize> {
        self.whole
    }

    /// The same without the objects: it knows which objects it declares, and not as what. None, if it is
    /// one, or if that saves nothing.
    pub(super) fn outline(&self) -> Option<Self> {
        let saved = self.objects.bytes();
        if self.whole.is_some() || saved == 0 {
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
            whole: Some(self.cost),
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

    /// The kinds of the declared objects, in the versions that the manifest has.
    pub fn kinds(&self) -> &Arc<[DeclaredKind]> {
        &self.kinds
    }

    /// Whether it declares an object in this namespace, if the object's kind is namespaced.
    pub fn is_in(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|known| **known == *namespace)
    }

    /// The keys of the declared objects, sorted; an object that is declared twice is there twice.
    pub(super) fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.objects.entries().iter().map(|entry| entry.key)
    }

    /// Documents of the manifest that did not parse, so that their objects are not guarded.
    pub fn problems(&self) -> usize {
        usize::try_from(self.problems).unwrap_or(usize::MAX)
    }

    /// The object that the manifest declares under this name, if it does.
    ///
    /// `namespace` is that of the live object and so tells its scope: where it is empty the object
    /// is cluster-scoped, and a namespace in the document has no meaning. Else the document's
    /// namespace counts, and the release's where the document names none (cli-runtime
    /// `DefaultNamespace`). Of several documents for one object the last wins, as Helm applies them
    /// in order.
    ///
    /// # Errors
    /// When it declares an object that may be this one and can not be read.
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

    /// Logs what must not happen: not that there is no memory for an object.
    pub(super) fn tell(&self, error: PackError) {
        if error != PackError::LeftOut {
            tracing::error!(release = %self.release, %error, "a kept manifest can not be read");
        }
    }

    fn object(&self, entry: &Entry) -> Result<Arc<DeclaredObject>, PackError> {
        let key = CacheKey {
            body: self.number,
            place: entry.place.number(),
        };
        let cache = &self.store.cache;
        if let Some(object) = cache.get(key) {
            return Ok(object);
        }
        let read = self.objects.object(entry.place);
        let object = read.inspect_err(|error| self.tell(*error))?;
        let object = Arc::new(object);
        cache.insert(key, &object);
        Ok(object)
    }
}

/// Bytes that names take of which whoever writes a record may choose as many and as long ones as he likes.
fn names(kinds: &[DeclaredKind], namespaces: &[Arc<str>], about: &About) -> usize {
    let kinds = kinds.iter().map(|kind| {
        size_of::<DeclaredKind>() + kind.group.len() + kind.kind.len() + kind.version.len()
    });
    let namespaces = namespaces
        .iter()
        .map(|name| size_of::<Arc<str>>() + name.len());
    let accounts = about.hook_accounts.iter().map(|name| name.len());
    let chart = about.chart.len() + about.chart_version.len();
    // Once more as the chart's label.
    let about = 2 * chart + about.app_version.len();
    kinds.chain(namespaces).chain(accounts).sum::<usize>() + about
}

/// The last of `entries` by its place, of those before one of them.
fn last<'e>(entries: &'e [Entry], before: Option<&Entry>) -> Option<&'e Entry> {
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
