//! Namespaces and CRDs that releases depend on.

use super::*;

#[tokio::test]
async fn a_namespace_with_releases_cannot_be_deleted() {
    let infrastructure = Infrastructure {
        holders: Ok(vec![holder("db", &[]), holder("web", &[])]),
        ..known()
    };
    let response = answer(infrastructure, &delete_namespace()).await;
    assert_eq!(
        message(&response),
        "
Namespace \"shop\" holds Helm releases, which would be lost with it:
  Helm release \"db\" in namespace \"shop\" (revision 3, chart web-1.0.0)
  Helm release \"web\" in namespace \"shop\" (revision 3, chart web-1.0.0)
Uninstall them first: helm uninstall db -n shop; helm uninstall web -n shop
In an emergency: helm-guard break-glass open -n shop --reason <reason>"
    );
    let annotations = &response["auditAnnotations"];
    assert_eq!(annotations["reason"], "namespace-holds-releases");
    assert_eq!(annotations["release"], "shop/db, shop/web");
    let causes = response["status"]["details"]["causes"].as_array().unwrap();
    assert_eq!(causes.len(), 2);
}

#[tokio::test]
async fn the_denial_for_a_namespace_with_a_hundred_releases_is_short() {
    let names: Vec<_> = (0..100).map(|n| holder(&format!("r{n}"), &[])).collect();
    let infrastructure = Infrastructure {
        holders: Ok(names),
        ..known()
    };
    let response = answer(infrastructure, &delete_namespace()).await;
    assert!(message(&response).contains("\n  and 84 more\n"));
}

#[rstest]
#[case::empty(Ok(Vec::new()), json!({}), "not-declared")]
#[case::nobody_can_say(Err(()), json!({}), "read-through-failed")]
#[case::switched_off(
    Ok(vec![holder("web", &[])]), json!({"namespaces": "Off", "definitions": "Off"}), "not-judged"
)]
#[case::only_recorded(
    Ok(vec![holder("web", &[])]),
    json!({"namespaces": "Audit", "definitions": "Audit"}),
    "namespace-holds-releases|definition-in-use"
)]
#[tokio::test]
async fn infrastructure_without_dependents_may_be_deleted(
    #[case] holders: Result<Vec<AffectedRelease>, ()>,
    #[case] policy: Value,
    #[case] expected: &str,
) {
    for request in [delete_namespace(), delete_crd()] {
        let infrastructure = Infrastructure {
            holders: holders.clone(),
            policy: policy.clone(),
            ..Infrastructure::default()
        };
        let response = answer(infrastructure, &request).await;
        let reason = reason(&response);
        assert!(expected.split('|').any(|word| word == reason), "{reason}");
    }
}

/// A release with records elsewhere.
fn of_elsewhere(reach: Reach) -> AffectedRelease {
    let mut holder = holder("web", &["Backup \"daily\""]);
    holder.claimant.reach = reach;
    let witness = |name: &str| Witness {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    };
    holder.claimant.witnesses = vec![witness("one"), witness("two")];
    holder
}

fn names(name: &str) -> Sighting {
    Sighting::Names(Some(ReleaseName {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }))
}

#[rstest]
#[case::named(
    Reach::Elsewhere,
    Ok(names("web")),
    "namespace-holds-releases",
    "definition-in-use"
)]
#[case::names_another(Reach::Elsewhere, Ok(names("db")), "not-declared", "not-declared")]
#[case::names_nobody(
    Reach::Elsewhere,
    Ok(Sighting::Names(None)),
    "not-declared",
    "not-declared"
)]
#[case::forbidden(
    Reach::Elsewhere,
    Ok(Sighting::Forbidden),
    "read-through-failed",
    "definition-in-use"
)]
#[case::nobody_can_say(Reach::Elsewhere, Err(()), "read-through-failed", "read-through-failed")]
#[case::trusted(
    Reach::Trusted,
    Ok(Sighting::Names(None)),
    "namespace-holds-releases",
    "definition-in-use"
)]
#[case::own(Reach::Own, Err(()), "namespace-holds-releases", "definition-in-use")]
#[tokio::test]
async fn records_elsewhere_count_if_a_live_object_confirms_them(
    #[case] reach: Reach,
    #[case] sighting: Result<Sighting, ()>,
    #[case] of_namespace: &str,
    #[case] of_crd: &str,
) {
    let requests = [(delete_namespace(), of_namespace), (delete_crd(), of_crd)];
    for (request, expected) in requests {
        let infrastructure = Infrastructure {
            holders: Ok(vec![of_elsewhere(reach)]),
            sighting: sighting.clone(),
            ..Infrastructure::default()
        };
        let response = answer(infrastructure, &request).await;
        assert_eq!(response["auditAnnotations"]["reason"], expected);
    }
}

#[rstest]
#[case::unread(Err(()))]
#[case::of_another(Ok(names("db")))]
#[tokio::test]
async fn records_elsewhere_do_not_weaken_a_release_of_the_namespace(
    #[case] sighting: Result<Sighting, ()>,
) {
    let infrastructure = Infrastructure {
        holders: Ok(vec![of_elsewhere(Reach::Elsewhere), holder("api", &[])]),
        sighting,
        ..Infrastructure::default()
    };
    let response = answer(infrastructure, &delete_namespace()).await;
    let said = &response["auditAnnotations"];
    assert_eq!(said["reason"], "namespace-holds-releases");
    assert_eq!(said["release"], "shop/api");
}

#[tokio::test]
async fn a_crd_with_declared_instances_cannot_be_deleted() {
    let infrastructure = Infrastructure {
        holders: Ok(vec![holder("web", &["Backup \"nightly\""])]),
        ..known()
    };
    let response = answer(infrastructure, &delete_crd()).await;
    assert_eq!(
        message(&response),
        "
CustomResourceDefinition \"backups.example.com\" has instances that Helm releases declare; they \
         would be deleted with it without admission checks:
  Helm release \"web\" in namespace \"shop\" (revision 3, chart web-1.0.0): Backup \"nightly\"
Uninstall them first: helm uninstall web -n shop
In an emergency: helm-guard break-glass open -A --reason <reason>"
    );
}
