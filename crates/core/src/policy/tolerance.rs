//! Differences of live objects from their manifests that a policy tolerates. The request that made them is unknown.
//!
//! The webhook knows who makes a change, and exempts identities. A live object shows field managers only, and
//! anyone can call himself anything. So a rule tolerates what it lets its identities do, whoever did it: else
//! the work of each exempt controller would be drift. Kind, path, scope and license count as for a request.

use std::sync::Arc;

use super::{
    Act, Policy, Requester, RuleObject, UndeclaredAutoscalers,
    identity::UserIdentity,
    ignore,
    license::{Autoscaler, Evidence, Facts, License},
    rules::Rule,
    tree::Tree,
};
use crate::api::policy::ChartAnnotations;

/// What is known of an object that differs from its manifest. No `Debug`: it may be a Secret.
#[derive(Clone, Copy)]
pub struct Differing<'a> {
    /// The live object; `None` if it is gone.
    pub live: Option<&'a Tree<'a>>,
    /// The object in each active manifest: where a license may be.
    pub manifests: &'a [Tree<'a>],
    /// The autoscaler that scales it; `None` if there is none.
    pub autoscaler: Option<Autoscaler>,
}

impl Policy {
    /// The name of the rule that tolerates a difference: a preset, an exemption, an ignored field.
    pub fn tolerance(
        &self,
        differing: Differing<'_>,
        object: &RuleObject<'_>,
        act: Act<'_>,
    ) -> Option<Arc<str>> {
        let evidence = Evidence {
            manifests: differing.manifests,
            facts: Facts {
                autoscaler: differing.autoscaler.unwrap_or_default(),
                ..Facts::default()
            },
        };
        let has_license = |rule: &Rule| match (rule.license(), differing.autoscaler) {
            (License::Autoscaler, None) => false,
            (License::Autoscaler, Some(Autoscaler::Undeclared)) => {
                self.undeclared_autoscalers != UndeclaredAutoscalers::Deny
            }
            (license, _) => license.holds(&evidence, differing.live),
        };
        let mut rules = self.rules.iter();
        let allowing = rules.find(|rule| rule.is_like(object, act) && has_license(rule));
        if let Some(rule) = allowing {
            return Some(Arc::clone(rule.name()));
        }
        let Act::Change(change) = act else {
            return None;
        };
        // The rules for ignored fields look at managers, and at no user.
        let by = Requester {
            identity: UserIdentity {
                user: "",
                groups: &[],
            },
            field_manager: None,
            old_object: differing.live,
            evidence,
        };
        let mut ignored = self.ignored.iter();
        match ignored.find(|ignored| ignored.covers(by, object, change)) {
            Some(ignored) => Some(Arc::clone(ignored.name())),
            None if self.chart_annotations == ChartAnnotations::Honor => {
                ignore::by_chart(object, change)
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        compare::path::FieldPath,
        helm::ReleaseName,
        policy::{Labels, ObjectPlace, PathChange},
    };

    const DECLARED: Option<Autoscaler> = Some(Autoscaler::Declared);
    const UNDECLARED: Option<Autoscaler> = Some(Autoscaler::Undeclared);
    const INJECTED: &str = "cert-manager.io/inject-ca-from";
    const CRD: &str = "apiextensions.k8s.io/CustomResourceDefinition";
    const CA_BUNDLE: &str = ".spec.conversion.webhook.clientConfig.caBundle";

    fn tolerated(
        policy: Value,
        kind: &str,
        manifest: &Value,
        autoscaler: Option<Autoscaler>,
        act: &str,
    ) -> Option<String> {
        let policy = Policy::compile(&serde_json::from_value(policy).unwrap()).unwrap();
        let (group, kind) = kind.split_once('/').unwrap();
        let (text, path) = (manifest.to_string(), act.parse::<FieldPath>());
        let manifests = [Tree::of(&text)];
        let release = ReleaseName {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        let object = RuleObject {
            place: ObjectPlace {
                group,
                kind,
                namespace: "shop",
                release: &release,
                chart: "web-1",
            },
            version: "v1",
            name: "web",
            labels: Labels::Unknown,
            manifest: manifests.first(),
        };
        let live = Tree::of(
            r#"{"metadata":{"managedFields":[{"manager":"robot","fieldsV1":{"f:spec":{"f:image":{}}}}]}}"#,
        );
        let differing = Differing {
            live: Some(&live),
            manifests: &manifests,
            autoscaler,
        };
        let act = match (act, &path) {
            ("delete", _) => Act::Delete,
            ("scale", _) => Act::Scale,
            (_, Ok(path)) => Act::Change(PathChange {
                path,
                old: Some("\"1Gi\""),
                new: Some("\"2Gi\""),
            }),
            (other, Err(_)) => panic!("{other}"),
        };
        let name = policy.tolerance(differing, &object, act);
        name.map(|name| name.to_string())
    }

    #[rstest]
    #[case::of_the_release(json!({}), DECLARED, Some("horizontal-pod-autoscaler"))]
    #[case::of_nobody(json!({}), UNDECLARED, Some("horizontal-pod-autoscaler"))]
    #[case::denied(json!({"presets": {"undeclaredAutoscalers": "Deny"}}), UNDECLARED, None)]
    #[case::none(json!({}), None, None)]
    #[case::disabled(json!({"presets": {"disable": ["horizontal-pod-autoscaler"]}}), DECLARED, None)]
    fn replicas_are_tolerated_if_something_scales_the_object(
        #[case] policy: Value,
        #[case] autoscaler: Option<Autoscaler>,
        #[case] expected: Option<&str>,
    ) {
        let found = tolerated(policy, "apps/Deployment", &json!({}), autoscaler, "scale");
        assert_eq!(found.as_deref(), expected);
    }

    #[rstest]
    #[case::licensed(json!({}), CRD, json!({"metadata": {"annotations": {INJECTED: "a/b"}}}), CA_BUNDLE, Some("ca-bundle"))]
    #[case::unlicensed(json!({}), CRD, json!({}), CA_BUNDLE, None)]
    #[case::aggregated(
        json!({}), "rbac.authorization.k8s.io/ClusterRole", json!({"aggregationRule": {}}), ".rules",
        Some("clusterrole-aggregation")
    )]
    #[case::finished_job(
        json!({}), "batch/Job", json!({"spec": {"ttlSecondsAfterFinished": 5}}), "delete", Some("ttl-after-finished")
    )]
    #[case::job_without_a_time_to_live(json!({}), "batch/Job", json!({}), "delete", None)]
    #[case::grown_claim(
        json!({"presets": {"enable": [{"name": "pvc-growth"}]}}), "/PersistentVolumeClaim", json!({}),
        ".spec.resources.requests.storage", Some("pvc-growth")
    )]
    #[case::exempt_identity(
        json!({"exemptions": [{"name": "ci", "subjects": {"users": ["ci"]}, "kinds": [{"group": "apps", "kind": "Deployment"}], "paths": ["/spec/image"]}]}),
        "apps/Deployment", json!({}), ".spec.image", Some("ci")
    )]
    #[case::ignored(json!({"ignore": [{"name": "image", "paths": ["/spec/image"]}]}), "apps/Deployment", json!({}), ".spec.image", Some("image"))]
    #[case::ignored_elsewhere(json!({"ignore": [{"paths": ["/spec/other"]}]}), "apps/Deployment", json!({}), ".spec.image", None)]
    #[case::by_manager(json!({"ignore": [{"name": "m", "managedFieldsManagers": ["robot"]}]}), "apps/Deployment", json!({}), ".spec.image", Some("m"))]
    #[case::of_another_manager(json!({"ignore": [{"name": "m", "managedFieldsManagers": ["robot"]}]}), "apps/Deployment", json!({}), ".spec.other", None)]
    fn rules_tolerate_by_kind_path_and_license(
        #[case] policy: Value,
        #[case] kind: &str,
        #[case] manifest: Value,
        #[case] act: &str,
        #[case] expected: Option<&str>,
    ) {
        let found = tolerated(policy, kind, &manifest, None, act);
        assert_eq!(found.as_deref(), expected);
    }
}
