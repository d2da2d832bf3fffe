//! Which object a request is about, and the answers that need no lookup.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    request::{Operation, Raw, Request, Unread},
    verdict::Reason,
};
use crate::{compare::dig, helm::ReleaseName, names};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestSubject<'r> {
    /// The object in the request.
    Object(ObjectRef<'r>),
    /// The parent of a Scale object: its resource is known, its kind must be looked up.
    ScaleOf {
        /// The parent's group.
        group: &'r str,
        /// The parent's resource: `deployments`.
        resource: &'r str,
        /// The namespace of both.
        namespace: &'r str,
        /// The name of both.
        name: Cow<'r, str>,
    },
}

/// What a request does to the object it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Writes the object.
    Update,
    /// Writes a subresource: labels, annotations, finalizers and owner references come from the
    /// request, everything else that can be declared from the stored object (`PrepareForUpdate` of
    /// the kind's status strategy).
    UpdateMetadata,
    /// Writes the replicas of a parent through a Scale object.
    Scale,
    /// Deletes the object.
    Delete,
}

/// What a request does; `None` if it cannot change or delete a declared object.
///
/// A Binding sets its labels and annotations on the Pod, over existing ones
/// (`setPodNodeAndMetadata` in `pkg/registry/core/pod/storage/storage.go`). The API server deletes
/// a Pod for an Eviction without another admission request
/// (`pkg/registry/core/pod/storage/eviction.go`), so creating one counts as the deletion.
pub fn effect(request: &Request<'_>) -> Option<Effect> {
    match (request.operation, &*request.sub_resource) {
        (Operation::Update, "" | "resize" | "ephemeralcontainers") => Some(Effect::Update),
        (Operation::Update, "status" | "approval" | "finalize") => Some(Effect::UpdateMetadata),
        (Operation::Update, "scale") => Some(Effect::Scale),
        (Operation::Delete, "") => Some(Effect::Delete),
        (Operation::Create, "eviction") if is_eviction(request) => Some(Effect::Delete),
        (Operation::Create, _) if is_binding(request) => Some(Effect::UpdateMetadata),
        _ => None,
    }
}

/// Whether a request schedules a Pod. It has no old object, and the new one is not the Pod.
pub fn is_binding(request: &Request<'_>) -> bool {
    let resource = (&*request.resource.resource, &*request.sub_resource);
    request.operation == Operation::Create
        && request.resource.group.is_empty()
        && matches!(resource, ("pods", "binding") | ("bindings", ""))
}

fn is_eviction(request: &Request<'_>) -> bool {
    request.sub_resource == "eviction"
        && request.resource.group.is_empty()
        && request.resource.resource == "pods"
}

/// The name of an object, borrowed from a request. Namespace is empty for cluster-scoped objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectRef<'r> {
    /// API group, empty for core.
    pub group: &'r str,
    /// Kind.
    pub kind: &'r str,
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: &'r str,
    /// Name.
    pub name: Cow<'r, str>,
}

/// The reason to answer at once, before anything is looked up or parsed.
pub fn screen(request: &Request<'_>) -> Option<Reason> {
    let Some(effect) = effect(request) else {
        return Some(Reason::NotJudged);
    };
    if let Some(unread) = request.unread {
        // It is evaluated without its objects if it names the one that it is about.
        let is_judged = unread != Unread::Late && !request.name.is_empty();
        return (!is_judged).then(|| unread.reason());
    }
    match (effect, request.old_object, request.object) {
        (Effect::Delete, Some(_), _) => None,
        // A deletion that names its object needs no old object; an old API server sends none, and
        // an eviction has none.
        (Effect::Delete, None, _) if !request.name.is_empty() => None,
        (_, Some(old), Some(new)) if old.get() == new.get() => Some(Reason::Unchanged),
        (_, Some(_), Some(_)) => None,
        (Effect::UpdateMetadata, None, Some(_)) if is_binding(request) => None,
        _ => Some(Reason::ObjectUnreadable),
    }
}

/// What the request is about.
///
/// # Errors
/// [`Reason::ObjectUnreadable`] when the request names no object and carries none that does.
pub fn subject<'r>(request: &'r Request<'_>) -> Result<RequestSubject<'r>, Reason> {
    let name = name(request).ok_or(Reason::ObjectUnreadable)?;
    // The API server puts the name of a Namespace into `namespace` too, though it is
    // cluster-scoped (apiserver's RequestInfo).
    let is_namespace = request.kind.group.is_empty() && request.kind.kind == "Namespace";
    let namespace = if is_namespace {
        ""
    } else {
        &*request.namespace
    };
    if request.sub_resource == "scale" {
        return Ok(RequestSubject::ScaleOf {
            group: &request.resource.group,
            resource: &request.resource.resource,
            namespace,
            name,
        });
    }
    let (group, kind) = if is_eviction(request) || is_binding(request) {
        ("", "Pod")
    } else {
        (&*request.kind.group, &*request.kind.kind)
    };
    Ok(RequestSubject::Object(ObjectRef {
        group,
        kind,
        namespace,
        name,
    }))
}

