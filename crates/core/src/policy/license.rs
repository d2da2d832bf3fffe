//! The license of an exempt controller to act on an object.
//!
//! Many controllers act because of a field of the object: the garbage collector follows owner references,
//! the TTL controller a time to live. Anyone who may write that field can make the controller do what
//! they may not do themselves. So an exemption of such a controller holds only while a release declares
//! the field, or a policy exempts the controller explicitly.
//!
//! Invariant: unknown facts count as missing. [`Facts::default`] grants no license.

use serde_json::Value;

use super::tree::Tree;

/// What an exemption of a controller depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum License {
    /// Nothing: no field that a user may write steers the controller to an object. The text is the reason.
    NotNeeded(&'static str),
    /// The policy that enables the preset. The text says what steers the controller to an object.
    Policy(&'static str),
    /// An active manifest declares the field at this JSON pointer.
    Field(&'static str),
    /// An active manifest has one of these annotations.
    Annotation(&'static [&'static str]),
    /// An active manifest has this annotation with this value.
    AnnotationValue(&'static str, &'static str),
    /// An active manifest declares an owner reference that the object has, or a claiming release
    /// declares the owner itself.
    Owner,
    /// The object's namespace has a deletion timestamp, so that its controller deletes everything in it.
    TerminatingNamespace,
    /// A release declares the autoscaler of the object. An undeclared one is allowed too, under its own
    /// reason, unless the policy denies it.
    Autoscaler,
}

/// Whether a release declares the autoscaler of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Autoscaler {
    /// Not looked up.
    #[default]
    Unknown,
    /// A release does.
    Declared,
    /// No release does.
    Undeclared,
}

/// Facts about the cluster for one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The namespace of the object is terminating.
    pub is_terminating: bool,
    /// The uids of owners that a claiming release declares.
    pub owners: &'a [String],
    /// The uids of owners that a claiming release declares by name, but that could not be read.
    pub unknown_owners: &'a [String],
    /// Whether a release declares the autoscaler of the object.
    pub autoscaler: Autoscaler,
}

/// Where a license may be. No `Debug`: a manifest may hold a Secret.
#[derive(Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The object in every active manifest of the claiming releases.
    pub manifests: &'a [Tree<'a>],
    /// What is known about the cluster.
    pub facts: Facts<'a>,
}

impl License {
    /// Whether the license exists.
    pub fn holds(self, evidence: &Evidence<'_>, old_object: Option<&Tree<'_>>) -> bool {
        match self {
            Self::NotNeeded(_) | Self::Policy(_) => true,
            Self::Field(_) | Self::Annotation(_) | Self::AnnotationValue(..) => {
                evidence.manifests.iter().any(|tree| self.is_in(tree))
            }
            Self::Owner => old_object.is_some_and(|old| {
                owner_references(old.value())
                    .any(|owner| evidence.declares_owner(owner) || evidence.vouches_for(owner))
            }),
            Self::TerminatingNamespace => evidence.facts.is_terminating,
            Self::Autoscaler => evidence.facts.autoscaler != Autoscaler::Undeclared,
        }
    }

    /// Whether a manifest declares the field of this license.
    fn is_in(self, manifest: &Tree<'_>) -> bool {
        let annotation = |name| manifest.metadata("annotations", name);
        match self {
            Self::Field(pointer) => {
                let value = manifest.value().pointer(pointer);
                value.is_some_and(|value| !value.is_null())
            }
            Self::Annotation(names) => names.iter().any(|name| annotation(name).is_some()),
            Self::AnnotationValue(name, wanted) => annotation(name) == Some(wanted),
            _ => false,
        }
    }

    /// The fields of an object, as field names, with which a user could issue the license.
    pub fn fields(self) -> Vec<Vec<&'static str>> {
        let annotation = |name| vec!["metadata", "annotations", name];
        match self {
            Self::Field(pointer) => vec![pointer.split('/').skip(1).collect()],
            Self::Annotation(names) => names.iter().map(|name| annotation(name)).collect(),
            Self::AnnotationValue(name, _) => vec![annotation(name)],
            Self::NotNeeded(_)
            | Self::Policy(_)
            | Self::Owner
            | Self::TerminatingNamespace
            | Self::Autoscaler => Vec::new(),
        }
    }

    /// The requirement, for people.
    pub fn describe(self) -> String {
        match self {
            Self::NotNeeded(why) => format!("none needed: {why}"),
            Self::Policy(what) => format!("the policy that enables the preset: {what}"),
            Self::Field(pointer) => format!("a release declares {pointer}"),
            Self::Annotation(names) => {
                format!("a release declares the annotation {}", names.join(" or "))
            }
            Self::AnnotationValue(name, value) => {
                format!("a release declares the annotation {name}: {value:?}")
            }
            Self::Owner => "a release declares the owner reference or the owner".to_owned(),
            Self::TerminatingNamespace => "the namespace is terminating".to_owned(),
            Self::Autoscaler => {
                "a release declares the autoscaler; others pass as undeclared-autoscaler, unless \
                 spec.presets.undeclaredAutoscalers is Deny"
                    .to_owned()
            }
        }
    }
}

