use serde_json::{Value, json};

use super::*;
use crate::{
    record::forecast::{ForecastAct, RowKey},
    webhook::testing::api::api,
};

fn what(user: &str) -> RowKey {
    RowKey {
        namespace: "shop".to_owned(),
        release: "myapp".to_owned(),
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        act: ForecastAct::Scale,
        field: ".spec.replicas".to_owned(),
        user: user.to_owned(),
        manager: String::new(),
    }
}

fn publisher(client: &Client, writer: &str) -> Publisher {
    let gathered = Arc::new(Collector::counting());
    Publisher::new(client, "ops", writer.to_owned(), gathered)
}

impl Publisher {
    fn sees(&self, user: &str) {
        let Some(counting) = &self.gathered.0 else {
            panic!("it counts");
        };
        counting
            .lock()
            .forecast
            .note([what(user)], "web", Timestamp::now());
    }
}

/// The count of each user in the stored document.
fn counts(object: Option<&Value>) -> Vec<(String, u64)> {
    let map: ConfigMap = serde_json::from_value(object.unwrap().clone()).unwrap();
    let rows = read(&map).unwrap().forecast().rows.into_iter();
    rows.map(|(what, seen)| (what.user, seen.since(jiff::civil::Date::MIN).requests))
        .collect()
}

fn said(users: &[(&str, u64)]) -> Vec<(String, u64)> {
    users
        .iter()
        .map(|(user, count)| ((*user).to_owned(), *count))
        .collect()
}

#[tokio::test]
async fn an_empty_forecast_is_stored() {
    let (client, store) = api();
    let mut publisher = publisher(&client, "one");
    publisher.freeze();
    publisher.write().await.unwrap();
    let object = store.lock().object.clone().unwrap();
    assert_eq!(object["metadata"]["name"], NAME);
    assert_eq!(counts(Some(&object)), []);
    assert_eq!(store.lock().requests.len(), 3, "read, made, filled");
    // It is also stored again without new counts, so that readers know until when there are none.
    let until = |object: Option<Value>| {
        let map: ConfigMap = serde_json::from_value(object.unwrap()).unwrap();
        read(&map).unwrap().counted_until().unwrap()
    };
    let first = until(Some(object));
    publisher.freeze();
    publisher.write().await.unwrap();
    assert!(until(store.lock().object.clone()) > first);
}

#[tokio::test]
async fn a_replica_that_loses_a_write_race_reads_again_and_adds() {
    let (client, store) = api();
    let (mut one, mut two) = (publisher(&client, "one"), publisher(&client, "two"));
    for publisher in [&mut one, &mut two] {
        publisher.sees("bob");
        publisher.freeze();
    }
    one.write().await.unwrap();
    let beaten = store.lock().object.clone().unwrap();
    // Another replica writes between the other's read and its write.
    store.lock().meanwhile = Some(Box::new(move |store| {
        store.put(beaten);
    }));
    two.sees("eve");
    two.write().await.unwrap();
    two.freeze();
    two.write().await.unwrap();
    let store = store.lock();
    assert_eq!(
        counts(store.object.as_ref()),
        said(&[("bob", 2), ("eve", 1)])
    );
}

#[tokio::test]
async fn a_failed_batch_is_written_later_and_once() {
    let (client, store) = api();
    let mut publisher = publisher(&client, "one");
    publisher.freeze();
    publisher.write().await.unwrap();
    publisher.sees("bob");
    publisher.freeze();
    store.lock().refuse = Some(503);
    assert!(publisher.write().await.is_err());
    store.lock().refuse = None;
    publisher.sees("bob");
    publisher.write().await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 1)]));
    // As if the answer to the write had been lost.
    publisher.is_written = false;
    publisher.write().await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 1)]));
    publisher.freeze();
    publisher.write().await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 2)]));
}

#[tokio::test]
async fn an_unreadable_document_is_replaced() {
    let (client, store) = api();
    store.lock().put(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "ops"},
        "data": {KEY: "[]"},
    }));
    let mut publisher = publisher(&client, "one");
    publisher.sees("bob");
    publisher.freeze();
    publisher.write().await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 1)]));
}

#[tokio::test]
async fn the_last_counts_are_written_at_shutdown() {
    let (client, store) = api();
    let publisher = publisher(&client, "one");
    let gathered = Arc::clone(&publisher.gathered);
    let stop = CancellationToken::new();
    let running = tokio::spawn(publisher.run(stop.clone()));
    while store.lock().object.is_none() {
        tokio::task::yield_now().await;
    }
    if let Some(counting) = &gathered.0 {
        let forecast = &mut counting.lock().forecast;
        forecast.note([what("bob")], "web", Timestamp::now());
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 1)]));
}