/// The release that an object names as its owner. Anyone can write that, so it is only a hint where
/// to look. Invalid names of namespaces or releases are ignored.
pub fn owner(object: Raw<'_>) -> Option<ReleaseName> {
    owner_in(object.get())
}

/// The same, from the JSON text of an object.
pub fn owner_in(object: &str) -> Option<ReleaseName> {
    let annotations = dig(object, &["metadata", "annotations"])?;
    named(|key| serde_json::from_str(dig(annotations, &[key])?).ok())
}

/// The same, from its annotations.
pub fn owner_of(annotations: &BTreeMap<String, String>) -> Option<ReleaseName> {
    named(|key| annotations.get(key).cloned())
}

fn named(annotation: impl Fn(&str) -> Option<String>) -> Option<ReleaseName> {
    let namespace = annotation("meta.helm.sh/release-namespace")?;
    let name = annotation("meta.helm.sh/release-name")?;
    (names::is_label(&namespace) && names::is_subdomain(&name))
        .then_some(ReleaseName { namespace, name })
}

/// The releases that a request's object names as its owners, before and after the request.
pub fn owners(request: &Request<'_>) -> Vec<ReleaseName> {
    let mut owners: Vec<_> = [request.old_object, request.object]
        .into_iter()
        .flatten()
        .filter_map(owner)
        .collect();
    owners.dedup();
    owners
}

/// Whether an eviction is a dry run by its own delete options, which `request.dryRun` does not reflect.
pub fn is_dry_run_eviction(request: &Request<'_>) -> bool {
    let options = || dig(request.object?.get(), &["deleteOptions", "dryRun"]);
    is_eviction(request)
        && options()
            .and_then(|text| serde_json::from_str::<Vec<String>>(text).ok())
            .is_some_and(|stages| stages.iter().any(|stage| stage == "All"))
}

