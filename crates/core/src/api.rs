//! The kinds of `helm-guard.dev/v1alpha1`.
//!
//! | kind | scope | what it is |
//! |---|---|---|
//! | [`GuardPolicy`] | cluster | the policy; only the one named [`POLICY_NAME`] is in force |
//! | [`BreakGlassGrant`] | cluster | who may make out-of-band changes to what, and until when |
//! | [`EmergencyChange`] | the release's namespace | a change that was allowed by break-glass, until it is resolved |
//!
//! Invariants
//! - Documents only: [`crate::policy`] and [`crate::breakglass`] interpret them, so a value of these
//!   types may still be invalid.
//! - Unknown fields are errors, both in a file and in the cluster.
//! - The schema and CEL rules reject as much as they can, so that `kubectl apply` shows the error. The
//!   CRDs in deploy/ are generated from these types (`make crds`).

pub mod change;
pub mod grant;
mod mode;
pub mod policy;
pub mod reported;
mod span;

pub use change::{ChangeState, EmergencyChange, EmergencyChangeSpec, EmergencyChangeStatus};
pub use grant::{BreakGlassGrant, BreakGlassGrantSpec, BreakGlassGrantStatus};
pub use mode::{Mode, UnknownMode};
pub use policy::{GuardPolicy, GuardPolicySpec, GuardPolicyStatus};
pub use span::Span;

use kube::CustomResourceExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The API group of all three kinds.
pub const GROUP: &str = "helm-guard.dev";
/// Their version.
pub const VERSION: &str = "v1alpha1";
/// Group and version, as in a manifest: of the three kinds, and of every document that is printed for programs.
pub const API_VERSION: &str = "helm-guard.dev/v1alpha1";
/// The only valid name of a [`GuardPolicy`]. With several policies it would be unclear which rule is in
/// force.
pub const POLICY_NAME: &str = "default";

/// The CRDs of all three kinds, as JSON.
pub fn crds() -> serde_json::Result<Vec<Value>> {
    [
        GuardPolicy::crd(),
        BreakGlassGrant::crd(),
        EmergencyChange::crd(),
    ]
    .into_iter()
    .map(|crd| {
        let mut crd = serde_json::to_value(crd)?;
        drop_unknown_formats(&mut crd);
        Ok(crd)
    })
    .collect()
}

/// Removes formats that the API server does not know, because it warns about them at every apply.
fn drop_unknown_formats(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields
                .get("format")
                .is_some_and(|format| format == "uint32")
            {
                fields.remove("format");
            }
            fields.values_mut().for_each(drop_unknown_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_unknown_formats),
        _ => {}
    }
}

/// A Kubernetes kind in any version.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupKind {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Kind, such as `Deployment`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
}

/// A release by name.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseRef {
    /// Namespace of the release.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the release; all releases of the namespace by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 53))]
    pub name: Option<String>,
}

/// Identities. Names match exactly. Patterns are not supported, because others may be able to create
/// names with a given prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subjects {
    /// User names, after impersonation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub users: Vec<String>,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    pub groups: Vec<String>,
    /// Service accounts, as `NAMESPACE/NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 3, max = 317)))]
    pub service_accounts: Vec<String>,
}

impl Subjects {
    /// Adds the others.
    pub fn extend(&mut self, others: &Self) {
        let lists = [
            (&mut self.users, &others.users),
            (&mut self.groups, &others.groups),
            (&mut self.service_accounts, &others.service_accounts),
        ];
        for (list, others) in lists {
            list.extend(others.iter().cloned());
        }
    }
}

/// Objects that a rule, identity or grant applies to. An object must match every list; an empty list
/// matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectScope {
    /// Namespaces of the object; a cluster-scoped object matches none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Releases that declare the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub releases: Vec<ReleaseRef>,
    /// Kinds of the object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub kinds: Vec<GroupKind>,
}
