//! Resolves `KIND/NAME` as kubectl does, and reads the object.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use http::Request;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::Client;
use serde_json::Value;

use crate::cluster::ApiFailure;
use helm_guard_core::text::suggest::did_you_mean;

/// One resource of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownResource {
    pub(super) group: String,
    pub(super) kind: String,
    plural: String,
    is_namespaced: bool,
    /// Whether it has the subresource `scale`.
    pub(super) is_scalable: bool,
    /// The version that the API server prefers.
    pub(super) version: String,
}

/// A kind in any of kubectl's forms: `deploy`, `Deployment`, `deployments.apps`, `hpa.v1.autoscaling`.
struct Given<'a> {
    word: &'a str,
    group: Option<&'a str>,
}

impl<'a> Given<'a> {
    fn of(text: &'a str) -> Self {
        let (word, rest) = match text.split_once('.') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        // `kind.version.group` and `kind.group`.
        let group = rest.map(|rest| match rest.split_once('.') {
            Some((version, group)) if is_version(version) => group,
            _ => rest,
        });
        Self { word, group }
    }

    fn means(&self, resource: &APIResource) -> bool {
        let is = |name: &str| name.eq_ignore_ascii_case(self.word);
        !resource.name.contains('/')
            && (is(&resource.name)
                || is(&resource.singular_name)
                || is(&resource.kind)
                || resource.short_names.iter().flatten().any(|name| is(name)))
    }
}

/// What a kind may be called, for suggestions.
fn names(resources: &[APIResource]) -> impl Iterator<Item = String> {
    let of_objects = resources.iter().filter(|one| !one.name.contains('/'));
    of_objects.flat_map(|one| [one.name.clone(), one.singular_name.clone()])
}

/// `v1`, `v2beta1`
fn is_version(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next() == Some(b'v') && bytes.next().is_some_and(|byte| byte.is_ascii_digit())
}

impl KnownResource {
    /// Searches the API groups in the API server's order, like kubectl.
    pub(super) async fn find(client: &Client, kind: &str) -> anyhow::Result<Self> {
        let given = Given::of(kind);
        let failed = || format!("failed to find the kind {kind:?}");
        let mut failures = 0;
        let mut known = BTreeSet::new();
        if given.group.is_none_or(str::is_empty) {
            let list = client.list_core_api_resources("v1").await;
            let list = list.map_err(ApiFailure::from).with_context(failed)?;
            if let Some(found) = list.resources.iter().find(|resource| given.means(resource)) {
                return Ok(Self::of("", "v1", found, &list.resources));
            }
            known.extend(names(&list.resources));
        }
        let groups = client.list_api_groups().await;
        let groups = groups.map_err(ApiFailure::from).with_context(failed)?;
        for group in groups.groups {
            if given.group.is_some_and(|wanted| wanted != group.name) {
                continue;
            }
            let preferred = group.preferred_version.as_ref();
            let others = group
                .versions
                .iter()
                .filter(|version| Some(*version) != preferred);
            for version in preferred.into_iter().chain(others) {
                match client
                    .list_api_group_resources(&version.group_version)
                    .await
                {
                    Ok(list) => {
                        let mut resources = list.resources.iter();
                        if let Some(found) = resources.find(|resource| given.means(resource)) {
                            let version = &version.version;
                            return Ok(Self::of(&group.name, version, found, &list.resources));
                        }
                        known.extend(names(&list.resources));
                    }
                    // Most kinds do not depend on an aggregated API server that is down.
                    Err(_) => failures += 1,
                }
            }
        }
        if failures > 0 {
            bail!("{}: {failures} API groups do not answer", failed());
        }
        let hint = did_you_mean(given.word, known.iter().map(String::as_str));
        bail!("{}: the API server does not serve it{hint}", failed())
    }

    fn of(group: &str, version: &str, found: &APIResource, all: &[APIResource]) -> Self {
        let scale = format!("{}/scale", found.name);
        Self {
            is_scalable: all.iter().any(|resource| resource.name == scale),
            group: group.to_owned(),
            kind: found.kind.clone(),
            plural: found.name.clone(),
            is_namespaced: found.namespaced,
            version: version.to_owned(),
        }
    }

    /// `given` for a namespaced kind, empty for a cluster-scoped one.
    pub(super) fn namespace<'a>(&self, given: &'a str) -> &'a str {
        if self.is_namespaced { given } else { "" }
    }

    /// A kind without an API server. Its plural is only used where no call is made.
    pub(super) fn named(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_ascii_lowercase()),
            is_namespaced: true,
            is_scalable: false,
            version: version.to_owned(),
        }
    }

    /// Group and preferred version, as in a manifest.
    pub(super) fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    pub(super) fn plural(&self) -> &str {
        &self.plural
    }

    /// The live object in this version; none if there is no such object.
    pub(super) async fn get(
        &self,
        client: &Client,
        version: &str,
        namespace: &str,
        name: &str,
    ) -> anyhow::Result<Option<Value>> {
        let root = match self.group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let scope = match namespace {
            "" => String::new(),
            namespace => format!("/namespaces/{namespace}"),
        };
        let path = format!("{root}{scope}/{}/{name}", self.plural);
        let failed = || format!("failed to get {} {name:?}", self.kind);
        let request = Request::get(path).body(Vec::new()).with_context(failed)?;
        let text = match client.request_text(request).await.map_err(ApiFailure::from) {
            Err(failure) if failure.is_not_found() => return Ok(None),
            text => text.with_context(failed)?,
        };
        serde_json::from_str(&text)
            .map(Some)
            // The library's words quote what they could not read.
            .map_err(|_quotes| anyhow::anyhow!("{}: the answer is not JSON", failed()))
    }
}

/// The API version of an object, without its group.
pub(super) fn version_of(object: &Value) -> &str {
    let api_version = object.get("apiVersion").and_then(Value::as_str);
    let api_version = api_version.unwrap_or_default();
    api_version.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plural("deployments", true)]
    #[case::kind("Deployment", true)]
    #[case::singular("deployment", true)]
    #[case::short("deploy", true)]
    #[case::with_group("deploy.apps", true)]
    #[case::with_version("deployments.v1.apps", true)]
    #[case::other("deploys", false)]
    fn kinds_have_the_forms_of_kubectl(#[case] given: &str, #[case] expected: bool) {
        let resource = APIResource {
            name: "deployments".to_owned(),
            singular_name: "deployment".to_owned(),
            kind: "Deployment".to_owned(),
            short_names: Some(vec!["deploy".to_owned()]),
            ..APIResource::default()
        };
        assert_eq!(Given::of(given).means(&resource), expected);
        let status = APIResource {
            name: "deployments/status".to_owned(),
            ..resource
        };
        assert!(!Given::of(given).means(&status));
    }

    #[test]
    fn a_group_may_have_dots() {
        assert_eq!(Given::of("ingress").group, None);
        assert_eq!(
            Given::of("ingress.networking.k8s.io").group,
            Some("networking.k8s.io")
        );
        assert_eq!(
            Given::of("ingress.v1.networking.k8s.io").group,
            Some("networking.k8s.io")
        );
    }
}
