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
async fn the_first_replica_makes_it_and_the_second_reads_it() {
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
async fn who_loses_the_race_to_create_uses_what_the_other_made() {
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
async fn who_loses_the_race_to_renew_uses_what_the_other_made() {
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
async fn a_certificate_that_will_not_do_is_replaced() {
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

/// Other replicas serve what was in it: the API server has to go on trusting them.
#[rstest::rstest]
#[case::deleted(false, None)]
#[case::without_its_ca(true, None)]
#[case::with_a_damaged_ca(true, Some("not a certificate"))]
#[tokio::test]
async fn a_secret_that_somebody_deletes_or_damages_takes_no_trust_away(
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

/// One replica serves what was in the Secret, another what is in it.
#[tokio::test]
async fn a_renewal_trusts_what_is_served_and_what_is_stored() {
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
async fn a_damaged_secret_of_ours_is_replaced() {
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
async fn anothers_secret_is_used_and_never_written() {
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
async fn a_refusal_is_an_error_and_no_certificate() {
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
