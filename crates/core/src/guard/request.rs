//! An admission request: borrowed from the body, with unparsed objects.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use super::verdict::Reason;
use crate::{
    compare::{Json, dig},
    policy::identity::UserIdentity,
};

/// The longest credential name that is stored; real ones are short.
const CREDENTIAL_CHARS: usize = 256;

/// What the request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
pub enum Operation {
    /// Create
    Create,
    /// Update, patch and apply
    Update,
    /// Delete of one object, alone or as part of a collection
    Delete,
    /// Exec, attach, port-forward, proxy
    Connect,
    /// An operation that this version does not know: allowed and counted.
    Unknown,
}

/// By way of a string: a derived enum also accepts an object, and reports it as a syntax error.
impl From<String> for Operation {
    fn from(word: String) -> Self {
        Self::of(&word)
    }
}

impl Operation {
    /// The operation with this name in the API.
    pub fn of(word: &str) -> Self {
        match word {
            "CREATE" => Self::Create,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            _ => Self::Unknown,
        }
    }

    /// Its name in the API, which is also the metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Group, version, kind of the object in the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Kind<'a> {
    /// API group, empty for core.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// API version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// Kind.
    #[serde(borrow, default)]
    pub kind: Cow<'a, str>,
}

/// Group, version, resource (plural) that the request went to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Resource<'a> {
    /// API group, empty for core.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// API version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// Plural: `deployments`.
    #[serde(borrow, default)]
    pub resource: Cow<'a, str>,
}

/// An object of the request, as its JSON text. It is not parsed yet, and may be invalid JSON if the
/// sender is not an API server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// The object of this text, without surrounding space.
    pub fn of(text: &'a str) -> Self {
        Self(text)
    }

    /// Its text.
    pub fn get(self) -> &'a str {
        self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(raw.get()))
    }
}

/// Shows nothing of its content: it may be a Secret.
impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} bytes)", self.0.len())
    }
}

/// Who asks, after impersonation.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct UserInfo<'a> {
    /// User name: `system:serviceaccount:ops:emergency-ops`.
    #[serde(borrow, default)]
    pub username: Cow<'a, str>,
    /// Groups.
    #[serde(borrow, default)]
    pub groups: Vec<Cow<'a, str>>,
    /// Extra attributes from the authenticator, such as the scopes of a token.
    #[serde(borrow, default)]
    pub extra: Option<Raw<'a>>,
}

impl UserInfo<'_> {
    /// The identity that a policy matches on.
    pub fn identity(&self) -> UserIdentity<'_> {
        UserIdentity {
            user: &self.username,
            groups: &self.groups,
        }
    }

    /// The token that the user authenticated with (`authentication.kubernetes.io/credential-id`, a
    /// `JTI=…` for a ServiceAccount's): impersonation does not pass it on
    /// (`k8s.io/apiserver/pkg/authentication/serviceaccount/util.go`).
    pub fn credential_id(&self) -> Option<String> {
        let extra: BTreeMap<Cow<'_, str>, Vec<Cow<'_, str>>> =
            serde_json::from_str(self.extra?.get()).ok()?;
        let ids = extra.get("authentication.kubernetes.io/credential-id")?;
        let id = ids.first()?;
        Some(id.chars().take(CREDENTIAL_CHARS).collect())
    }
}

/// The parts of `request.options` that the decision depends on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options<'a> {
    /// The field manager. The client chooses it, so use it for messages and never for trust.
    #[serde(borrow, default)]
    pub field_manager: Option<Cow<'a, str>>,
    /// Of a DELETE: what happens to dependents.
    #[serde(borrow, default)]
    pub(crate) propagation_policy: Option<Cow<'a, str>>,
    /// Of a DELETE: how long to wait.
    #[serde(default)]
    pub(crate) grace_period_seconds: Option<i64>,
    /// For a DELETE: the expected state of the object.
    #[serde(default)]
    pub preconditions: Option<IgnoredAny>,
}

/// Why the objects of a request are unknown: its review was not read far enough. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The review is larger than any that is evaluated.
    TooLarge {
        /// The size of the review, or of the received part.
        size: u64,
        /// The largest review that is evaluated.
        limit: usize,
    },
    /// Too many other reviews were being evaluated.
    OverBudget {
        /// The size of the review.
        size: u64,
    },
    /// The rest of the review did not arrive in time.
    Late,
}

impl Unread {
    /// The reason, where the verdict depends on the objects.
    pub fn reason(self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::OverBudget { .. } => Reason::OverBudget,
            Self::Late => Reason::DeadlineExceeded,
        }
    }
}

