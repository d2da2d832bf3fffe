//! The kinds of `helm-guard.dev/v1alpha1`: what people write, and what the guard writes for them.
//!
//! | kind | scope | what it is |
//! |---|---|---|
//! | [`GuardPolicy`] | cluster | who may do what, where: the one named [`POLICY_NAME`] is in force |
//! | [`BreakGlassGrant`] | cluster | who may break the glass for what, and until when |
//! | [`EmergencyChange`] | the release's namespace | a change that passed because of a grant, until it is settled |
//!
//! Invariants
//! - Documents only: no meaning is given to them here ([`crate::policy`] and [`crate::breakglass`]
//!   do that), so a value of these types may still make no sense.
//! - Unknown fields are errors, in a file and in the cluster alike.
//! - What a schema and CEL can refuse, they refuse, so that `kubectl apply` says it; the definitions
//!   in deploy/ are generated from these types (`make crds`).

pub mod change;
pub mod grant;
mod mode;
pub mod policy;
mod span;

pub use change::{EmergencyChange, EmergencyChangeSpec, EmergencyChangeStatus, State};
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
/// The one [`GuardPolicy`] that counts: two would have to be merged, and nobody could say what is in
/// force.
pub const POLICY_NAME: &str = "default";

/// The definitions of all three kinds, as JSON.
pub fn definitions() -> serde_json::Result<Vec<Value>> {
    [
        GuardPolicy::crd(),
        BreakGlassGrant::crd(),
        EmergencyChange::crd(),
    ]
    .into_iter()
    .map(|definition| {
        let mut definition = serde_json::to_value(definition)?;
        drop_unknown_formats(&mut definition);
        Ok(definition)
    })
    .collect()
}

/// The API server warns of formats that it does not know, at every apply.
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

/// A kind of Kubernetes, in any version.
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
    /// The release's own namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name; all releases of the namespace unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 53))]
    pub name: Option<String>,
}

/// Who asks. All names match exactly; there are no patterns, because a prefix of a name is a name that
/// somebody else may mint.
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
    /// These and the others.
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

/// For what a break-glass identity or a grant is good. Every list that is given must hold; one that is
/// empty holds for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scope {
    /// Namespaces of the object that is changed; a cluster-scoped object is in none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Releases that declare it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub releases: Vec<ReleaseRef>,
    /// Its kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub kinds: Vec<GroupKind>,
}
