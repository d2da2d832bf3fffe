use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::policy::{
    Policy,
    tests::{Asked, policy},
};

const AGGREGATION: &str = "system:serviceaccount:kube-system:clusterrole-aggregation-controller";
const HPA: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
const ROLLOUTS: &str = "system:serviceaccount:argo-rollouts:argo-rollouts";
const FLAGGER: &str = "system:serviceaccount:flagger-system:flagger";
const RBAC: &str = "rbac.authorization.k8s.io";

fn with(presets: &Value) -> Policy {
    policy(json!({"presets": presets}))
}

fn name(policy: &Policy, asked: Asked<'_>) -> Option<String> {
    asked.exemption(policy).map(|name| name.to_string())
}

#[rstest]
#[case::scale(HPA, ("apps", "Deployment"), "scale", Some("horizontal-pod-autoscaler"))]
#[case::by_another_way(HPA, ("apps", "Deployment"), ".spec.replicas", None)]
#[case::something_else(HPA, ("apps", "Deployment"), "delete", None)]
#[case::somebody_else("alice", ("apps", "Deployment"), "scale", None)]
#[case::path(AGGREGATION, (RBAC, "ClusterRole"), ".rules", Some("clusterrole-aggregation"))]
#[case::another_path(AGGREGATION, (RBAC, "ClusterRole"), ".aggregationRule", None)]
#[case::another_kind(AGGREGATION, (RBAC, "Role"), ".rules", None)]
#[case::longer_namespace("system:serviceaccount:kube-system-mine:horizontal-pod-autoscaler", ("apps", "Deployment"), "scale", None)]
#[case::longer_name("system:serviceaccount:kube-system:horizontal-pod-autoscaler2", ("apps", "Deployment"), "scale", None)]
#[case::off_by_itself(ROLLOUTS, ("apps", "Deployment"), ".spec.replicas", None)]
fn a_preset_is_bound_to_user_kind_and_path(
    #[case] user: &str,
    #[case] kind: (&str, &str),
    #[case] act: &str,
    #[case] expected: Option<&str>,
) {
    let asked = Asked {
        manifest: Some(r#"{"aggregationRule": {"clusterRoleSelectors": []}}"#),
        ..Asked::by(user).kind(kind).act(act)
    };
    assert_eq!(name(&Policy::default(), asked).as_deref(), expected);
}

#[test]
fn a_preset_holds_only_while_its_license_is_declared() {
    let asked = Asked::by(AGGREGATION)
        .kind((RBAC, "ClusterRole"))
        .act(".rules");
    let ask = |manifest| {
        let asked = Asked {
            manifest: Some(manifest),
            ..asked
        };
        name(&Policy::default(), asked)
    };
    assert!(ask(r#"{"aggregationRule": {}}"#).is_some());
    assert_eq!(ask(r#"{"rules": []}"#), None);
    assert_eq!(name(&Policy::default(), asked), None);
}

/// Selectors are one value to the API, and these controllers change them.
#[rstest]
#[case::the_hash_of_a_rollout(
    "argo-rollouts",
    ROLLOUTS,
    ".spec.selector.rollouts-pod-template-hash",
    true
)]
#[case::another_key("argo-rollouts", ROLLOUTS, ".spec.selector.app", false)]
#[case::all_of_it("argo-rollouts", ROLLOUTS, ".spec.selector", false)]
#[case::ports(
    "argo-rollouts",
    ROLLOUTS,
    ".spec.ports[port=80,protocol=TCP].targetPort",
    false
)]
#[case::by_somebody_else(
    "argo-rollouts",
    "alice",
    ".spec.selector.rollouts-pod-template-hash",
    false
)]
#[case::a_key_by_flagger("flagger", FLAGGER, ".spec.selector.app", true)]
#[case::all_of_it_by_flagger("flagger", FLAGGER, ".spec.selector", true)]
#[case::ports_by_flagger("flagger", FLAGGER, ".spec.ports", false)]
#[case::as_flagger("flagger", "alice", ".spec.selector.app", false)]
fn a_progressive_delivery_controller_may_switch_the_selector_of_a_service(
    #[case] preset: &str,
    #[case] user: &str,
    #[case] path: &str,
    #[case] allowed: bool,
) {
    let policy = with(&json!({"enable": [{"name": preset}]}));
    let asked = Asked::by(user).kind(("", "Service")).act(path);
    assert_eq!(name(&policy, asked).as_deref(), allowed.then_some(preset));
    assert_eq!(name(&Policy::default(), asked), None, "off by itself");
}

