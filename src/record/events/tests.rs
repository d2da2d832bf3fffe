//! Events as an API server receives them.

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_test::mock::{Handle, SendResponse};

use super::*;

type Api = Handle<Request<Body>, Response<Body>>;

fn note(object: &str, namespace: &str) -> Note {
    Note {
        object: ObjectId {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            namespace: namespace.to_owned(),
            name: object.to_owned(),
        },
        api_version: "apps/v1".to_owned(),
        uid: Some("o-1".to_owned()),
        reason: "BreakGlass",
        action: "Update",
        text: "UPDATE by ada of a field that Helm declares".to_owned(),
    }
}

fn start() -> (Events, Api, JoinHandle<()>) {
    let (service, api) = tower_test::mock::pair();
    let (events, announcer) = queue();
    let task = tokio::spawn(announcer.run(Client::new(service, "default")));
    (events, api, task)
}

async fn received(api: &mut Api) -> (Method, String, Value, SendResponse<Response<Body>>) {
    let (request, answer) = api.next_request().await.unwrap();
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap();
    (parts.method, parts.uri.path().to_owned(), body, answer)
}

fn ok(body: &Value) -> Response<Body> {
    Response::new(Body::from(body.to_string().into_bytes()))
}

fn refused(code: StatusCode) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": "x", "message": "x", "code": code.as_u16()});
    let mut response = ok(&status);
    *response.status_mut() = code;
    response
}

#[tokio::test]
async fn changes_of_one_object_within_a_minute_are_one_event_with_a_count() {
    let (events, mut api, task) = start();
    for _ in 0..3 {
        events.announce(note("web", "shop"));
    }
    let (method, path, event, answer) = received(&mut api).await;
    assert_eq!(method, Method::POST);
    assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/shop/events");
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reason"], "BreakGlass");
    assert_eq!(event["action"], "Update");
    assert_eq!(event["regarding"]["uid"], "o-1");
    assert_eq!(event["regarding"]["apiVersion"], "apps/v1");
    answer.send_response(ok(&event));
    let name = event["metadata"]["name"].as_str().unwrap();
    for count in [2, 3] {
        let (method, path, sent, answer) = received(&mut api).await;
        assert_eq!(method, Method::PATCH);
        assert!(path.ends_with(name), "{path}");
        assert_eq!(sent["series"]["count"], count);
        answer.send_response(ok(&event));
    }
    drop(events);
    task.await.unwrap();
}

#[tokio::test]
async fn an_event_that_was_removed_is_created_again() {
    let (events, mut api, task) = start();
    events.announce(note("web", "shop"));
    let (_, _, event, answer) = received(&mut api).await;
    answer.send_response(ok(&event));
    events.announce(note("web", "shop"));
    let (method, _, _, answer) = received(&mut api).await;
    assert_eq!(method, Method::PATCH);
    answer.send_response(refused(StatusCode::NOT_FOUND));
    let (method, _, event, answer) = received(&mut api).await;
    assert_eq!(method, Method::POST);
    answer.send_response(ok(&event));
    let dropped = events.clone();
    drop(events);
    assert_eq!(dropped.dropped(), 0);
    drop(dropped);
    task.await.unwrap();
}

#[tokio::test]
async fn an_event_that_the_api_server_rejects_is_counted_and_the_next_one_is_sent() {
    let (events, mut api, task) = start();
    events.announce(note("system:reader", ""));
    let (_, path, event, answer) = received(&mut api).await;
    assert_eq!(path, "/apis/events.k8s.io/v1/namespaces/default/events");
    let name = event["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("system-reader."), "{name}");
    answer.send_response(refused(StatusCode::FORBIDDEN));
    events.announce(note("web", "shop"));
    let (_, _, event, answer) = received(&mut api).await;
    assert_eq!(events.dropped(), 1);
    answer.send_response(ok(&event));
    drop(events);
    task.await.unwrap();
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_instead_of_waiting() {
    let (events, announcer) = queue();
    for _ in 0..QUEUE + 3 {
        events.announce(note("web", "shop"));
    }
    assert_eq!(events.dropped(), 3);
    drop(announcer);
}
