use helm_guard_core::{
    compare::{Json, open},
    guard::{Operation, Raw},
};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const SCALE: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{
    "uid":"u-1","kind":{"group":"autoscaling","version":"v1","kind":"Scale"},
    "resource":{"group":"apps","version":"v1","resource":"deployments"},"subResource":"scale",
    "requestKind":{"group":"autoscaling","version":"v1","kind":"Scale"},"futureField":{"a":[1]},
    "name":"web","namespace":"shop","operation":"UPDATE",
    "userInfo":{"username":"ada","groups":["ops","system:authenticated"],"extra":{"a":["b"]}},
    "object":{"spec": {"replicas":0}},"oldObject":{"spec": {"replicas":3}},
    "dryRun":true,"options":{"kind":"UpdateOptions","fieldManager":"kubectl"}}}"#;

#[test]
fn a_review_is_read_without_parsing_its_objects() {
    let request = parse(SCALE.as_bytes()).unwrap();
    assert_eq!(request.uid, "u-1");
    assert_eq!(request.operation, Operation::Update);
    assert_eq!(request.resource.group, "apps");
    assert_eq!(request.sub_resource, "scale");
    assert_eq!(request.user_info.groups, ["ops", "system:authenticated"]);
    assert_eq!(request.field_manager(), Some("kubectl"));
    assert!(request.dry_run);
    assert_eq!(
        request.object.unwrap().get(),
        r#"{"spec": {"replicas":0}}"#,
        "raw text, blanks and all"
    );
    assert!(matches!(request.uid, Cow::Borrowed(_)));
}

/// Everything that is read from a request.
fn said(request: &Request<'_>) -> String {
    let texts = [request.object, request.old_object, request.user_info.extra];
    format!("{request:?} {:?}", texts.map(|raw| raw.map(Raw::get)))
}

/// Any JSON object that is not empty.
fn objects() -> impl Strategy<Value = Value> {
    let text = || proptest::string::string_regex(r#"[a-c"\\\{\}\[\]:,\n é😀]{0,90}"#).unwrap();
    let scalar = prop_oneof![
        Just(json!(null)),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..6)
                .prop_map(|fields| fields.into_iter().collect()),
        ]
    });
    prop::collection::btree_map("[a-d]{1,3}|[a-b]\"", value, 1..5)
        .prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #[test]
    fn the_quick_reader_agrees_with_the_parser(
        old in objects(),
        added in objects(),
        is_same in any::<bool>(),
    ) {
        let mut new = old.clone();
        if !is_same {
            new["d"] = added;
        }
        let mut review: Value = serde_json::from_str(SCALE).unwrap();
        review["request"]["object"] = new;
        review["request"]["oldObject"] = old;
        for text in [review.to_string(), serde_json::to_string_pretty(&review).unwrap()] {
            let expected = said(&thoroughly(text.as_bytes()).unwrap());
            if let Some(request) = quick::read(text.as_bytes()) {
                prop_assert_eq!(said(&request), expected);
                for (json, raw) in [
                    (request.new_json(), request.object),
                    (request.old_json(), request.old_object),
                ] {
                    let (json, raw) = (json.unwrap(), raw.unwrap());
                    let (known, read) = (open(json), open(Json::of(raw.get())));
                    prop_assert_eq!(format!("{known:?}"), format!("{read:?}"));
                }
            }
        }
    }
}

#[test]
fn reviews_of_api_servers_are_read_by_the_quick_reader() {
    let compact = serde_json::from_str::<Value>(SCALE).unwrap().to_string();
    for text in [SCALE, &compact, &format!("{compact}\n")] {
        let request = quick::read(text.as_bytes()).unwrap();
        assert_eq!(said(&request), said(&thoroughly(text.as_bytes()).unwrap()));
    }
}

#[rstest]
#[case::an_escaped_name(r#""n\u0061me":"web""#)]
#[case::an_escaped_value(r#""name":"w\u0065b""#)]
#[case::a_field_twice(r#""name":"web","name":"other""#)]
#[case::a_wrong_type(r#""name":1"#)]
#[case::null_for_a_string(r#""name":null"#)]
#[case::an_object_that_is_none(r#""name":"web","object":[]"#)]
#[case::signs_too_many(r#""name":"web",,"namespace":"shop""#)]
#[case::a_sign_too_few(r#""name" "web""#)]
fn unusual_reviews_are_left_to_the_parser(#[case] fields: &str) {
    let text = format!(
        r#"{{"apiVersion":"{API_VERSION}","kind":"{KIND}","request":{{"uid":"u","operation":"UPDATE",{fields}}}}}"#
    );
    assert!(quick::read(text.as_bytes()).is_none());
    let cut = text.strip_suffix('}').unwrap();
    assert!(quick::read(cut.as_bytes()).is_none());
    assert!(quick::read(format!("{text}x").as_bytes()).is_none());
}

#[test]
fn an_unknown_operation_is_a_review_like_any_other() {
    let body = SCALE.replace("\"UPDATE\"", "\"FROBNICATE\"");
    assert_eq!(
        parse(body.as_bytes()).unwrap().operation,
        Operation::Unknown
    );
}

#[rstest]
#[case::empty("", "not-json")]
#[case::cut_short(r#"{"apiVersion":"admission.k8s.io/v1","#, "not-json")]
#[case::text("hunter2", "not-json")]
#[case::binary("\u{1}\u{2}", "not-json")]
#[case::a_list("[]", "not-a-review")]
#[case::a_string("\"hunter2\"", "not-a-review")]
#[case::nothing_in_it("{}", "not-a-review")]
#[case::old_version(
    r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u","operation":"UPDATE"}}"#,
    "not-a-review"
)]
#[case::other_kind(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"Secret","request":{"uid":"u","operation":"UPDATE"}}"#,
    "not-a-review"
)]
#[case::numeric_version(r#"{"apiVersion":1,"kind":"AdmissionReview"}"#, "not-a-review")]
#[case::no_request(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
    "no-request"
)]
#[case::null_request(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}"#,
    "no-request"
)]
#[case::no_uid(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"operation":"UPDATE"}}"#,
    "no-uid"
)]
#[case::empty_uid(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"","operation":"UPDATE"}}"#,
    "no-uid"
)]
#[case::no_operation(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u"}}"#,
    "field"
)]
#[case::a_field_of_the_wrong_type(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"UPDATE","name":["hunter2"]}}"#,
    "field"
)]
#[case::the_request_is_a_string(
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":"hunter2"}"#,
    "field"
)]
fn a_malformed_body_gets_its_own_error_and_is_never_quoted(#[case] body: &str, #[case] kind: &str) {
    let error = parse(body.as_bytes()).unwrap_err();
    assert_eq!(error.as_str(), kind);
    assert_eq!(error.status(), http::StatusCode::BAD_REQUEST);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[rstest]
#[case::an_object("{}")]
#[case::a_list("[]")]
#[case::a_number("1")]
#[case::null("null")]
fn an_operation_of_another_type_is_reported_by_field(#[case] operation: &str) {
    let text = format!(
        r#"{{"apiVersion":"{API_VERSION}","kind":"{KIND}","request":{{"uid":"u","operation":{operation}}}}}"#
    );
    let error = parse(text.as_bytes()).unwrap_err();
    assert!(matches!(error, EnvelopeError::Field { .. }), "{error}");
}
