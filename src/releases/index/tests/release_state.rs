//! The state of a release with records in several namespaces.

use super::*;
use crate::releases::ReleaseState;

impl Fixture {
    fn release_state(&self) -> String {
        let release = ReleaseName {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        let object = ObjectRef {
            group: "apps",
            kind: "Deployment",
            namespace: "shop",
            name: "web".into(),
        };
        match self.directory.release_state(&release, &object) {
            ReleaseState::Unknown => "unknown".to_owned(),
            ReleaseState::Gone => "gone".to_owned(),
            ReleaseState::Deployed { revision, object } => {
                format!(
                    "{revision} {}",
                    object.map_or("-".into(), |object| object.json.clone())
                )
            }
        }
    }
}

fn elsewhere(namespace: &str, revision: u32) -> Stored {
    at(
        &storage_in(namespace, "web"),
        revision,
        RevisionStatus::Deployed,
        50,
    )
}

/// Otherwise a forged record elsewhere could resolve an emergency change.
#[test]
fn records_in_the_own_namespace_decide_the_state_of_a_release() {
    let mut f = fixture();
    assert_eq!(f.release_state(), "gone");
    f.put(&elsewhere("evil", 9), vec![deployment("web", "evil:1")]);
    f.put(&deployed(1, 10), vec![deployment("web", "a:1")]);
    assert_eq!(f.release_state(), r#"1 {"image":"a:1"}"#);
    f.put(&record(2, RevisionStatus::PendingUpgrade, 11), Vec::new());
    assert_eq!(f.release_state(), "unknown");
    f.index.apply(record(1, RevisionStatus::Uninstalled, 12));
    f.index.apply(record(2, RevisionStatus::Uninstalled, 12));
    assert_eq!(f.release_state(), "gone");
}

/// Flux stores them there. With two such namespaces, the right one is unknown.
#[test]
fn records_elsewhere_count_if_the_own_namespace_has_none() {
    let mut f = fixture();
    f.put(&elsewhere("flux", 3), vec![deployment("web", "a:3")]);
    assert_eq!(f.release_state(), r#"3 {"image":"a:3"}"#);
    let guest = f.body_of("prod", "web", vec![deployment("web", "b:1")]);
    f.put_body(&deployed(1, 11), guest);
    assert_eq!(f.release_state(), r#"3 {"image":"a:3"}"#);
    f.put(&elsewhere("evil", 9), vec![deployment("web", "evil:1")]);
    assert_eq!(f.release_state(), "unknown");
}