impl Evidence<'_> {
    /// Whether an active manifest has this owner reference.
    pub(crate) fn declares_owner(&self, owner: &Value) -> bool {
        let manifests = self.manifests.iter();
        manifests
            .flat_map(|manifest| owner_references(manifest.value()))
            .any(|declared| is_same_owner(declared, owner))
    }

    /// Whether a claiming release declares the owner itself.
    fn vouches_for(&self, owner: &Value) -> bool {
        let uid = owner.get("uid").and_then(Value::as_str);
        uid.is_some_and(|uid| self.facts.owners.iter().any(|known| known == uid))
    }
}

/// `metadata.ownerReferences`; empty if there are none.
pub fn owner_references(object: &Value) -> impl Iterator<Item = &Value> {
    let list = object
        .get("metadata")
        .and_then(|metadata| metadata.get("ownerReferences"))
        .and_then(Value::as_array);
    list.into_iter().flatten()
}

/// Whether two owner references lead the garbage collector to the same owner. It looks up the owner by
/// kind and name, and treats one with another uid as gone (`isDangling` in
/// `pkg/controller/garbagecollector/garbagecollector.go`).
pub(crate) fn is_same_owner(one: &Value, other: &Value) -> bool {
    let text = |owner: &Value, field: &str| {
        let value = owner.get(field).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let group = |owner: &Value| {
        let version = text(owner, "apiVersion");
        version
            .split_once('/')
            .map_or_else(String::new, |(group, _)| group.to_owned())
    };
    ["uid", "kind", "name"]
        .iter()
        .all(|field| text(one, field) == text(other, field))
        && group(one) == group(other)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const TTL: License = License::Field("/spec/ttlSecondsAfterFinished");
    const EDIT: License =
        License::AnnotationValue("acme.cert-manager.io/http01-edit-in-place", "true");
    const INJECT: License = License::Annotation(&["a/b", "c/d"]);

    #[rstest]
    #[case::declared(TTL, json!({"spec": {"ttlSecondsAfterFinished": 0}}), true)]
    #[case::other_field(TTL, json!({"spec": {"backoffLimit": 0}}), false)]
    #[case::null(TTL, json!({"spec": {"ttlSecondsAfterFinished": null}}), false)]
    #[case::value(EDIT, json!({"metadata": {"annotations": {"acme.cert-manager.io/http01-edit-in-place": "true"}}}), true)]
    #[case::other_value(EDIT, json!({"metadata": {"annotations": {"acme.cert-manager.io/http01-edit-in-place": "false"}}}), false)]
    #[case::second_name(INJECT, json!({"metadata": {"annotations": {"c/d": ""}}}), true)]
    #[case::label(INJECT, json!({"metadata": {"labels": {"c/d": ""}}}), false)]
    fn a_field_is_a_license_if_a_manifest_declares_it(
        #[case] license: License,
        #[case] manifest: Value,
        #[case] expected: bool,
    ) {
        let text = manifest.to_string();
        let other = Tree::of("{}");
        let evidence = |manifests: &[Tree<'_>]| {
            let evidence = Evidence {
                manifests,
                facts: Facts::default(),
            };
            license.holds(&evidence, None)
        };
        assert_eq!(evidence(&[other, Tree::of(&text)]), expected);
        assert!(!evidence(&[]));
        // The live object is never evidence, because anyone may have written it.
        let live = Tree::of(&text);
        assert!(!license.holds(&Evidence::default(), Some(&live)));
    }

    #[test]
    fn an_owner_reference_is_a_license_if_it_is_declared_or_its_owner_is() {
        let owner = |uid: &str, name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
        let with = |owner: Value| json!({"metadata": {"ownerReferences": [owner]}}).to_string();
        let (declared, live) = (with(owner("1", "a")), with(owner("1", "a")));
        let other = with(owner("1", "b"));
        let manifests = [Tree::of(&declared)];
        let evidence = Evidence {
            manifests: &manifests,
            facts: Facts::default(),
        };
        let holds = |evidence: &Evidence<'_>, live: &str| {
            License::Owner.holds(evidence, Some(&Tree::of(live)))
        };
        assert!(holds(&evidence, &live));
        assert!(!holds(&evidence, &other), "another name is another owner");
        assert!(!holds(&Evidence::default(), &live));
        assert!(!License::Owner.holds(&evidence, None));
        let owners = ["1".to_owned()];
        let facts = Facts {
            owners: &owners,
            ..Facts::default()
        };
        let vouched = Evidence {
            manifests: &[],
            facts,
        };
        assert!(holds(&vouched, &live));
    }

    #[test]
    fn unknown_facts_grant_no_license() {
        for license in [
            TTL,
            EDIT,
            INJECT,
            License::Owner,
            License::TerminatingNamespace,
        ] {
            assert!(!license.holds(&Evidence::default(), None), "{license:?}");
        }
    }
}
