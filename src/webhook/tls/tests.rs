use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::webhook::{
    accept::ConnectionLimits,
    certificates::issue,
    endpoint::Endpoint,
    testing::{connect_tls, exchange, issued, start, tls_protocol},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn endpoint() -> Endpoint {
    Endpoint::from_url("https://127.0.0.1").unwrap()
}

#[tokio::test]
async fn a_new_connection_gets_the_new_certificate_and_an_old_one_stays_open() {
    let (first, serving) = issued();
    let server = start(tls_protocol(&serving), ConnectionLimits::default()).await;
    let mut before = connect_tls(server.address, &first, "http/1.1")
        .await
        .unwrap();
    exchange(&mut before, "/ok").await;

    let now = SystemTime::now();
    let second = issue(&endpoint(), None, now).unwrap();
    serving.install(&second, &endpoint().names(), now).unwrap();
    // Each client trusts one CA only, so a successful connection shows which leaf was served.
    assert!(
        connect_tls(server.address, &first, "http/1.1")
            .await
            .is_err()
    );
    let mut after = connect_tls(server.address, &second, "http/1.1")
        .await
        .unwrap();
    for stream in [&mut before, &mut after] {
        assert!(exchange(stream, "/ok").await.ends_with("ok"));
    }
    assert_eq!((serving.reloads(), serving.failures()), (2, 0));
}

#[rstest]
#[case::anothers_key(|other: &Pair, pair: &mut Pair| pair.key.clone_from(&other.key), 0)]
#[case::no_key(|_: &Pair, pair: &mut Pair| pair.key.clear(), 0)]
#[case::no_certificate(|_: &Pair, pair: &mut Pair| pair.chain.clear(), 0)]
#[case::half_a_certificate(|_: &Pair, pair: &mut Pair| pair.chain.truncate(200), 0)]
#[case::a_damaged_ca(|_: &Pair, pair: &mut Pair| pair.ca_bundle = Some("CA".to_owned()), 0)]
#[case::expired(|_: &Pair, _: &mut Pair| {}, 400)]
#[tokio::test]
async fn an_unusable_certificate_does_not_replace_the_served_one(
    #[case] spoil: fn(&Pair, &mut Pair),
    #[case] days: u32,
) {
    let (good, serving) = issued();
    let server = start(tls_protocol(&serving), ConnectionLimits::default()).await;
    let now = SystemTime::now();
    let mut bad = issue(&endpoint(), None, now).unwrap();
    spoil(&good, &mut bad);
    assert!(
        serving
            .install(&bad, &endpoint().names(), now + days * DAY)
            .is_err()
    );
    connect_tls(server.address, &good, "http/1.1")
        .await
        .unwrap();
    assert_eq!((serving.reloads(), serving.failures()), (1, 1));
}

#[tokio::test]
async fn without_a_certificate_handshakes_fail_and_nothing_else_does() {
    let (pair, _) = issued();
    let serving = ServingCertificate::new();
    let server = start(tls_protocol(&serving), ConnectionLimits::default()).await;
    assert!(
        connect_tls(server.address, &pair, "http/1.1")
            .await
            .is_err()
    );
    assert_eq!(serving.state(SystemTime::now()), CertificateState::Missing);
    serving
        .install(&pair, &endpoint().names(), SystemTime::now())
        .unwrap();
    connect_tls(server.address, &pair, "http/1.1")
        .await
        .unwrap();
}

#[test]
fn an_expired_certificate_is_not_ready() {
    let (_, serving) = issued();
    let now = SystemTime::now();
    assert!(serving.serves_ok(now) && serving.serves_ok(now + 360 * DAY));
    assert!(!serving.serves_ok(now + 366 * DAY));
}

#[test]
fn a_certificate_for_another_name_is_served_but_not_ready() {
    let (pair, _) = issued();
    let serving = ServingCertificate::new();
    let names = ["guard.example".to_owned()];
    serving.install(&pair, &names, SystemTime::now()).unwrap();
    assert!(matches!(
        serving.state(SystemTime::now()),
        CertificateState::Unusable(_)
    ));
}

#[test]
fn both_lifetimes_are_known() {
    let (_, serving) = issued();
    let now = unix_seconds(SystemTime::now());
    let days = |end: Option<i64>| (end.unwrap() - now + 86_400) / 86_400;
    assert_eq!(
        (days(serving.leaf_not_after()), days(serving.ca_not_after())),
        (365, 3650)
    );
}
