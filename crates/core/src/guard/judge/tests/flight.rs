//! Requests of Helm itself that another webhook changed.

use super::*;

#[test]
fn a_field_manager_counts_only_while_its_release_is_pending() {
    let request = |manager: &str| {
        let mut review = review("UPDATE", &replicas(3), &replicas(4));
        review["options"] = json!({"fieldManager": manager});
        review.to_string()
    };
    let pending = [claim("web", Phase::Pending, vec![declares(3)])];
    let settled = [claim("web", Phase::Settled, vec![declares(3)])];
    for (manager, claims, expected) in [
        ("helm", &pending, true),
        ("helm-controller", &pending, true),
        ("terraform-provider-helm_v2.17.0_x5", &pending, true),
        ("kubectl-edit", &pending, false),
        ("helmet", &pending, false),
        ("helm", &settled, false),
    ] {
        let text = request(manager);
        let request: Request<'_> = serde_json::from_str(&text).unwrap();
        let verdict = violating("web", &["spec.replicas"]);
        let found = in_flight(&request, &verdict, claims, HELM_WRITERS).is_some();
        assert_eq!(found, expected, "{manager}");
    }
}

#[test]
fn the_claims_of_each_violated_release_are_found() {
    let claims = [
        claim("api", Phase::Settled, vec![declares(3)]),
        claim("web", Phase::Pending, vec![declares(3)]),
    ];
    let names = |violated: &str| {
        let verdict = violating(violated, &["spec.replicas"]);
        let claims = crate::guard::flight::violated(&verdict, &claims);
        claims
            .iter()
            .map(|claim| claim.release.name.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("web"), ["web"]);
    assert_eq!(names("web api"), ["web", "api"]);
    assert_eq!(names("other"), [""; 0]);
}

/// A verdict against each of these releases, for the change of these fields.
fn violating(releases: &str, paths: &[&str]) -> Verdict {
    let change = |path: &&str| FieldChange {
        path: FieldPath::of(path.split('|').flat_map(|path| match path.split_once('/') {
            None => path.split('.').collect::<Vec<_>>(),
            Some(_) => vec![path],
        })),
        declared: ShownValue::Absent,
        live: ShownValue::Absent,
        requested: ShownValue::Absent,
    };
    let finding = |release: &str| Finding {
        release: Arc::new(ReleaseName {
            namespace: "shop".into(),
            name: release.into(),
        }),
        chart: "web-1.0.0".into(),
        mode: Mode::Deny,
        revisions: vec![1],
        apply_method: crate::helm::record::ApplyMethod::default(),
        changes: paths.iter().map(change).collect(),
        involved: Vec::new(),
    };
    Verdict::with_findings(
        Reason::FieldsChanged,
        releases.split(' ').map(finding).collect(),
    )
}

/// Another pending release allows nothing, and an object without its marks is out of sight.
#[rstest::rstest]
#[case::the_pending_one("web", &["spec.replicas"], Some(1))]
#[case::the_settled_one("api", &["spec.replicas"], None)]
#[case::both("web api", &["spec.replicas"], None)]
#[case::the_label("web", &["metadata.labels|app.kubernetes.io/managed-by"], None)]
#[case::the_annotation("web", &["metadata.annotations|meta.helm.sh/release-name"], None)]
#[case::all_labels("web", &["metadata.labels"], None)]
#[case::another_label("web", &["metadata.labels|example.com/team"], Some(1))]
#[case::nothing("", &[], None)]
fn a_request_is_in_flight_only_if_each_violated_release_is_pending_and_keeps_its_marks(
    #[case] violated: &str,
    #[case] paths: &[&str],
    #[case] to_ask: Option<usize>,
) {
    let mut review = review("UPDATE", &replicas(3), &replicas(4));
    review["options"] = json!({"fieldManager": "helm"});
    let text = review.to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    let claims = [
        claim("api", Phase::Settled, vec![declares(3)]),
        claim("web", Phase::Pending, vec![declares(3)]),
    ];
    let found = in_flight(&request, &violating(violated, paths), &claims, HELM_WRITERS);
    assert_eq!(found.map(|claims| claims.len()), to_ask);
}

#[rstest::rstest]
#[case::its_account("system:serviceaccount:shop:migrate", Phase::Pending, true)]
#[case::another("system:serviceaccount:shop:default", Phase::Pending, false)]
#[case::elsewhere("system:serviceaccount:evil:migrate", Phase::Pending, false)]
#[case::not_an_account("migrate", Phase::Pending, false)]
#[case::not_pending("system:serviceaccount:shop:migrate", Phase::Settled, false)]
fn a_hooks_service_account_is_in_flight_while_its_release_is_pending(
    #[case] user: &str,
    #[case] phase: Phase,
    #[case] expected: bool,
) {
    let mut review = review("DELETE", &replicas(3), &Value::Null);
    review["userInfo"] = json!({"username": user});
    let text = review.to_string();
    let request: Request<'_> = serde_json::from_str(&text).unwrap();
    let mut claim = claim("web", phase, vec![declares(3)]);
    claim.hook_accounts = Arc::from([Box::from("migrate")]);
    let claims = [claim];
    let found = in_flight(&request, &violating("web", &[]), &claims, HELM_WRITERS);
    assert_eq!(found.map(|claims| claims.len()), expected.then_some(0));
}
