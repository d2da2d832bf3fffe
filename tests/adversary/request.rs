//! One request of the adversary, as it is sent and as a kubectl command.

use std::fmt;

use http::Method;
use serde_json::Value;

use crate::api::{Api, Reply};

/// The location of an object or a collection on the API server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// `v1` or `GROUP/VERSION`.
    pub version: String,
    /// The resource.
    pub plural: String,
    /// Of namespaced objects.
    pub namespace: Option<String>,
    /// `None` for the collection.
    pub name: Option<String>,
    /// `status`, for example.
    pub subresource: Option<String>,
}

impl Place {
    /// Parses a path without a subresource.
    pub fn parse(path: &str) -> Option<Self> {
        let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (version, rest) = match words.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            _ => (None, rest),
        };
        let (plural, name) = match rest {
            [plural] => (*plural, None),
            [plural, name] => (*plural, Some(*name)),
            _ => return None,
        };
        Some(Self {
            version,
            plural: plural.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            subresource: None,
        })
    }

    /// The location of a subresource.
    pub fn sub(&self, subresource: &str) -> Self {
        Self {
            subresource: Some(subresource.to_owned()),
            ..self.clone()
        }
    }

    /// The same object in another version of its group.
    pub fn in_version(&self, version: &str) -> Self {
        Self {
            version: version.to_owned(),
            ..self.clone()
        }
    }

    /// The object itself.
    pub fn main(&self) -> Self {
        Self {
            subresource: None,
            ..self.clone()
        }
    }

    pub fn collection(&self) -> Self {
        Self {
            name: None,
            subresource: None,
            ..self.clone()
        }
    }

    /// The group, empty for the core group.
    pub fn group(&self) -> &str {
        self.version.split_once('/').map_or("", |(group, _)| group)
    }

    pub fn path(&self) -> String {
        let mut words = vec![crate::declared::prefix(&self.version)];
        if let Some(namespace) = &self.namespace {
            words.extend(["namespaces".to_owned(), namespace.clone()]);
        }
        words.push(self.plural.clone());
        words.extend(
            [&self.name, &self.subresource]
                .into_iter()
                .flatten()
                .cloned(),
        );
        words.join("/")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// JSON merge patch.
    Merge,
    /// JSON patch.
    Json,
    /// Strategic merge patch.
    Strategic,
    /// Forced server-side apply.
    Apply,
    /// PUT.
    Replace,
    /// DELETE of an object.
    Delete,
    DeleteCollection,
    /// POST.
    Create,
}

impl Verb {
    fn method(self) -> Method {
        match self {
            Self::Merge | Self::Json | Self::Strategic | Self::Apply => Method::PATCH,
            Self::Replace => Method::PUT,
            Self::Delete | Self::DeleteCollection => Method::DELETE,
            Self::Create => Method::POST,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Json => "application/json-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
            _ => "application/json",
        }
    }

    /// The name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "patch (merge)",
            Self::Json => "patch (json)",
            Self::Strategic => "patch (strategic)",
            Self::Apply => "patch (apply)",
            Self::Replace => "update",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Create => "create",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Request {
    /// What is done.
    pub verb: Verb,
    /// The location.
    pub place: Place,
    /// `fieldManager=x`, without the question mark.
    pub query: String,
    pub body: Option<Value>,
}

impl Request {
    /// Without a body.
    pub fn new(verb: Verb, place: Place) -> Self {
        Self {
            verb,
            place,
            query: String::new(),
            body: None,
        }
    }

    pub fn with(verb: Verb, place: Place, body: Value) -> Self {
        Self {
            body: Some(body),
            ..Self::new(verb, place)
        }
    }

    /// Path and query.
    fn raw(&self) -> String {
        match self.query.as_str() {
            "" => self.place.path(),
            query => format!("{}?{query}", self.place.path()),
        }
    }

    /// Sends it as a user.
    pub async fn send(&self, api: &Api) -> anyhow::Result<Reply> {
        let path = self.raw();
        let (method, content_type) = (self.verb.method(), self.verb.content_type());
        api.exchange(method, &path, content_type, self.body.as_ref())
            .await
    }
}

/// Longer bodies are cut, because padding is not informative.
const SHOWN: usize = 400;

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let body = match body.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}... ({} bytes)", &body[..end], body.len()),
            None => body,
        };
        let kind = match self.verb {
            Verb::Merge => "merge",
            Verb::Json => "json",
            Verb::Strategic => "strategic",
            Verb::Apply => "apply",
            Verb::Replace | Verb::Delete | Verb::DeleteCollection | Verb::Create => {
                let verb = match self.verb {
                    Verb::Replace => "replace",
                    Verb::Create => "create",
                    _ => "delete",
                };
                write!(f, "kubectl {verb} --raw '{}'", self.raw())?;
                if !body.is_empty() {
                    write!(f, " -f - <<<'{body}'")?;
                }
                return Ok(());
            }
        };
        let version = self.place.version.rsplit('/').next().unwrap_or_default();
        let resource = match self.place.group() {
            "" => self.place.plural.clone(),
            group => format!("{}.{version}.{group}", self.place.plural),
        };
        let name = self.place.name.as_deref().unwrap_or_default();
        write!(f, "kubectl patch {resource} {name}")?;
        if let Some(namespace) = &self.place.namespace {
            write!(f, " -n {namespace}")?;
        }
        if let Some(subresource) = &self.place.subresource {
            write!(f, " --subresource={subresource}")?;
        }
        if let Some(manager) = self.query.strip_prefix("fieldManager=") {
            let manager = manager.split('&').next().unwrap_or_default();
            write!(f, " --field-manager={manager}")?;
        }
        write!(f, " --type={kind} -p '{body}'")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_read_and_written() {
        for path in [
            "/api/v1/namespaces/shop",
            "/api/v1/namespaces/shop/configmaps/settings",
            "/apis/apps/v1/namespaces/shop/deployments/web",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/viewer",
        ] {
            let place = Place::parse(path).unwrap();
            assert_eq!(place.path(), path);
            assert_eq!(place.sub("status").path(), format!("{path}/status"));
        }
    }

    #[test]
    fn a_request_is_printed_as_a_kubectl_command() {
        let place = Place::parse("/apis/apps/v1/namespaces/shop/statefulsets/db").unwrap();
        let request = Request::with(Verb::Merge, place.sub("status"), json!({"a": 1}));
        assert_eq!(
            request.to_string(),
            "kubectl patch statefulsets.v1.apps db -n shop --subresource=status --type=merge -p '{\"a\":1}'"
        );
        let request = Request::new(Verb::Delete, place);
        assert_eq!(
            request.to_string(),
            "kubectl delete --raw '/apis/apps/v1/namespaces/shop/statefulsets/db'"
        );
    }
}