/// Who, on what, with which annotation, doing what.
type PresetRequest<'a> = (&'a str, (&'a str, &'a str), &'a str, &'a str);

const PULL_SECRETS: &str =
    "system:serviceaccount:openshift-infra:serviceaccount-pull-secrets-controller";
const TRIGGERS: &str = "system:serviceaccount:openshift-infra:image-trigger-controller";
const ALLOCATION: &str =
    "system:serviceaccount:openshift-infra:namespace-security-allocation-controller";
const SERVICE_CA: &str = "system:serviceaccount:openshift-service-ca:service-ca";
const VAULT: &str = "system:serviceaccount:vault:vault-agent-injector";
const GATEKEEPER: &str = "system:serviceaccount:gatekeeper-system:gatekeeper-admin";
const PROPORTIONAL: &str = "system:serviceaccount:kube-system:cluster-proportional-autoscaler";
const HOOKS: &str = "admissionregistration.k8s.io";
const BUNDLE: &str = ".webhooks[name=a.example.com].clientConfig.caBundle";
const IMAGE: &str = ".spec.template.spec.containers[name=a].image";

#[rstest]
#[case::pull_secrets("openshift", (PULL_SECRETS, ("", "ServiceAccount"), "", ".imagePullSecrets"), true)]
#[case::token_secrets("openshift", (PULL_SECRETS, ("", "ServiceAccount"), "", ".secrets"), true)]
#[case::automount("openshift", (PULL_SECRETS, ("", "ServiceAccount"), "", ".automountServiceAccountToken"), false)]
#[case::pull_secrets_of_another("openshift", (TRIGGERS, ("", "ServiceAccount"), "", ".secrets"), false)]
#[case::image("openshift", (TRIGGERS, ("apps", "Deployment"), "image.openshift.io/triggers", IMAGE), true)]
#[case::image_without_a_trigger("openshift", (TRIGGERS, ("apps", "Deployment"), "other", IMAGE), false)]
#[case::replicas("openshift", (TRIGGERS, ("apps", "Deployment"), "image.openshift.io/triggers", ".spec.replicas"), false)]
#[case::image_of_a_cron_job(
    "openshift",
    (TRIGGERS, ("batch", "CronJob"), "image.openshift.io/triggers",
        ".spec.jobTemplate.spec.template.spec.containers[name=a].image"),
    true
)]
#[case::uid_range("openshift", (ALLOCATION, ("", "Namespace"), "", ".metadata.annotations[\"openshift.io/sa.scc.uid-range\"]"), true)]
#[case::another_annotation("openshift", (ALLOCATION, ("", "Namespace"), "", ".metadata.annotations[\"example.com/a\"]"), false)]
#[case::service_ca("openshift", (SERVICE_CA, ("", "ConfigMap"), "service.beta.openshift.io/inject-cabundle", ".data[\"service-ca.crt\"]"), true)]
#[case::service_ca_unasked("openshift", (SERVICE_CA, ("", "ConfigMap"), "other", ".data[\"service-ca.crt\"]"), false)]
#[case::other_data("openshift", (SERVICE_CA, ("", "ConfigMap"), "service.beta.openshift.io/inject-cabundle", ".data.colour"), false)]
#[case::vault("vault", (VAULT, (HOOKS, "MutatingWebhookConfiguration"), "", BUNDLE), true)]
#[case::vault_validating("vault", (VAULT, (HOOKS, "ValidatingWebhookConfiguration"), "", BUNDLE), false)]
#[case::vault_address("vault", (VAULT, (HOOKS, "MutatingWebhookConfiguration"), "", ".webhooks[name=a.example.com].clientConfig.url"), false)]
#[case::as_vault("vault", ("alice", (HOOKS, "MutatingWebhookConfiguration"), "", BUNDLE), false)]
#[case::gatekeeper("gatekeeper", (GATEKEEPER, (HOOKS, "ValidatingWebhookConfiguration"), "", BUNDLE), true)]
#[case::gatekeeper_rules("gatekeeper", (GATEKEEPER, (HOOKS, "ValidatingWebhookConfiguration"), "", ".webhooks[name=a.example.com].rules"), false)]
#[case::gatekeeper_secret("gatekeeper", (GATEKEEPER, ("", "Secret"), "", ".data.caBundle"), false)]
#[case::scale("cluster-proportional-autoscaler", (PROPORTIONAL, ("apps", "Deployment"), "", "scale"), true)]
#[case::replicas_by_update("cluster-proportional-autoscaler", (PROPORTIONAL, ("apps", "Deployment"), "", ".spec.replicas"), true)]
#[case::image_by_it("cluster-proportional-autoscaler", (PROPORTIONAL, ("apps", "Deployment"), "", IMAGE), false)]
#[case::stateful("cluster-proportional-autoscaler", (PROPORTIONAL, ("apps", "StatefulSet"), "", "scale"), false)]
#[case::as_it("cluster-proportional-autoscaler", (HPA, ("apps", "Deployment"), "", ".spec.replicas"), false)]
fn a_preset_that_is_enabled_allows_what_its_controller_does_and_nothing_else(
    #[case] preset: &str,
    #[case] (user, kind, annotation, act): PresetRequest<'_>,
    #[case] allowed: bool,
) {
    let manifest = json!({"metadata": {"annotations": {annotation: "a"}}}).to_string();
    let asked = Asked {
        manifest: Some(&manifest),
        ..Asked::by(user).kind(kind).act(act)
    };
    let policy = with(&json!({"enable": [{"name": preset}]}));
    assert_eq!(name(&policy, asked).as_deref(), allowed.then_some(preset));
    assert_eq!(name(&Policy::default(), asked), None, "off by itself");
}

