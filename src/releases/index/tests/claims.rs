//! Which objects the releases in the index claim.

use super::*;

#[test]
fn a_deployed_release_claims_only_the_objects_of_its_manifest() {
    let f = with_web(&deployed(3, 10));
    let claim = f.claim("web");
    assert_eq!(
        (
            claim.release.namespace.as_str(),
            claim.release.name.as_str()
        ),
        ("shop", "web")
    );
    assert_eq!((&*claim.chart, claim.phase), ("web-1.0.0", Phase::Settled));
    assert_eq!(images(&claim), expected_images(&[(3, "a:1")]));
    assert!(f.claims("other").is_empty());
    assert!(
        f.directory
            .claims("", "Deployment", "shop", "web")
            .is_empty(),
        "another group"
    );
    assert!(
        f.directory
            .claims("apps", "StatefulSet", "shop", "web")
            .is_empty(),
        "another kind"
    );
}

#[test]
fn a_copy_of_a_declared_object_in_another_namespace_is_not_claimed() {
    let mut f = fixture();
    f.put(&deployed(1, 10), vec![object("Secret", None, "s", "x")]);
    assert_eq!(f.directory.claims("", "Secret", "shop", "s").len(), 1);
    assert!(f.directory.claims("", "Secret", "copies", "s").is_empty());
}

#[rstest]
#[case::the_release_namespace(None, "shop", true)]
#[case::empty_means_none(Some(""), "shop", true)]
#[case::as_written(Some("ops"), "ops", true)]
#[case::only_as_written(Some("ops"), "shop", false)]
#[case::cluster_scoped(None, "", true)]
#[case::cluster_scoped_with_a_namespace_written(Some("ops"), "", true)]
fn the_namespace_of_a_document(
    #[case] written: Option<&str>,
    #[case] requested: &str,
    #[case] found: bool,
) {
    let mut f = fixture();
    f.put(&deployed(1, 10), vec![object("Thing", written, "it", "x")]);
    assert_eq!(
        !f.directory.claims("", "Thing", requested, "it").is_empty(),
        found
    );
}

#[test]
fn a_namespace_is_cluster_scoped_although_its_requests_name_it_as_namespace() {
    let mut f = fixture();
    f.put(
        &deployed(1, 10),
        vec![object("Namespace", None, "team", "x")],
    );
    assert_eq!(f.directory.claims("", "Namespace", "team", "team").len(), 1);
    assert_eq!(f.directory.claims("", "Namespace", "", "team").len(), 1);
}

#[test]
fn records_in_another_namespace_claim_in_the_namespace_of_the_body() {
    let mut f = fixture();
    let body = f.body_of("apps", "web", vec![deployment("web", "a:1")]);
    let flux = at(
        &storage_in("flux-system", "web"),
        1,
        RevisionStatus::Deployed,
        10,
    );
    f.put_body(&flux, body);
    assert!(
        f.directory
            .claims("apps", "Deployment", "flux-system", "web")
            .is_empty()
    );
    let claims = f.directory.claims("apps", "Deployment", "apps", "web");
    assert_eq!(claims[0].release.namespace, "apps");
}

#[test]
fn two_storages_of_one_release_both_claim() {
    let mut f = fixture();
    for (n, namespace) in ["shop", "flux-system"].into_iter().enumerate() {
        let body = f.body(vec![deployment("web", &format!("a:{n}"))]);
        f.put_body(
            &at(
                &storage_in(namespace, "web"),
                1,
                RevisionStatus::Deployed,
                10,
            ),
            body,
        );
    }
    let mut images: Vec<_> = f.claims("web").iter().flat_map(images).collect();
    images.sort();
    assert_eq!(images, expected_images(&[(1, "a:0"), (1, "a:1")]));
}

