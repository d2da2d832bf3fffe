//! Policies as people write them, used as the decision uses them.

use rstest::rstest;
use serde_json::{Value, json};

use super::{license::Facts, *};

pub(super) fn policy(spec: Value) -> Policy {
    Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap()
}

/// A request to a policy.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) user: &'a str,
    pub(super) group: Option<&'a str>,
    pub(super) manager: Option<&'a str>,
    pub(super) kind: (&'a str, &'a str),
    pub(super) act: &'a str,
    pub(super) values: (Option<&'a str>, Option<&'a str>),
    pub(super) namespace: &'a str,
    pub(super) release: (&'a str, &'a str),
    pub(super) chart: &'a str,
    pub(super) labels: Option<&'a BTreeMap<String, String>>,
    pub(super) manifest: Option<&'a str>,
    pub(super) facts: Facts<'a>,
}

impl<'a> Asked<'a> {
    pub(super) fn by(user: &'a str) -> Self {
        Self {
            user,
            group: None,
            manager: None,
            kind: ("apps", "Deployment"),
            act: "delete",
            values: (None, None),
            namespace: "shop",
            release: ("shop", "myapp"),
            chart: "myapp-1.2.0",
            labels: None,
            manifest: None,
            facts: Facts::default(),
        }
    }

    pub(super) fn kind(self, kind: (&'a str, &'a str)) -> Self {
        Self { kind, ..self }
    }

    /// `delete`, `scale`, or a path that changes.
    pub(super) fn act(self, act: &'a str) -> Self {
        Self { act, ..self }
    }

    pub(super) fn values(self, old: &'a str, new: &'a str) -> Self {
        Self {
            values: (Some(old), Some(new)),
            ..self
        }
    }