#[test]
fn presets_are_switched_on_and_off_by_name() {
    let rollouts = Asked::by(ROLLOUTS)
        .kind(("networking.istio.io", "VirtualService"))
        .act(".spec.http[0].route[1].weight");
    let on = with(
        &json!({"enable": [{"name": "argo-rollouts"}], "disable": ["horizontal-pod-autoscaler"]}),
    );
    assert_eq!(name(&on, rollouts).as_deref(), Some("argo-rollouts"));
    let hpa = Asked::by(HPA).kind(("apps", "Deployment")).act("scale");
    assert_eq!(name(&on, hpa), None);
}

#[test]
fn a_policy_may_name_another_identity_for_a_controller() {
    let moved = with(&json!({"enable": [
        {"name": "ca-bundle", "subjects": {"serviceAccounts": ["pki/injector"]}},
    ]}));
    let ask = |user| {
        Asked::by(user)
            .kind(("apiregistration.k8s.io", "APIService"))
            .act(".spec.caBundle")
    };
    let injected = r#"{"metadata": {"annotations": {"cert-manager.io/inject-ca-from": "a/b"}}}"#;
    let ask = |user| Asked {
        manifest: Some(injected),
        ..ask(user)
    };
    let own = ask("system:serviceaccount:pki:injector");
    assert_eq!(name(&moved, own).as_deref(), Some("ca-bundle"));
    let default = ask("system:serviceaccount:cert-manager:cert-manager-cainjector");
    assert_eq!(name(&moved, default), None, "the default is replaced");
}

#[rstest]
#[case::grows("1Gi", "2Gi", true)]
#[case::grows_in_other_words("1024Mi", "1Ti", true)]
#[case::stays("1Gi", "1024Mi", false)]
#[case::shrinks("2Gi", "1Gi", false)]
#[case::is_no_quantity("1Gi", "much", false)]
fn a_claim_may_only_grow(#[case] old: &str, #[case] new: &str, #[case] allowed: bool) {
    let policy = with(&json!({"enable": [{"name": "pvc-growth"}]}));
    let (old, new) = (json!(old).to_string(), json!(new).to_string());
    let asked = Asked::by("anyone")
        .kind(("", "PersistentVolumeClaim"))
        .act(".spec.resources.requests.storage")
        .values(&old, &new);
    assert_eq!(name(&policy, asked).is_some(), allowed);
}

#[test]
fn every_preset_is_valid() {
    for (n, preset) in ALL.iter().enumerate() {
        assert!(crate::names::is_label(preset.name), "{}", preset.name);
        assert!(!preset.about.is_empty() && !preset.entries.is_empty());
        let others = ALL.iter().skip(n + 1);
        assert!(others.into_iter().all(|other| other.name != preset.name));
        for entry in preset.entries {
            assert!(!entry.grants.is_empty(), "{}", preset.name);
            for user in entry.users {
                let one = Identities::new([(*user).to_owned()], []);
                assert!(one.is_ok(), "{user} of {}", preset.name);
            }
            for grant in entry.grants {
                let (Grant::Change(path) | Grant::Grow(path) | Grant::Remove(path)) = grant else {
                    // Only the control plane, or a writer named accordingly, may delete or scale everything.
                    assert!(!entry.users.is_empty(), "{}", preset.name);
                    continue;
                };
                assert!(Pattern::new(path).is_ok(), "{path} of {}", preset.name);
                let is_growth = matches!(grant, Grant::Grow(_));
                assert!(is_growth || !entry.users.is_empty(), "{}", preset.name);
            }
        }
    }
}
