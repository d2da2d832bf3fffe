use serde_json::{Value, json};

use super::*;
use crate::{
    record::forecast::{Act, What},
    webhook::testing::api::api,
};

fn what(user: &str) -> What {
    What {
        namespace: "shop".to_owned(),
        release: "myapp".to_owned(),
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        act: Act::Scale,
        field: ".spec.replicas".to_owned(),
        user: user.to_owned(),
        manager: String::new(),
    }
}

fn keeper(client: &Client, writer: &str) -> Keeper {
    let gathered = Arc::new(Gathered::wanted());
    Keeper::new(client, "ops", writer.to_owned(), gathered)
}

impl Keeper {
    fn sees(&self, user: &str) {
        let Some(forecast) = &self.gathered.0 else {
            panic!("it counts");
        };
        forecast.lock().note([what(user)], "web", Timestamp::now());
    }
}

/// How often each user is counted in what is stored.
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
async fn a_guard_that_has_seen_nothing_can_be_told_from_none() {
    let (client, store) = api();
    let mut keeper = keeper(&client, "one");
    keeper.freeze();
    keeper.write().await.unwrap();
    let object = store.lock().object.clone().unwrap();
    assert_eq!(object["metadata"]["name"], NAME);
    assert_eq!(counts(Some(&object)), []);
    // Nothing new: nothing is written.
    keeper.freeze_some();
    keeper.write().await.unwrap();
    assert_eq!(store.lock().requests.len(), 3, "read, made, filled");
}

#[tokio::test]
async fn who_is_beaten_to_it_reads_again_and_adds() {
    let (client, store) = api();
    let (mut one, mut two) = (keeper(&client, "one"), keeper(&client, "two"));
    for keeper in [&mut one, &mut two] {
        keeper.sees("bob");
        keeper.freeze();
    }
    one.write().await.unwrap();
    let beaten = store.lock().object.clone().unwrap();
    // Another replica writes between the other's read and its write.
    store.lock().meanwhile = Some(Box::new(move |store| {
        store.put(beaten);
    }));
    two.sees("eve");
    two.write().await.unwrap();
    two.freeze_some();
    two.write().await.unwrap();
    let store = store.lock();
    assert_eq!(
        counts(store.object.as_ref()),
        said(&[("bob", 2), ("eve", 1)])
    );
}

#[tokio::test]
async fn what_could_not_be_written_is_written_later_and_once() {
    let (client, store) = api();
    let mut keeper = keeper(&client, "one");
    keeper.freeze();
    keeper.write().await.unwrap();
    keeper.sees("bob");
    keeper.freeze_some();
    store.lock().refuse = Some(503);
    assert!(keeper.write().await.is_err());
    store.lock().refuse = None;
    keeper.sees("bob");
    keeper.write().await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 1)]));
    // As if the answer to the write had been lost.
    keeper.is_written = false;
    keeper.write().await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 1)]));
    keeper.freeze_some();
    keeper.write().await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 2)]));
}

#[tokio::test]
async fn what_somebody_has_spoilt_is_begun_anew() {
    let (client, store) = api();
    store.lock().put(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": "ops"},
        "data": {KEY: "[]"},
    }));
    let mut keeper = keeper(&client, "one");
    keeper.sees("bob");
    keeper.freeze();
    keeper.write().await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 1)]));
}

#[tokio::test]
async fn what_is_left_is_written_at_the_end() {
    let (client, store) = api();
    let keeper = keeper(&client, "one");
    let gathered = Arc::clone(&keeper.gathered);
    let stop = CancellationToken::new();
    let running = tokio::spawn(keeper.run(stop.clone()));
    while store.lock().object.is_none() {
        tokio::task::yield_now().await;
    }
    if let Some(forecast) = &gathered.0 {
        forecast.lock().note([what("bob")], "web", Timestamp::now());
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(counts(store.lock().object.as_ref()), said(&[("bob", 1)]));
}