/// The storage namespace of one release is the target namespace of another one of that name.
#[test]
fn records_of_another_release_of_the_same_name_are_not_copies() {
    let mut f = fixture();
    let flux = at(
        &storage_in("flux-system", "web"),
        1,
        RevisionStatus::Deployed,
        10,
    );
    f.put(&flux, vec![deployment("web", "a:1")]);
    let guest = f.body_of("prod", "web", vec![deployment("web", "b:1")]);
    f.put_body(&deployed(1, 11), guest);
    assert_eq!(f.claim("web").reach, Reach::Elsewhere);
    assert!(f.directory.copies().is_empty());
    // Once the release has records in its own namespace, the others are copies.
    let own = f.body(vec![deployment("web", "a:1")]);
    f.put_body(&deployed(2, 12), own);
    let reaches: Vec<_> = f.claims("web").iter().map(|claim| claim.reach).collect();
    assert!(reaches.contains(&Reach::Copy), "{reaches:?}");
}

#[test]
fn removing_a_release_keeps_the_claims_of_others() {
    let mut f = fixture();
    let other = at(
        &storage_in("shop", "other"),
        1,
        RevisionStatus::Deployed,
        11,
    );
    f.put(&deployed(1, 10), vec![deployment("web", "a:1")]);
    let body = f.body_of("shop", "other", vec![deployment("web", "b:1")]);
    f.put_body(&other, body);
    assert_eq!(f.claims("web").len(), 2);
    f.index.delete(&deployed(1, 12));
    assert_eq!(f.claim("web").release.name, "other");
    f.index.delete(&other);
    assert!(f.claims("web").is_empty());
    assert!(f.directory.releases().is_empty());
}

#[test]
fn the_last_of_two_documents_for_an_object_counts() {
    let mut f = fixture();
    let objects = vec![
        deployment("web", "first"),
        deployment("api", "x"),
        object("Deployment", Some("shop"), "web", "last"),
    ];
    f.put(&deployed(1, 10), objects);
    assert_eq!(f.images("web"), expected_images(&[(1, "last")]));
}

#[test]
fn an_upgrade_is_tracked_through_all_its_states() {
    use RevisionStatus::{Deployed, PendingUpgrade, Superseded};
    let mut f = fixture();
    f.put(
        &record(3, Deployed, 10),
        vec![deployment("web", "a:1"), deployment("old", "a:1")],
    );
    f.put(
        &record(4, PendingUpgrade, 11),
        vec![deployment("web", "a:2"), deployment("new", "a:2")],
    );
    assert_eq!(f.claim("web").phase, Phase::Pending);
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2"), (3, "a:1")]));
    assert_eq!(f.images("old"), expected_images(&[(4, "-"), (3, "a:1")]));
    assert_eq!(f.images("new"), expected_images(&[(4, "a:2"), (3, "-")]));

    // Helm marks the old revision superseded before the new one deployed.
    f.index.apply(record(3, Superseded, 12));
    let fetched_again = f.body(vec![deployment("web", "a:1"), deployment("old", "a:1")]);
    f.index.insert_body(
        &record(3, Superseded, 12).key,
        &version_of(3, 12),
        fetched_again,
    );
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2"), (3, "a:1")]));

    f.put(
        &record(4, Deployed, 13),
        vec![deployment("web", "a:2"), deployment("new", "a:2")],
    );
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2")]));
    assert!(f.claims("old").is_empty());
}

#[test]
fn a_cluster_scoped_object_of_several_documents_is_one_claim() {
    let mut f = fixture();
    let documents = |namespaces: [Option<&str>; 3]| {
        let object = |(n, namespace)| object("ClusterRole", namespace, "r", &format!("a:{n}"));
        namespaces.into_iter().enumerate().map(object).collect()
    };
    let claims = |f: &Fixture, namespace| {
        let claims = f.directory.claims("", "ClusterRole", namespace, "r");
        let json = claims
            .iter()
            .map(|claim| claim.declared().unwrap().json.to_string());
        json.collect::<Vec<String>>()
    };
    let first = deployed(1, 10);
    f.put(&first, documents([Some("b"), None, Some("a")]));
    assert_eq!(claims(&f, ""), [r#"{"image":"a:2"}"#]);
    assert_eq!(claims(&f, "b"), [r#"{"image":"a:0"}"#]);
    f.put(&deployed(1, 11), documents([None, None, None]));
    assert_eq!(claims(&f, ""), [r#"{"image":"a:2"}"#]);
    assert!(claims(&f, "b").is_empty());
    f.index.delete(&deployed(1, 11));
    assert!(claims(&f, "").is_empty());
}