/// `request.name` is empty for each object of a collection that is deleted, and then only the old
/// object has it.
fn name<'r>(request: &'r Request<'_>) -> Option<Cow<'r, str>> {
    if !request.name.is_empty() {
        return Some(Cow::Borrowed(&*request.name));
    }
    let object = request.old_object.or(request.object)?;
    let name: String = serde_json::from_str(dig(object.get(), &["metadata", "name"])?).ok()?;
    (!name.is_empty()).then_some(Cow::Owned(name))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn request(text: &str) -> Request<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[rstest]
    #[case::both("shop", "web", true)]
    #[case::dots("shop", "web.v2", true)]
    #[case::two_dots("shop", "web..v2", false)]
    #[case::namespace_with_a_dot("shop.v2", "web", false)]
    #[case::no_namespace("", "web", false)]
    #[case::no_name("shop", "", false)]
    #[case::a_selector("shop", "web,owner!=helm", false)]
    #[case::a_path("../kube-system", "web", false)]
    #[case::upper_case("shop", "Web", false)]
    #[case::ends_with_a_dash("shop", "web-", false)]
    #[case::begins_with_a_dash("shop", "-web", false)]
    #[case::digits("0shop9", "9web0", true)]
    #[case::as_long_as_may_be("shop", &"w".repeat(253), true)]
    #[case::too_long("shop", &"w".repeat(254), false)]
    fn an_owner_is_ignored_unless_its_names_are_valid(
        #[case] namespace: &str,
        #[case] name: &str,
        #[case] expected: bool,
    ) {
        let object = json!({"metadata": {"annotations": {
            "meta.helm.sh/release-name": name,
            "meta.helm.sh/release-namespace": namespace,
        }}});
        let annotations = object["metadata"]["annotations"].clone();
        let annotations: BTreeMap<String, String> = serde_json::from_value(annotations).unwrap();
        let found = owner(Raw::of(&object.to_string()));
        assert_eq!(owner_of(&annotations), found);
        let names = found.map(|owner| (owner.namespace, owner.name));
        assert_eq!(
            names,
            expected.then(|| (namespace.to_owned(), name.to_owned()))
        );
    }

    #[test]
    fn an_object_without_annotations_has_no_owner() {
        for object in [
            json!({}),
            json!({"metadata": {}}),
            json!({"metadata": {"annotations": {}}}),
            json!(1),
        ] {
            assert_eq!(owner(Raw::of(&object.to_string())), None);
        }
    }

    #[rstest]
    #[case::create(r#""operation":"CREATE","object":{}"#, Some(Reason::NotJudged))]
    #[case::update(r#""operation":"UPDATE","oldObject":{},"object":{"a":1}"#, None)]
    #[case::the_same_bytes(
        r#""operation":"UPDATE","oldObject":{"a":1},"object":{"a":1}"#,
        Some(Reason::Unchanged)
    )]
    #[case::no_old_object(
        r#""operation":"UPDATE","object":{"a":1}"#,
        Some(Reason::ObjectUnreadable)
    )]
    #[case::delete(r#""operation":"DELETE","oldObject":{}"#, None)]
    #[case::delete_by_name(r#""operation":"DELETE","name":"web""#, None)]
    #[case::delete_of_nothing(r#""operation":"DELETE""#, Some(Reason::ObjectUnreadable))]
    #[case::scale(
        r#""operation":"UPDATE","subResource":"scale","oldObject":{},"object":{"a":1}"#,
        None
    )]
    #[case::delete_of_a_scale(
        r#""operation":"DELETE","subResource":"scale","oldObject":{}"#,
        Some(Reason::NotJudged)
    )]
    #[case::status(
        r#""operation":"UPDATE","subResource":"status","oldObject":{},"object":{"a":1}"#,
        None
    )]
    #[case::resize(
        r#""operation":"UPDATE","subResource":"resize","oldObject":{},"object":{"a":1}"#,
        None
    )]
    #[case::eviction(
        r#""operation":"CREATE","subResource":"eviction","name":"web","object":{},
            "resource":{"resource":"pods"}"#,
        None
    )]
    #[case::eviction_of_nobody(
        r#""operation":"CREATE","subResource":"eviction","object":{},"resource":{"resource":"pods"}"#,
        Some(Reason::ObjectUnreadable)
    )]
    #[case::eviction_of_another_kind(
        r#""operation":"CREATE","subResource":"eviction","name":"web","object":{},
            "resource":{"group":"example.com","resource":"pods"}"#,
        Some(Reason::NotJudged)
    )]
    #[case::binding(
        r#""operation":"CREATE","subResource":"binding","name":"web","object":{},
            "resource":{"resource":"pods"}"#,
        None
    )]
    #[case::binding_without_an_object(
        r#""operation":"CREATE","subResource":"binding","name":"web","resource":{"resource":"pods"}"#,
        Some(Reason::ObjectUnreadable)
    )]
    #[case::status_without_an_old_object(
        r#""operation":"UPDATE","subResource":"status","name":"web","object":{}"#,
        Some(Reason::ObjectUnreadable)
    )]
    #[case::binding_of_another_group(
        r#""operation":"CREATE","subResource":"binding","name":"web","object":{},
            "resource":{"group":"example.com","resource":"pods"}"#,
        Some(Reason::NotJudged)
    )]
    #[case::token(
        r#""operation":"CREATE","subResource":"token","name":"web","object":{},
            "resource":{"resource":"serviceaccounts"}"#,
        Some(Reason::NotJudged)
    )]
    #[case::another_subresource(
        r#""operation":"UPDATE","subResource":"proxy","oldObject":{},"object":{"a":1}"#,
        Some(Reason::NotJudged)
    )]
    fn requests_without_a_lookup_are_answered_at_once(
        #[case] parts: &str,
        #[case] expected: Option<Reason>,
    ) {
        let text = format!(r#"{{"uid":"1",{parts}}}"#);
        assert_eq!(screen(&request(&text)), expected);
    }

    #[rstest]
    #[case::named(Unread::OverBudget { size: 1 }, "web", true)]
    #[case::nameless(Unread::OverBudget { size: 1 }, "", false)]
    #[case::late(Unread::Late, "web", false)]
    fn an_unread_request_is_evaluated_if_it_names_its_object_in_time(
        #[case] unread: Unread,
        #[case] name: &str,
        #[case] is_evaluated: bool,
    ) {
        let text = format!(r#"{{"uid":"1","operation":"UPDATE","name":"{name}"}}"#);
        let request = Request {
            unread: Some(unread),
            ..request(&text)
        };
        assert_eq!(screen(&request), (!is_evaluated).then(|| unread.reason()));
    }

    #[rstest]
    #[case::all("eviction", "pods", r#"{"dryRun":["All"]}"#, true)]
    #[case::nothing("eviction", "pods", r#"{"dryRun":[]}"#, false)]
    #[case::another_stage("eviction", "pods", r#"{"dryRun":["Some"]}"#, false)]
    #[case::no_options("eviction", "pods", "null", false)]
    #[case::no_eviction("binding", "pods", r#"{"dryRun":["All"]}"#, false)]
    fn an_eviction_may_be_a_dry_run_by_its_own_options(
        #[case] subresource: &str,
        #[case] resource: &str,
        #[case] options: &str,
        #[case] expected: bool,
    ) {
        let text = format!(
            r#"{{"uid":"1","operation":"CREATE","subResource":"{subresource}","name":"web",
                "resource":{{"resource":"{resource}"}},"object":{{"deleteOptions":{options}}}}}"#
        );
        assert_eq!(is_dry_run_eviction(&request(&text)), expected);
    }

    #[rstest]
    #[case::of_the_request(r#""name":"web","oldObject":{"metadata":{"name":"x"}}"#, Some("web"))]
    #[case::of_the_old_object(
        r#""oldObject":{"metadata":{"name":"web"}},"object":{"metadata":{"name":"x"}}"#,
        Some("web")
    )]
    #[case::of_the_new_object(r#""object":{"metadata":{"name":"web"}}"#, Some("web"))]
    #[case::empty(r#""oldObject":{"metadata":{"name":""}}"#, None)]
    #[case::none(r#""oldObject":{"metadata":{}}"#, None)]
    fn an_object_has_the_name_of_its_request_or_its_own(
        #[case] parts: &str,
        #[case] expected: Option<&str>,
    ) {
        let text = format!(
            r#"{{"uid":"1","operation":"DELETE","namespace":"shop",
                "kind":{{"group":"apps","kind":"Deployment"}},{parts}}}"#
        );
        let expected = expected.map(|name| {
            RequestSubject::Object(ObjectRef {
                group: "apps",
                kind: "Deployment",
                namespace: "shop",
                name: name.into(),
            })
        });
        assert_eq!(
            subject(&request(&text)),
            expected.ok_or(Reason::ObjectUnreadable)
        );
    }

    #[rstest]
    #[case::core_namespace("", "Namespace", "")]
    #[case::another_groups_namespace("example.com", "Namespace", "shop")]
    #[case::another_kind("", "Service", "shop")]
    fn only_the_core_namespace_kind_is_cluster_scoped(
        #[case] group: &str,
        #[case] kind: &str,
        #[case] expected: &str,
    ) {
        let text = json!({
            "uid": "1", "operation": "DELETE", "name": "web", "namespace": "shop",
            "kind": {"group": group, "kind": kind},
        })
        .to_string();
        let request = request(&text);
        let Ok(RequestSubject::Object(object)) = subject(&request) else {
            panic!("the request is about an object");
        };
        assert_eq!(object.namespace, expected);
    }

    #[test]
    fn a_scale_request_is_about_its_parent() {
        let text = r#"{"uid":"1","operation":"UPDATE","subResource":"scale","name":"web",
            "namespace":"shop","kind":{"group":"autoscaling","kind":"Scale"},
            "resource":{"group":"apps","resource":"deployments"}}"#;
        let expected = RequestSubject::ScaleOf {
            group: "apps",
            resource: "deployments",
            namespace: "shop",
            name: "web".into(),
        };
        assert_eq!(subject(&request(text)), Ok(expected));
    }

    #[rstest]
    #[case::eviction("pods", "eviction", "Eviction")]
    #[case::binding("pods", "binding", "Binding")]
    #[case::binding_without_a_subresource("bindings", "", "Binding")]
    fn evictions_and_bindings_are_about_the_pod(
        #[case] resource: &str,
        #[case] subresource: &str,
        #[case] kind: &str,
    ) {
        let text = json!({
            "uid": "1", "operation": "CREATE", "subResource": subresource, "namespace": "shop",
            "kind": {"version": "v1", "kind": kind},
            "resource": {"version": "v1", "resource": resource},
            "object": {"metadata": {"name": "web"}},
        })
        .to_string();
        let expected = RequestSubject::Object(ObjectRef {
            group: "",
            kind: "Pod",
            namespace: "shop",
            name: "web".into(),
        });
        assert_eq!(subject(&request(&text)), Ok(expected));
    }

    #[test]
    fn owners_before_and_after_are_listed_once() {
        let owned = |name: &str| {
            json!({"metadata": {"annotations": {
                "meta.helm.sh/release-name": name,
                "meta.helm.sh/release-namespace": "shop",
            }}})
        };
        let names = |old, new| {
            let text = json!({"uid": "1", "operation": "UPDATE", "oldObject": old, "object": new})
                .to_string();
            let owners = owners(&request(&text));
            owners
                .into_iter()
                .map(|owner| owner.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(owned("a"), owned("b")), ["a", "b"]);
        assert_eq!(names(owned("a"), owned("a")), ["a"]);
        assert_eq!(names(json!({}), owned("b")), ["b"]);
    }
}
