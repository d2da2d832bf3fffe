//! What is kept of a record's body: the release it belongs to, its chart, its declared objects.
//!
//! The manifest's text, the chart and the values are gone once it is made.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use super::intern::Interner;
use crate::helm::{ReleaseName, identity::DeclaredObject};

/// Chart and times, as the record has them; for metrics and messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Chart name.
    pub chart: Box<str>,
    /// Chart version.
    pub chart_version: Box<str>,
    /// The chart's `appVersion`.
    pub app_version: Box<str>,
    /// `info.last_deployed`, RFC 3339, where the record has one.
    pub last_deployed: Option<Box<str>>,
    /// `info.deleted`: when its uninstallation began.
    pub deleted: Option<Timestamp>,
}

/// The kept part of one record's body.
pub struct Body {
    release: Arc<ReleaseName>,
    chart: Arc<str>,
    about: Arc<About>,
    /// Sorted by group, kind and name; objects equal in these in the order of the manifest.
    objects: Box<[Arc<DeclaredObject>]>,
    problems: usize,
    interner: Arc<Interner>,
}

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
    /// Keeps `parts`, sharing the texts of objects that are known already.
    pub fn new(parts: Parts, interner: &Arc<Interner>) -> Self {
        let mut objects = parts.objects;
        for object in &mut objects {
            object.json = interner.intern(&object.json);
        }
        objects.sort_by(|a, b| by_name(a).cmp(&by_name(b)));
        let About {
            chart,
            chart_version,
            ..
        } = &parts.about;
        Self {
            release: Arc::new(parts.release),
            chart: format!("{chart}-{chart_version}").into(),
            about: Arc::new(parts.about),
            objects: objects.into_iter().map(Arc::new).collect(),
            problems: parts.problems,
            interner: Arc::clone(interner),
        }
    }

    /// The release that the record belongs to.
    pub fn release(&self) -> &Arc<ReleaseName> {
        &self.release
    }

    /// The chart as `name-version`.
    pub fn chart(&self) -> &Arc<str> {
        &self.chart
    }

    /// Chart and times.
    pub fn about(&self) -> &Arc<About> {
        &self.about
    }

    /// The declared objects.
    pub fn objects(&self) -> &[Arc<DeclaredObject>] {
        &self.objects
    }

    /// Documents of the manifest that did not parse, so that their objects are not guarded.
    pub fn problems(&self) -> usize {
        self.problems
    }

    /// The object that the manifest declares under this name, if it does.
    ///
    /// `namespace` is that of the live object and so tells its scope: where it is empty the object
    /// is cluster-scoped, and a namespace in the document has no meaning. Else the document's
    /// namespace counts, and the release's where the document names none (cli-runtime
    /// `DefaultNamespace`). Of several documents for one object the last wins, as Helm applies them
    /// in order.
    pub fn find(
        &self,
        group: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Option<&Arc<DeclaredObject>> {
        let wanted = (group, kind, name);
        let start = self
            .objects
            .partition_point(|object| by_name(object) < wanted);
        self.objects
            .get(start..)?
            .iter()
            .take_while(|object| by_name(object) == wanted)
            .filter(|object| namespace.is_empty() || self.namespace_of(object) == namespace)
            .last()
    }

    pub(super) fn namespace_of<'a>(&'a self, object: &'a DeclaredObject) -> &'a str {
        match object.namespace.as_deref() {
            None | Some("") => &self.release.namespace,
            Some(namespace) => namespace,
        }
    }
}

fn by_name(object: &DeclaredObject) -> (&str, &str, &str) {
    (&object.group, &object.kind, &object.name)
}

impl Drop for Body {
    fn drop(&mut self) {
        self.interner
            .release(self.objects.iter().map(|object| &object.json));
    }
}

impl fmt::Debug for Body {
    /// Without the objects, which may hold Secret values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("release", &self.release)
            .field("chart", &self.chart)
            .field("objects", &self.objects.len())
            .finish_non_exhaustive()
    }
}
