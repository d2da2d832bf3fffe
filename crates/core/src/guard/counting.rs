//! Which claims count: those whose records may speak for the object.

use super::{
    claim::Claim,
    reach::{NamedOwner, Reach},
};

/// Claims, by whether they count.
#[derive(Debug, Default)]
pub struct Settled {
    /// Those that count, those of the named owner first.
    pub counting: Vec<Claim>,
    /// Those that do not.
    pub others: Vec<Claim>,
}

/// Separates the claims that count from the others.
pub fn settle(claims: Vec<Claim>, owner: &NamedOwner, trusts: impl Fn(&str) -> bool) -> Settled {
    let mut settled = Settled::default();
    for mut claim in claims {
        claim.reach = match (claim.reach, owner) {
            (Reach::Elsewhere, NamedOwner::Known(Some(owner))) if *owner == *claim.release => {
                Reach::Named
            }
            (Reach::Elsewhere, NamedOwner::Unseen) => Reach::Trusted,
            (Reach::Elsewhere | Reach::Copy, _) if trusts(&claim.records.namespace) => {
                Reach::Trusted
            }
            (reach, _) => reach,
        };
        match claim.reach {
            Reach::Named | Reach::Own | Reach::Trusted => settled.counting.push(claim),
            Reach::Elsewhere | Reach::Copy => settled.others.push(claim),
        }
    }
    settled.counting.sort_by_key(|claim| claim.reach);
    settled
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;

    use super::*;
    use crate::{
        guard::RecordsAt,
        helm::{ReleaseName, lifecycle::Phase, record::ApplyMethod, storage::Driver},
    };

    fn name(text: &str) -> ReleaseName {
        let (namespace, name) = text.split_once('/').unwrap();
        ReleaseName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn claim(release: &str, storage: &str, reach: Reach) -> Claim {
        Claim {
            release: Arc::new(name(release)),
            records: RecordsAt {
                driver: Driver::Secret,
                namespace: storage.into(),
            },
            reach,
            chart: "web-1".into(),
            phase: Phase::Settled,
            uninstalling_since: None,
            apply_method: ApplyMethod::default(),
            hook_accounts: Arc::default(),
            revisions: Vec::new(),
        }
    }

    #[rstest]
    #[case::in_its_own_namespace("shop", Reach::Own, None, Some((Reach::Own, true)))]
    #[case::stripped_in_its_own_namespace("shop", Reach::Own, Some("a/b"), Some((Reach::Own, true)))]
    #[case::elsewhere("evil", Reach::Elsewhere, None, None)]
    #[case::elsewhere_of_another("evil", Reach::Elsewhere, Some("shop/api"), None)]
    #[case::elsewhere_and_named(
        "evil", Reach::Elsewhere, Some("shop/web"), Some((Reach::Named, true))
    )]
    #[case::in_a_trusted_namespace("flux", Reach::Elsewhere, None, Some((Reach::Trusted, false)))]
    #[case::a_copy_that_is_named("evil", Reach::Copy, Some("shop/web"), None)]
    #[case::a_copy_in_a_trusted_namespace("flux", Reach::Copy, None, Some((Reach::Trusted, false)))]
    fn a_record_reaches_its_own_namespace_and_objects_that_name_its_release(
        #[case] storage: &str,
        #[case] reach: Reach,
        #[case] owner: Option<&str>,
        #[case] expected: Option<(Reach, bool)>,
    ) {
        let owner = NamedOwner::Known(owner.map(name));
        let claims = vec![claim("shop/web", storage, reach)];
        let settled = settle(claims, &owner, |namespace| namespace == "flux");
        let found = settled.counting.first();
        let found = found.map(|claim| (claim.reach, claim.reach.excuses()));
        assert_eq!(found, expected);
        assert_eq!(settled.others.is_empty(), expected.is_some());
    }

    /// Two releases with the same name that both declare the object.
    #[test]
    fn only_the_release_that_the_object_names_counts() {
        let claims = || {
            vec![
                claim("evil/web", "evil", Reach::Elsewhere),
                claim("team/web", "team", Reach::Elsewhere),
            ]
        };
        let owner = NamedOwner::Known(Some(name("team/web")));
        let settled = settle(claims(), &owner, |_| false);
        let counting = settled.counting.iter().map(|claim| &*claim.release);
        assert_eq!(counting.collect::<Vec<_>>(), [&name("team/web")]);
        // One annotation alone names no release.
        let settled = settle(claims(), &NamedOwner::Known(None), |_| false);
        assert!(settled.counting.is_empty());
    }

    #[test]
    fn a_claim_with_an_unknown_owner_counts_but_excuses_nothing() {
        let claims = vec![claim("shop/web", "evil", Reach::Elsewhere)];
        let settled = settle(claims, &NamedOwner::Unseen, |_| false);
        assert!(settled.counting.iter().all(|claim| !claim.reach.excuses()));
        assert_eq!(settled.counting.len(), 1);
    }
}
