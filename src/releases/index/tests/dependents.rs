//! Which releases depend on a namespace or a CRD.

use helm_guard_core::guard::{
    Claimant, Reach, Trusts,
    records::{AffectedRelease, Defined, DeletionTarget},
};

use super::*;

fn deployments(is_cluster_scoped: bool) -> Defined {
    Defined {
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        is_cluster_scoped,
        version: None,
    }
}

impl Fixture {
    fn holders(&self, deletion: DeletionTarget<'_>, trusts: Trusts<'_>) -> Vec<AffectedRelease> {
        let views = self.directory.releases();
        let holders = views
            .iter()
            .filter_map(|view| self.directory.holder(view, deletion, trusts));
        holders.collect()
    }

    fn held_by(&self, deletion: DeletionTarget<'_>) -> Vec<String> {
        let holders = self.holders(deletion, &|_| false);
        let name = |holder: &AffectedRelease| holder.claimant.release.name.clone();
        let text = |holder: AffectedRelease| format!("{} {:?}", name(&holder), holder.objects);
        holders.into_iter().map(text).collect()
    }

    fn reaches(&self, deletion: DeletionTarget<'_>, trusts: Trusts<'_>) -> Vec<(Reach, usize)> {
        let holders = self.holders(deletion, trusts);
        let reach = |holder: &AffectedRelease| {
            let Claimant {
                reach, witnesses, ..
            } = &holder.claimant;
            (*reach, witnesses.len())
        };
        holders.iter().map(reach).collect()
    }

    fn hold(&self) -> [bool; 2] {
        let elsewhere = DeletionTarget::Namespace("elsewhere");
        [DeletionTarget::Crd(&deployments(false)), elsewhere]
            .map(|deletion| !self.held_by(deletion).is_empty())
    }
}

/// A Deployment outside the namespace of the release.
fn away() -> Vec<DeclaredObject> {
    vec![object("Deployment", Some("elsewhere"), "web", "a:1")]
}

#[test]
fn a_release_depends_on_what_each_active_revision_declares() {
    let mut fixture = fixture();
    fixture.put(&deployed(1, 1), away());
    assert_eq!(fixture.hold(), [true, true]);
    assert_eq!(
        fixture.held_by(DeletionTarget::Crd(&deployments(false))),
        [r#"web ["Deployment \"web\" in namespace \"elsewhere\""]"#]
    );
    // An upgrade that removes it from the chart deletes it before the upgrade completes.
    fixture.put(&record(2, RevisionStatus::PendingUpgrade, 2), Vec::new());
    assert_eq!(fixture.hold(), [false, false]);
    fixture.put(&record(2, RevisionStatus::Failed, 3), Vec::new());
    assert_eq!(fixture.hold(), [false, false]);
    fixture.put(&record(2, RevisionStatus::Failed, 4), away());
    assert_eq!(fixture.hold(), [true, true]);
}

#[test]
fn a_release_being_uninstalled_protects_nothing() {
    let mut fixture = fixture();
    for (version, status) in [
        (1, RevisionStatus::Uninstalling),
        (2, RevisionStatus::Uninstalled),
    ] {
        fixture.put(&record(1, status, version), away());
        assert_eq!(fixture.hold(), [false, false], "{status}");
        let home = DeletionTarget::Namespace("shop");
        assert_eq!(fixture.held_by(home), Vec::<String>::new());
    }
}

#[test]
fn a_namespace_is_protected_by_the_releases_recorded_in_it() {
    let mut fixture = fixture();
    fixture.put(&record(1, RevisionStatus::Failed, 1), Vec::new());
    let home = DeletionTarget::Namespace("shop");
    assert_eq!(fixture.held_by(home), ["web []"]);
    assert_eq!(
        fixture.held_by(DeletionTarget::Namespace("other")),
        Vec::<String>::new()
    );
}

#[rstest]
#[case::home("shop", false, (Reach::Own, 0))]
#[case::away("elsewhere", false, (Reach::Elsewhere, 1))]
#[case::of_the_cluster("shop", true, (Reach::Elsewhere, 1))]
fn an_object_outside_the_namespace_of_the_records_needs_a_witness(
    #[case] namespace: &str,
    #[case] is_cluster_scoped: bool,
    #[case] expected: (Reach, usize),
) {
    let mut fixture = fixture();
    let declared = object("Deployment", Some(namespace), "web", "a:1");
    fixture.put(&deployed(1, 1), vec![declared]);
    let defined = deployments(is_cluster_scoped);
    let deletion = DeletionTarget::Crd(&defined);
    assert_eq!(fixture.reaches(deletion, &|_| false), [expected]);
    let trusted = fixture.reaches(deletion, &|known| known == "shop");
    assert!(matches!(trusted[..], [(Reach::Own | Reach::Trusted, 0)]));
    if !is_cluster_scoped {
        let of = fixture.reaches(DeletionTarget::Namespace(namespace), &|_| false);
        assert_eq!(of, [expected]);
    }
}

#[test]
fn a_cluster_scoped_object_is_not_a_witness_for_the_namespace_of_its_release() {
    let mut fixture = fixture();
    let mut role = object("ClusterRole", None, "web", "");
    role.group = "rbac.authorization.k8s.io".to_owned();
    let copy = at(
        &storage_in("flux-system", "web"),
        1,
        RevisionStatus::Deployed,
        1,
    );
    fixture.put(&copy, vec![role, deployment("web", "a:1")]);
    let home = fixture.holders(DeletionTarget::Namespace("shop"), &|_| false);
    let witnesses = &home[0].claimant.witnesses;
    let kinds: Vec<_> = witnesses.iter().map(|witness| &*witness.kind).collect();
    assert_eq!(kinds, ["Deployment"]);
}

/// A restored namespace: the copied records protect nothing, wherever they are.
#[test]
fn copies_protect_nothing() {
    let mut fixture = fixture();
    let home = DeletionTarget::Namespace("shop");
    let copy = at(
        &storage_in("flux-system", "web"),
        1,
        RevisionStatus::Deployed,
        1,
    );
    fixture.put(&copy, vec![deployment("web", "a:1")]);
    let kept = DeletionTarget::Namespace("flux-system");
    assert_eq!(fixture.reaches(home, &|_| false), [(Reach::Elsewhere, 1)]);
    assert_eq!(fixture.reaches(kept, &|_| false), [(Reach::Own, 0)]);
    fixture.put(&deployed(1, 2), Vec::new());
    assert_eq!(fixture.reaches(home, &|_| false), [(Reach::Own, 0)]);
    assert_eq!(fixture.reaches(kept, &|_| false), []);
    let trusted = |known: &str| known == "flux-system";
    assert_eq!(fixture.reaches(kept, &trusted), [(Reach::Trusted, 0)]);
}
