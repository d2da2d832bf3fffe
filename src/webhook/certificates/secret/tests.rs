use std::time::Duration;

use super::*;
use crate::webhook::testing::api::api;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn endpoint() -> Endpoint {
    Endpoint::from_service("ops/guard").unwrap()
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 20_000 * DAY
}

fn stored(pair: &Pair) -> serde_json::Value {
    serde_json::to_value(secret(pair, "ops", None)).unwrap()
}

#[tokio::test]
async fn the_first_replica_creates_the_secret_and_the_second_reads_it() {
    let (client, store) = api();
    let first = ensure(&client, "ops", (&endpoint(), None), now())
        .await
        .unwrap();
    let second = ensure(&client, "ops", (&endpoint(), None), now())
        .await
        .unwrap();
    assert_eq!(first, second);
    let made = store
        .lock()
        .requests
        .iter()
        .filter(|line| line.starts_with("PATCH"))
        .count();
    assert_eq!(made, 1);
}

#[tokio::test]
async fn the_loser_of_a_creation_race_uses_the_certificate_of_the_winner() {
    let (client, store) = api();
    let theirs = issue(&endpoint(), None, now()).unwrap();
    let object = stored(&theirs);
    store.lock().meanwhile = Some(Box::new(move |store| {
        store.put(object);
    }));
    assert_eq!(
        ensure(&client, "ops", (&endpoint(), None), now())
            .await
            .unwrap(),
        theirs
    );
}

#[tokio::test]
async fn the_loser_of_a_renewal_race_uses_the_certificate_of_the_winner() {
    let (client, store) = api();
    let old = issue(&endpoint(), None, now()).unwrap();
    store.lock().put(stored(&old));
    let later = now() + 300 * DAY;
    let theirs = issue(&endpoint(), old.ca_bundle.as_deref(), later).unwrap();
    let object = stored(&theirs);
    store.lock().meanwhile = Some(Box::new(move |store| {
        store.put(object);
    }));
    assert_eq!(
        ensure(&client, "ops", (&endpoint(), None), later)
            .await
            .unwrap(),
        theirs
    );
}

#[tokio::test]
async fn an_unusable_certificate_is_replaced() {
    let (client, store) = api();
    let elsewhere = Endpoint::from_service("ops/other").unwrap();
    let old = issue(&elsewhere, None, now()).unwrap();
    store.lock().put(stored(&old));
    let new = ensure(&client, "ops", (&endpoint(), None), now())
        .await
        .unwrap();
    assert!(will_do(&new, &endpoint(), now()));
    assert!(new.ca_bundle.unwrap().contains(&old.ca_bundle.unwrap()));
}

/// Other replicas serve its former content: the API server must continue to trust them.
#[rstest::rstest]
#[case::deleted(false, None)]
#[case::without_its_ca(true, None)]
#[case::with_a_damaged_ca(true, Some("not a certificate"))]
#[tokio::test]
async fn a_deleted_or_damaged_secret_keeps_the_trust_in_served_certificates(
    #[case] is_there: bool,
    #[case] bundle: Option<&str>,
) {
    let (client, store) = api();
    let served = issue(&endpoint(), None, now()).unwrap();
    if is_there {
        store.lock().put(stored(&Pair {
            ca_bundle: bundle.map(str::to_owned),
            ..served.clone()
        }));
    }
    let bundle = served.ca_bundle.as_deref();
    let new = ensure(&client, "ops", (&endpoint(), bundle), now())
        .await
        .unwrap();
    assert_ne!(new.chain, served.chain);
    assert!(new.ca_bundle.unwrap().contains(bundle.unwrap()));
}

/// One replica serves the former content of the Secret, another one the current content.
#[tokio::test]
async fn a_renewal_trusts_the_served_and_the_stored_certificate() {
    let (client, store) = api();
    let served = issue(&endpoint(), None, now()).unwrap();
    let held = issue(&endpoint(), None, now() + DAY).unwrap();
    store.lock().put(stored(&held));
    let late = now() + 300 * DAY;
    let serving = served.ca_bundle.as_deref();
    let new = ensure(&client, "ops", (&endpoint(), serving), late)
        .await
        .unwrap();
    let bundle = new.ca_bundle.unwrap();
    for old in [served, held] {
        assert!(bundle.contains(&old.ca_bundle.unwrap()));
    }
}

#[tokio::test]
async fn a_damaged_own_secret_is_replaced() {
    let (client, store) = api();
    let mut object = stored(&issue(&endpoint(), None, now()).unwrap());
    object["data"]["tls.key"] = serde_json::json!("bm8ga2V5");
    store.lock().put(object);
    let new = ensure(&client, "ops", (&endpoint(), None), now())
        .await
        .unwrap();
    assert!(will_do(&new, &endpoint(), now()));
}

#[tokio::test]
async fn a_foreign_secret_is_used_and_never_written() {
    let (client, store) = api();
    let theirs = issue(&endpoint(), None, now()).unwrap();
    let mut object = stored(&theirs);
    object["metadata"]["labels"] = serde_json::json!({});
    store.lock().put(object.clone());
    let late = now() + 300 * DAY;
    assert_eq!(
        ensure(&client, "ops", (&endpoint(), None), late)
            .await
            .unwrap(),
        theirs
    );
    object["data"] = serde_json::json!({});
    store.lock().put(object);
    let error = ensure(&client, "ops", (&endpoint(), None), late)
        .await
        .unwrap_err();
    assert!(matches!(error, SecretError::Foreign { .. }));
    assert!(
        store
            .lock()
            .requests
            .iter()
            .all(|line| line.starts_with("GET"))
    );
}

#[tokio::test]
async fn a_denied_read_is_an_error_and_creates_no_certificate() {
    let (client, store) = api();
    store.lock().refuse = Some(403);
    let error = ensure(&client, "ops", (&endpoint(), None), now())
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("failed to read the Secret ops/helm-guard-tls")
    );
}