/// The `request` of an `AdmissionReview` (admission.k8s.io/v1), borrowed from the body.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Echoed in the answer.
    #[serde(borrow)]
    pub uid: Cow<'a, str>,
    /// The kind of `object` and `old_object`; `Scale` for a scale request.
    #[serde(borrow, default)]
    pub kind: Kind<'a>,
    /// The resource of the request, after conversion to what the rule matched.
    #[serde(borrow, default)]
    pub resource: Resource<'a>,
    /// The kind of the original request, if the API server converted it.
    #[serde(borrow, default)]
    pub request_kind: Option<Kind<'a>>,
    /// `scale`, `status`, …; empty for the object itself.
    #[serde(borrow, default)]
    pub sub_resource: Cow<'a, str>,
    /// Empty for each object of a collection delete: the name is in `old_object`.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// Empty for cluster-scoped objects, except that a request for a Namespace has its own name here.
    #[serde(borrow, default)]
    pub namespace: Cow<'a, str>,
    /// What the request does.
    pub operation: Operation,
    /// Who asks.
    #[serde(borrow, default)]
    pub user_info: UserInfo<'a>,
    /// The object after the request; null on DELETE.
    #[serde(borrow, default)]
    pub object: Option<Raw<'a>>,
    /// The object before the request; null on CREATE.
    #[serde(borrow, default)]
    pub old_object: Option<Raw<'a>>,
    /// Nothing will be persisted, so nothing may be recorded either.
    #[serde(default)]
    pub dry_run: bool,
    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions`.
    #[serde(borrow, default)]
    pub options: Option<Options<'a>>,
    /// Why there are no objects, if the review has some that were not read.
    #[serde(skip)]
    pub unread: Option<Unread>,
    /// The fields of the two objects, if they were found while looking for their ends.
    #[serde(skip)]
    pub parts: Parts<'a>,
}

/// The fields of a request's objects: alternating names, without their quotes, and values.
#[derive(Clone, Default)]
pub struct Parts<'a> {
    /// Of [`Request::object`].
    pub object: Vec<&'a str>,
    /// Of [`Request::old_object`].
    pub old_object: Vec<&'a str>,
}

/// Shows nothing of their content: it may be a Secret.
impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

impl Request<'_> {
    /// [`Self::object`] as JSON.
    pub fn new_json(&self) -> Option<Json<'_>> {
        let object = self.object?;
        Some(Json::with_parts(object.get(), &self.parts.object))
    }

    /// [`Self::old_object`] as JSON.
    pub fn old_json(&self) -> Option<Json<'_>> {
        let object = self.old_object?;
        Some(Json::with_parts(object.get(), &self.parts.old_object))
    }

    /// A string in the metadata of the request's object, such as its uid. A Scale has its parent's.
    pub fn metadata_text(&self, field: &str) -> Option<String> {
        let object = self.old_object.or(self.object)?;
        serde_json::from_str(dig(object.get(), &["metadata", field])?).ok()
    }

    /// The field manager that the client named, if any.
    pub fn field_manager(&self) -> Option<&str> {
        self.options.as_ref()?.field_manager.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_named_as_the_api_server_names_it() {
        for word in ["CREATE", "UPDATE", "DELETE", "CONNECT", "UNKNOWN"] {
            let text = format!(r#"{{"uid":"1","operation":"{word}"}}"#);
            let request: Request<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(request.operation.as_str(), word);
        }
    }

    #[test]
    fn debug_output_of_an_object_is_its_size() {
        let raw = Raw::of(r#"{"password":"hunter2"}"#);
        assert_eq!(format!("{raw:?}"), "Raw(22 bytes)");
        let parts = Parts {
            object: vec!["password", "hunter2"],
            old_object: Vec::new(),
        };
        assert_eq!(format!("{parts:?}"), "Parts");
    }

    #[test]
    fn a_text_of_the_metadata_is_that_of_the_old_object_if_there_is_one() {
        let text = |old: &str, new: &str| {
            let text =
                format!(r#"{{"uid":"1","operation":"UPDATE","oldObject":{old},"object":{new}}}"#);
            let request: Request<'_> = serde_json::from_str(&text).unwrap();
            request.metadata_text("uid")
        };
        let (a, b) = (r#"{"metadata":{"uid":"a"}}"#, r#"{"metadata":{"uid":"b"}}"#);
        assert_eq!(text(a, b).as_deref(), Some("a"));
        assert_eq!(text("null", b).as_deref(), Some("b"));
        assert_eq!(text("{}", b), None);
        assert_eq!(text("null", "null"), None);
    }

    #[test]
    fn a_policy_sees_user_and_groups() {
        let text = r#"{"username":"alice","groups":["ops","dev"]}"#;
        let user: UserInfo<'_> = serde_json::from_str(text).unwrap();
        let identity = user.identity();
        assert_eq!(
            (identity.user, identity.groups),
            ("alice", &["ops".into(), "dev".into()][..])
        );
    }

    #[test]
    fn a_user_has_the_id_of_their_token() {
        let id = |extra: &str| {
            let text = format!(r#"{{"username":"alice","extra":{extra}}}"#);
            let user: UserInfo<'_> = serde_json::from_str(&text).unwrap();
            user.credential_id()
        };
        let token = r#"{"authentication.kubernetes.io/credential-id":["JTI=7"],"a":["b"]}"#;
        assert_eq!(id(token).as_deref(), Some("JTI=7"));
        for none in ["null", "{}", r#"{"a":["b"]}"#, r#"{"a":1}"#] {
            assert_eq!(id(none), None, "{none}");
        }
    }

    #[test]
    fn the_field_manager_is_the_one_that_the_client_named() {
        let named = |options: &str| {
            let text = format!(r#"{{"uid":"1","operation":"UPDATE","options":{options}}}"#);
            let request: Request<'_> = serde_json::from_str(&text).unwrap();
            request.field_manager().map(str::to_owned)
        };
        assert_eq!(named(r#"{"fieldManager":"helm"}"#), Some("helm".to_owned()));
        assert_eq!(named("{}"), None);
        assert_eq!(named("null"), None);
    }
}