    pub(super) fn place<T>(self, ask: impl FnOnce(&RuleObject<'_>) -> T) -> T {
        let release = ReleaseName {
            namespace: self.release.0.to_owned(),
            name: self.release.1.to_owned(),
        };
        let manifest = self.manifest.map(Tree::of);
        ask(&RuleObject {
            place: ObjectPlace {
                group: self.kind.0,
                kind: self.kind.1,
                namespace: self.namespace,
                release: &release,
                chart: self.chart,
            },
            version: "v1",
            name: "myapp",
            labels: self.labels.map_or(Labels::Unknown, Labels::Known),
            manifest: manifest.as_ref(),
        })
    }

    pub(super) fn exemption(self, policy: &Policy) -> Option<Arc<str>> {
        let groups: Vec<_> = self.group.map(Into::into).into_iter().collect();
        let manifests: Vec<Tree<'_>> = self.manifest.map(Tree::of).into_iter().collect();
        let requester = Requester {
            identity: UserIdentity {
                user: self.user,
                groups: &groups,
            },
            field_manager: self.manager,
            old_object: None,
            evidence: Evidence {
                manifests: &manifests,
                facts: self.facts,
            },
        };
        let path = self.act.parse().unwrap_or_default();
        let act = match self.act {
            "delete" => Act::Delete,
            "scale" => Act::Scale,
            _ => Act::Change(PathChange {
                path: &path,
                old: self.values.0,
                new: self.values.1,
            }),
        };
        self.place(|place| policy.exemption(requester, place, act))
    }
}

fn exempting() -> Policy {
    policy(json!({"exemptions": [{
        "name": "flux",
        "subjects": {"serviceAccounts": ["flux-system/image-updater"], "groups": ["deployers"]},
        "kinds": [{"group": "apps", "kind": "Deployment"}],
        "paths": ["/spec/template/spec/containers/*/image"],
        "operations": ["Scale"],
        "scope": {"namespaces": ["shop"]},
    }]}))
}

const UPDATER: &str = "system:serviceaccount:flux-system:image-updater";
const IMAGE: &str = ".spec.template.spec.containers[name=web].image";

#[test]
fn an_exemption_binds_identity_kind_path_and_place() {
    let policy = exempting();
    let asked = Asked::by(UPDATER).act(IMAGE);
    let flux = Some("flux".into());
    let of_a_group = Asked {
        group: Some("deployers"),
        ..asked
    };
    let cases = [
        (asked, flux.clone()),
        (asked.act("scale"), flux.clone()),
        (
            Asked {
                user: "bob",
                ..of_a_group
            },
            flux,
        ),
        (
            Asked {
                user: "bob",
                ..asked
            },
            None,
        ),
        (asked.act("delete"), None),
        (
            asked.act(".spec.template.spec.containers[name=web].args"),
            None,
        ),
        (asked.kind(("apps", "StatefulSet")), None),
        (
            Asked {
                namespace: "bank",
                ..asked
            },
            None,
        ),
        (
            Asked {
                namespace: "",
                ..asked
            },
            None,
        ),
    ];
    for (n, (asked, expected)) in cases.into_iter().enumerate() {
        assert_eq!(asked.exemption(&policy), expected, "case {n}");
    }
}

#[test]
fn ignored_fields_may_be_changed_by_anyone_but_not_deleted() {
    let policy = policy(json!({"ignore": [
        {"name": "replicas", "paths": ["/spec/replicas"], "target": {"kind": "Deploy.*"}},
        {"jsonPointers": [""], "target": {"name": "scratch-.*"}},
    ]}));
    let asked = Asked::by("bob").act(".spec.replicas");
    assert_eq!(asked.exemption(&policy), Some("replicas".into()));
    assert_eq!(asked.kind(("apps", "StatefulSet")).exemption(&policy), None);
    // Anchored, as in Flux: neither a part of the kind nor of the name is enough.
    assert_eq!(
        asked.kind(("apps", "MyDeployment")).exemption(&policy),
        None
    );
    assert_eq!(asked.act("delete").exemption(&policy), None);
    assert_eq!(asked.act(".spec.paused").exemption(&policy), None);
}

#[test]
fn selectors_of_a_target_match_the_manifest() {
    let policy = policy(json!({"ignore": [
        {"paths": ["/data"], "target": {"labelSelector": "tier in (front)", "annotationSelector": "!keep"}},
    ]}));
    for (metadata, expected) in [
        (json!({"labels": {"tier": "front"}}), true),
        (json!({"labels": {"tier": "back"}}), false),
        (
            json!({"labels": {"tier": "front"}, "annotations": {"keep": ""}}),
            false,
        ),
        (json!({}), false),
    ] {
        let manifest = json!({"metadata": metadata}).to_string();
        let asked = Asked {
            manifest: Some(&manifest),
            ..Asked::by("bob").act(".data.a")
        };
        assert_eq!(asked.exemption(&policy).is_some(), expected, "{manifest}");
    }
}

#[test]
fn fields_of_a_field_manager_may_be_ignored() {
    let policy = policy(json!({"ignore": [{"managedFieldsManagers": ["keda-operator"]}]}));
    let asked = Asked::by("bob").act(".spec.replicas");
    let by_keda = Asked {
        manager: Some("keda-operator"),
        ..asked
    };
    assert_eq!(by_keda.exemption(&policy), Some("ignore[0]".into()));
    assert_eq!(asked.exemption(&policy), None);
}

#[test]
fn a_chart_may_loosen_its_own_objects_only_if_the_policy_allows_it() {
    let annotations = json!({"metadata": {"annotations": {
        "helm-guard.dev/mode": "Warn", "helm-guard.dev/ignore": "/data/a, .data.b,,no path",
    }}});
    let manifest = annotations.to_string();
    let asked = |act| Asked {
        manifest: Some(&manifest),
        ..Asked::by("bob").act(act)
    };
    let honoring = policy(json!({"chartAnnotations": "Honor"}));
    assert_eq!(
        asked(".data.a").place(|place| honoring.mode(place)),
        Mode::Warn
    );
    for path in [".data.a", ".data.b.c"] {
        let name = asked(path).exemption(&honoring);
        assert_eq!(name, Some("chart-annotation".into()), "{path}");
    }
    assert_eq!(asked(".data.c").exemption(&honoring), None);
    let ignoring = Policy::default();
    assert_eq!(
        asked(".data.a").place(|place| ignoring.mode(place)),
        Mode::Deny
    );
    assert_eq!(asked(".data.a").exemption(&ignoring), None);
    let audit = policy(json!({"chartAnnotations": "Honor", "mode": "Audit"}));
    let mode = asked(".data.a").place(|place| audit.mode(place));
    assert_eq!(
        mode,
        Mode::Audit,
        "a chart never tightens what is looser already"
    );
}

#[rstest]
#[case::everyone(json!({"exemptions": [{"name": "a", "subjects": {"groups": ["system:authenticated"]}, "kinds": [{"kind": "Pod"}], "paths": ["/spec"]}]}),
    &["spec.exemptions[0].subjects.groups[0]: the name \"system:authenticated\" matches everyone"])]
#[case::mintable(json!({"exemptions": [{"name": "a", "subjects": {"groups": ["system:serviceaccounts:shop"]}, "kinds": [{"kind": "Pod"}], "paths": ["/spec"]}]}),
    &["whatever service account somebody makes in that namespace"])]
#[case::prefix(json!({"breakGlass": {"identities": [{"subjects": {"users": ["system:serviceaccount:ops:*"]}}]}}),
    &["spec.breakGlass.identities[0].subjects.users[0]: the name"])]
