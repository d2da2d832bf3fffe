//! Selectors are one value to the API; presets allow the controllers of progressive delivery to switch them.

use rstest::rstest;

use super::*;
use crate::compare::schema::builtin::builtin;

const ROLLOUTS: &str = "system:serviceaccount:argo-rollouts:argo-rollouts";
const FLAGGER: &str = "system:serviceaccount:flagger-system:flagger";

/// Of a Service whose chart selects `app: web`.
fn verdict(preset: &str, user: &str, selectors: [&Value; 2]) -> Verdict {
    let service = |selector: &Value| json!({"spec": {"selector": selector}});
    let [old, new] = selectors.map(service);
    let mut review = review("UPDATE", &old, &new);
    review["kind"] = json!({"group": "", "version": "v1", "kind": "Service"});
    review["resource"] = json!({"group": "", "version": "v1", "resource": "services"});
    review["userInfo"]["username"] = json!(user);
    let text = review.to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    let spec = json!({"presets": {"enable": [{"name": preset}]}});
    let declared = service(&json!({"app": "web"}));
    judge(&Question {
        request: &request,
        object: &ObjectRef {
            group: "",
            kind: "Service",
            namespace: "shop",
            name: Cow::Borrowed("web"),
        },
        claims: &[claim(
            "web",
            Phase::Settled,
            vec![super::object("v1", &declared)],
        )],
        knowledge: Knowledge::Builtin(builtin().lookup("", "v1", "Service").unwrap()),
        conversions: ConversionTargets::Versions(&[]),
        replicas_path: &[],
        policy: &Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap(),
        labels: Labels::Unknown,
        facts: Facts::default(),
        redactor: &Redactor::new(b"key"),
    })
}

#[rstest]
#[case::rollouts_adds_its_hash(
    "argo-rollouts", ROLLOUTS, json!({"app": "web", "rollouts-pod-template-hash": "1"}), Reason::Exempt
)]
#[case::rollouts_changes_another_key(
    "argo-rollouts", ROLLOUTS, json!({"app": "web", "tier": "x"}), Reason::FieldsChanged
)]
#[case::rollouts_changes_the_declared_key(
    "argo-rollouts", ROLLOUTS, json!({"app": "other", "rollouts-pod-template-hash": "1"}), Reason::FieldsChanged
)]
#[case::somebody_adds_the_hash(
    "argo-rollouts", "alice", json!({"app": "web", "rollouts-pod-template-hash": "1"}), Reason::FieldsChanged
)]
#[case::flagger_points_to_the_primary("flagger", FLAGGER, json!({"app": "web-primary"}), Reason::Exempt)]
#[case::flagger_adds_a_key("flagger", FLAGGER, json!({"app": "web", "tier": "x"}), Reason::Exempt)]
#[case::flagger_replaces_all_of_it("flagger", FLAGGER, json!({"other": "x"}), Reason::Exempt)]
#[case::somebody_points_elsewhere("flagger", "alice", json!({"app": "web-primary"}), Reason::FieldsChanged)]
fn only_the_controller_of_the_preset_may_switch_a_selector(
    #[case] preset: &str,
    #[case] user: &str,
    #[case] selector: Value,
    #[case] expected: Reason,
) {
    let found = verdict(preset, user, [&json!({"app": "web"}), &selector]);
    assert_eq!(found.reason, expected);
}

#[test]
fn a_rollout_may_change_and_remove_its_hash() {
    let hash = |hash: &str| json!({"app": "web", "rollouts-pod-template-hash": hash});
    let moved = verdict("argo-rollouts", ROLLOUTS, [&hash("1"), &hash("2")]);
    assert_eq!(moved.reason, Reason::Exempt);
    let declared = json!({"app": "web"});
    let taken_off = verdict("argo-rollouts", "alice", [&hash("1"), &declared]);
    assert_eq!(taken_off.reason, Reason::NothingDeclaredChanges);
}
