use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use kube::api::ObjectMeta;
use rstest::rstest;

use super::*;

fn installation(namespace: &str) -> Installation {
    Installation::new(namespace.to_owned())
}

fn written_by(installation: &str) -> Configuration {
    let annotations = BTreeMap::from([(INSTALLATION.to_owned(), installation.to_owned())]);
    Configuration {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        webhooks: None,
    }
}

#[rstest]
#[case::another_namespace("ops/helm-guard", Some("guard"), Some("ops"))]
#[case::this_namespace("guard/helm-guard", Some("guard"), None)]
#[case::a_guard_without_a_namespace("ops/helm-guard", None, Some("ops"))]
#[case::another_lease("kube-system/kube-scheduler", Some("guard"), None)]
#[case::not_a_namespace("../helm-guard", Some("guard"), None)]
#[case::no_namespace("helm-guard", Some("guard"), None)]
#[case::empty("", Some("guard"), None)]
fn a_registration_belongs_to_the_installation_that_it_names(
    #[case] annotation: &str,
    #[case] own: Option<&str>,
    #[case] expected: Option<&str>,
) {
    let own = own.map(installation);
    let other = Installation::other(own.as_ref(), &written_by(annotation));
    assert_eq!(other, expected.map(installation));
}

fn lease(holder: &str, renewed: i64) -> Lease {
    Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..LeaseSpec::default()
        }),
        ..Lease::default()
    }
}

/// Looks at the Lease of `ops`: when, by the own clock, and what is there.
type Looks<'l> = &'l [(u64, Option<(&'l str, i64)>)];

#[rstest]
#[case::seen_for_the_first_time(&[(0, Some(("a", 1)))], true)]
#[case::renewed_long_ago_by_the_clock_of_another_machine(&[(0, Some(("a", -9999)))], true)]
#[case::unchanged_for_less_than_five_minutes(&[(0, Some(("a", 1))), (299, Some(("a", 1)))], true)]
#[case::unchanged_for_five_minutes(&[(0, Some(("a", 1))), (300, Some(("a", 1)))], false)]
#[case::renewed(&[(0, Some(("a", 1))), (300, Some(("a", 2)))], true)]
#[case::held_by_another_replica(&[(0, Some(("a", 1))), (300, Some(("b", 1)))], true)]
#[case::released_a_moment_ago(&[(0, Some(("a", 1))), (300, Some(("", 1)))], true)]
#[case::released_for_half_a_minute(&[(0, Some(("", 1))), (30, Some(("", 1)))], false)]
#[case::deleted_a_moment_ago(&[(0, Some(("a", 1))), (300, None)], true)]
#[case::deleted_for_half_a_minute(&[(0, None), (30, None)], false)]
#[case::released_and_held_again(&[(0, None), (30, Some(("a", 1)))], true)]
fn another_installation_runs_while_its_lease_changes(
    #[case] looks: Looks<'_>,
    #[case] expected: bool,
) {
    let (others, start) = (OtherInstallations::default(), Instant::now());
    let mut is_running = true;
    for &(at, seen) in looks {
        let state = LeaseRenewal::of(seen.map(|(holder, renewed)| lease(holder, renewed)));
        is_running = others.observe(&installation("ops"), state, start + Duration::from_secs(at));
    }
    assert_eq!(is_running, expected);
}

#[test]
fn what_was_seen_of_one_installation_says_nothing_about_the_next() {
    let (others, start) = (OtherInstallations::default(), Instant::now());
    let state = || LeaseRenewal::of(Some(lease("a", 1)));
    assert!(others.observe(&installation("ops"), state(), start));
    assert!(others.observe(&installation("dev"), state(), start + HELD));
}
