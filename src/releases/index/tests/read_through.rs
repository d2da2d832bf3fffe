//! What a read-through adds to the index.

use super::*;

fn learned(
    list_version: u32,
    records: Vec<Stored>,
    bodies: Vec<(u32, u32, RevisionContent)>,
) -> Learned {
    Learned {
        storage: storage(),
        list_version: list_version.to_string().into(),
        relists: 0,
        records,
        bodies: bodies
            .into_iter()
            .map(|(revision, version, content)| RevisionView {
                revision,
                version: version_of(revision, version),
                content,
            })
            .collect(),
    }
}

#[test]
fn the_result_of_a_read_through_is_applied_before_the_watch_reports_it() {
    let mut f = with_web(&deployed(3, 10));
    let body = f.body(vec![deployment("web", "a:2")]);
    f.index.learn(learned(
        12,
        vec![
            deployed(3, 10),
            record(4, RevisionStatus::PendingUpgrade, 11),
        ],
        vec![(4, 11, body)],
    ));
    assert_eq!(f.images("web"), expected_images(&[(4, "a:2"), (3, "a:1")]));
    assert_eq!(f.index.take_demands(), []);
    f.index.apply(record(4, RevisionStatus::PendingUpgrade, 11));
    assert_eq!(f.index.take_demands(), [], "the watch's own event, late");
}

#[test]
fn a_read_through_older_than_a_deletion_does_not_restore_the_record() {
    let mut f = with_web(&deployed(3, 10));
    f.index.delete(&deployed(3, 13));
    let body = f.body(vec![deployment("web", "a:1")]);
    f.index
        .learn(learned(12, vec![deployed(3, 10)], vec![(3, 10, body)]));
    assert!(f.claims("web").is_empty());
}

#[test]
fn a_read_through_older_than_a_relist_does_not_restore_a_record() {
    let mut f = fixture();
    let stale = learned(12, vec![deployed(3, 10)], vec![]);
    f.index.relist_started(ALL);
    f.index.relist_done(&ALL);
    f.index.learn(stale.clone());
    assert!(f.directory.releases().is_empty());
    f.index.learn(Learned {
        relists: f.directory.relists(),
        ..stale
    });
    assert_eq!(f.directory.releases().len(), 1);
}

#[test]
fn a_read_through_also_reads_the_releases_that_the_object_names() {
    let mut f = with_web(&deployed(3, 10));
    let elsewhere = f.body_of("shop", "flux", vec![deployment("api", "b:1")]);
    f.put_body(
        &at(
            &storage_in("flux-system", "flux"),
            1,
            RevisionStatus::Deployed,
            11,
        ),
        elsewhere,
    );
    let object = ObjectRef {
        group: "apps",
        kind: "Deployment",
        namespace: "shop",
        name: "web".into(),
    };
    let read = |names: &[&str]| -> Vec<String> {
        let named: Vec<_> = names
            .iter()
            .map(|name| ReleaseName {
                namespace: "shop".into(),
                name: (*name).to_owned(),
            })
            .collect();
        let claims = f.claims(&object.name);
        let storages = f.directory.to_read(&claims, &named);
        let all = storages.claimants.iter().chain(&storages.named);
        all.map(|storage| format!("{} {storage}", storage.driver))
            .collect()
    };
    let own = format!("Secret {}", storage());
    let in_config_maps = format!("ConfigMap {}", storage());
    assert_eq!(read(&[]), vec![own.clone()]);
    assert_eq!(read(&[&storage().name]), [own.clone(), in_config_maps]);
    assert_eq!(
        read(&["flux"]),
        [
            &*own,
            "Secret flux-system/flux",
            "Secret shop/flux",
            "ConfigMap shop/flux"
        ],
        "the namespace of its records, and the usual one"
    );
    let unheard_of = [
        "Secret shop/new".to_owned(),
        "ConfigMap shop/new".to_owned(),
    ];
    assert_eq!(
        read(&["new", "new"]),
        [vec![own], unheard_of.to_vec()].concat()
    );
}

#[test]
fn a_read_through_removes_unlisted_records_but_not_newer_ones() {
    let mut f = fixture();
    f.put(&record(3, RevisionStatus::Superseded, 9), vec![]);
    f.put(&deployed(4, 10), vec![deployment("web", "a:1")]);
    f.index.apply(record(5, RevisionStatus::PendingUpgrade, 20));
    f.index.learn(learned(15, vec![deployed(4, 10)], vec![]));
    let view = f.directory.releases().remove(0);
    assert_eq!((view.newest, view.records), (5, 2));
}
