//! Drift: what of a live object differs from what a release declares, whoever changed it and whenever.
//!
//! The rule is that of the webhook: drift is the change that led from the declared object to the live one, so
//! there is one comparison ([`crate::compare::walk`]).
//!
//! Start at [`drift`]. [`declared_fields`] lists everything that is declared, and [`writers`] who wrote it.

pub mod fields;
pub mod writers;

pub use fields::declared_fields;

use crate::compare::{
    Agreement, Comparison, Declared, Json, Violation, compare, rules::EmptyListPolicy,
    schema::Shape,
};

/// What is known about the kind of an object.
#[derive(Clone, Copy, Debug)]
pub struct KindFacts<'s> {
    /// The types of its fields.
    pub shape: Shape<'s>,
    /// How empty lists are stored.
    pub empties: EmptyListPolicy,
}

/// The declared paths at which `live` has another value, or none. `old` of each is the declared value.
pub fn drift<'a>(declared: Json<'a>, live: Json<'a>, kind: KindFacts<'a>) -> Vec<Violation<'a>> {
    compare(&Comparison {
        declared: Declared::One(declared),
        agreement: Agreement::Every,
        old: declared,
        new: live,
        shape: kind.shape,
        empties: kind.empties,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::compare::schema::builtin::builtin;

    fn declared() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [
                {"name": "web", "image": "web:1", "resources": {"limits": {"cpu": "1000m"}}},
            ]}}},
        })
    }

    #[rstest]
    #[case::nothing("/metadata/uid", json!("u-1"), &[])]
    #[case::respelled("/spec/template/spec/containers/0/resources/limits/cpu", json!("1"), &[])]
    #[case::undeclared("/spec/paused", json!(true), &[])]
    #[case::value("/spec/replicas", json!(5), &[".spec.replicas"])]
    #[case::removed("/metadata/labels", json!({}), &[".metadata.labels.app"])]
    #[case::in_an_item(
        "/spec/template/spec/containers/0/image",
        json!("web:2"),
        &[".spec.template.spec.containers[name=web].image"]
    )]
    #[case::item_gone(
        "/spec/template/spec/containers/0/name",
        json!("other"),
        &[".spec.template.spec.containers[name=web]"]
    )]
    fn drift_is_what_the_webhook_would_call_a_change(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] expected: &[&str],
    ) {
        let declared = declared();
        let mut live = declared.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        live.pointer_mut(parent).unwrap()[key] = value;
        let (declared, live) = (declared.to_string(), live.to_string());
        let kind = KindFacts {
            shape: builtin().lookup("apps", "v1", "Deployment").unwrap(),
            empties: EmptyListPolicy::Dropped,
        };
        let found = drift(Json::of(&declared), Json::of(&live), kind);
        let paths: Vec<String> = found.iter().map(|found| found.path.to_string()).collect();
        assert_eq!(paths, expected);
    }
}