#[case::no_account(json!({"exemptions": [{"name": "a", "subjects": {"serviceAccounts": ["emergency"]}, "kinds": [{"kind": "Pod"}], "paths": ["/spec"]}]}),
    &["serviceAccounts[0]: \"emergency\" is not a service account: expected NAMESPACE/NAME"])]
#[case::no_subjects(json!({"exemptions": [{"name": "a", "subjects": {}, "kinds": [{"kind": "Pod"}], "paths": ["/spec"]}]}),
    &["spec.exemptions[0].subjects: must not be empty"])]
#[case::nothing_allowed(json!({"exemptions": [{"name": "a", "subjects": {"users": ["ada"]}, "kinds": [{"kind": "Pod"}]}]}),
    &["spec.exemptions[0]: has neither paths nor operations"])]
#[case::no_path(json!({"ignore": [{"paths": ["/a", "b"]}]}), &["spec.ignore[0].paths[1]: \"b\" is not a path"])]
#[case::empty_rule(json!({"ignore": [{"target": {"kind": "Pod"}}]}), &["spec.ignore[0]: has neither paths"])]
#[case::endless_jq(json!({"ignore": [{"jqPathExpressions": ["def f: f; f"]}]}),
    &["spec.ignore[0].jqPathExpressions[0]: \"def\" is not supported"])]
#[case::no_expression(json!({"ignore": [{"paths": ["/a"], "target": {"name": "a("}}]}), &["spec.ignore[0].target.name: "])]
#[case::huge_expression(json!({"ignore": [{"paths": ["/a"], "target": {"name": "((a{100}){100}){100}"}}]}), &["target.name: "])]
#[case::no_selector(json!({"ignore": [{"paths": ["/a"], "target": {"labelSelector": "a b"}}]}), &["target.labelSelector: "])]
#[case::unknown_preset(json!({"presets": {"enable": [{"name": "argo"}], "disable": ["hpa"]}}),
    &["spec.presets.enable[0].name: there is no preset \"argo\"", "spec.presets.disable[0]: there is no preset \"hpa\""])]
#[case::on_and_off(json!({"presets": {"enable": [{"name": "keda"}], "disable": ["keda"]}}), &["spec.presets.disable[0]: keda is enabled too"])]
#[case::same_names(json!({"exemptions": [
    {"name": "a", "subjects": {"users": ["ada"]}, "kinds": [{"kind": "Pod"}], "paths": ["/spec"]},
    {"name": "a", "subjects": {"users": ["bob"]}, "kinds": [{"kind": "Pod"}], "paths": ["/spec"]}]}),
    &["spec.exemptions[1].name: \"a\" is also the name of another exemption"])]
#[case::no_range(json!({"overrides": [{"match": {"releases": {"chart": {"name": "a", "version": "newer"}}}, "mode": "Warn"}]}),
    &["spec.overrides[0].match.releases.chart.version: "])]
#[case::matches_all(json!({"overrides": [{"match": {}, "mode": "Warn"}]}), &["spec.overrides[0].match: matches everything"])]
#[case::says_nothing(json!({"overrides": [{"match": {"kinds": [{"kind": "Pod"}]}}]}), &["spec.overrides[0]: has neither mode"])]
#[case::tie(json!({"overrides": [
    {"match": {"kinds": [{"kind": "Pod"}]}, "mode": "Warn"},
    {"match": {"kinds": [{"kind": "Pod"}, {"kind": "Secret"}]}, "mode": "Deny"}]}),
    &["spec.overrides[1]: ties with spec.overrides[0]"])]
#[case::runbook(json!({"runbookURL": "see the wiki"}), &["spec.runbookURL: \"see the wiki\" is not a URL"])]
fn an_invalid_policy_is_rejected_with_the_place(#[case] spec: Value, #[case] says: &[&str]) {
    let error = Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap_err();
    assert_eq!(error.problems.len(), says.len(), "{error}");
    for says in says {
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = Policy::compile(
        &serde_json::from_value(json!({
            "ignore": [{"paths": ["a"]}, {"paths": ["/b~"]}],
            "runbookURL": "here",
            "presets": {"disable": ["x"]},
        }))
        .unwrap(),
    )
    .unwrap_err();
    let places: Vec<&str> = error
        .problems
        .iter()
        .map(|problem| problem.at.as_str())
        .collect();
    for place in [
        "spec.ignore[0].paths[0]",
        "spec.ignore[1].paths[0]",
        "spec.runbookURL",
        "spec.presets.disable[0]",
    ] {
        assert!(places.contains(&place), "{place} in {places:?}");
    }
}
