//! Which alerts are valid, and which are not.

#![allow(
    clippy::needless_pass_by_value,
    reason = "what json! makes is passed as it is"
)]

use rstest::rstest;
use serde_json::{Value as Json, json};

use super::{
    sink::{ALERTMANAGER_PATH, HEADERS, PAGERDUTY},
    target::{SinkAddress, TargetError},
    template::TemplateError,
    *,
};
use crate::api::policy::alerts::{AlertKind, SecretKey};

/// A policy with these sinks.
fn compiled(sinks: Json) -> Result<AlertSettings, AlertsError> {
    let alerts: api::Alerts = serde_json::from_value(json!({"sinks": sinks})).unwrap();
    AlertSettings::compile(&alerts, None)
}

fn one(sink: Json) -> Result<Arc<Sink>, SinkError> {
    match compiled(json!([sink])) {
        Ok(mut settings) => Ok(settings.sinks.remove(0)),
        Err(AlertsError::Sink { source, .. }) => Err(source),
        Err(error) => panic!("{error}"),
    }
}

fn key(name: &str, key: &str) -> SecretKey {
    SecretKey {
        name: name.to_owned(),
        key: key.to_owned(),
    }
}

#[test]
fn a_sink_of_each_type_is_compiled() {
    let slack = one(json!({"name": "chat", "type": "slack",
        "urlFrom": {"name": "alerts", "key": "slack"}}));
    let slack = slack.unwrap();
    assert_eq!(slack.address, Address::Secret(key("alerts", "slack")));
    assert!(slack.wants(AlertKind::Denials));

    let pager = one(
        json!({"name": "pager", "type": "pagerduty", "events": ["Overdue"],
        "routingKeyFrom": {"name": "alerts", "key": "pagerduty"}}),
    );
    let pager = pager.unwrap();
    assert_eq!(
        pager.address,
        Address::Known(SinkAddress::parse(PAGERDUTY).unwrap())
    );
    assert!(pager.wants(AlertKind::Overdue) && !pager.wants(AlertKind::BreakGlass));

    let manager = one(json!({"name": "am", "type": "alertmanager",
        "url": "http://alertmanager.monitoring:9093"}));
    let Address::Known(target) = &manager.unwrap().address else {
        panic!("no address");
    };
    assert_eq!(target.path_and_query(), ALERTMANAGER_PATH);

    let tickets = one(
        json!({"name": "tickets", "type": "http", "url": "https://jira.example/x",
        "headers": {"X-Board": "ops"},
        "headersFrom": {"Authorization": {"name": "alerts", "key": "jira"}},
        "body": "{\"title\": {{summary}}}"}),
    );
    let tickets = tickets.unwrap();
    let secrets: Vec<_> = tickets.secrets().cloned().collect();
    assert_eq!(secrets, [key("alerts", "jira")]);
    assert_eq!(tickets.headers.len(), 2);
}

#[rstest]
#[case::no_label(json!({"name": "Chat_1", "type": "slack", "url": "https://a"}), SinkError::Name)]
#[case::no_name(json!({"name": "", "type": "slack", "url": "https://a"}), SinkError::Name)]
#[case::no_address(json!({"name": "a", "type": "slack"}), SinkError::Address)]
#[case::two_addresses(
    json!({"name": "a", "type": "slack", "url": "https://a", "urlFrom": {"name": "b", "key": "c"}}),
    SinkError::Address
)]
#[case::no_url(json!({"name": "a", "type": "slack", "url": "nowhere"}), SinkError::Url(TargetError::Scheme))]
#[case::file(json!({"name": "a", "type": "http", "url": "ftp://a/b"}), SinkError::Url(TargetError::Scheme))]
#[case::password(
    json!({"name": "a", "type": "http", "url": "https://u:p@a/"}),
    SinkError::Url(TargetError::Host)
)]
#[case::no_routing_key(json!({"name": "a", "type": "pagerduty"}), SinkError::RoutingKey)]
#[case::stray_routing_key(
    json!({"name": "a", "type": "slack", "url": "https://a", "routingKeyFrom": {"name": "b", "key": "c"}}),
    SinkError::RoutingKey
)]
#[case::plain_pager(
    json!({"name": "a", "type": "pagerduty", "url": "http://a", "routingKeyFrom": {"name": "b", "key": "c"}}),
    SinkError::PlainSecret
)]
#[case::plain_token(
    json!({"name": "a", "type": "http", "url": "http://a", "headersFrom": {"X": {"name": "b", "key": "c"}}}),
    SinkError::PlainSecret
)]
#[case::stray_body(json!({"name": "a", "type": "slack", "url": "https://a", "body": "{}"}), SinkError::Body)]
#[case::unknown_placeholder(
    json!({"name": "a", "type": "http", "url": "https://a", "body": "{{token}}"}),
    SinkError::Template(TemplateError::Unknown { word: "token".to_owned() })
)]
#[case::bad_template(
    json!({"name": "a", "type": "http", "url": "https://a", "body": "{{summary"}),
    SinkError::Template(TemplateError::Open)
)]
#[case::host(
    json!({"name": "a", "type": "http", "url": "https://a", "headers": {"Host": "b"}}),
    SinkError::Header("Host".to_owned())
)]
#[case::smuggled(
    json!({"name": "a", "type": "http", "url": "https://a", "headers": {"X": "a\r\nB: c"}}),
    SinkError::Header("X".to_owned())
)]
#[case::secret_length(
    json!({"name": "a", "type": "http", "url": "https://a",
        "headersFrom": {"Content-Length": {"name": "b", "key": "c"}}}),
    SinkError::Header("Content-Length".to_owned())
)]
#[case::twice(
    json!({"name": "a", "type": "http", "url": "https://a", "headers": {"X-A": "1"},
        "headersFrom": {"x-a": {"name": "b", "key": "c"}}}),
    SinkError::HeaderTwice("x-a".to_owned())
)]
#[case::no_certificate(
    json!({"name": "a", "type": "http", "url": "https://a", "caBundle": "trust me"}),
    SinkError::CaBundle
)]
fn an_invalid_sink_is_rejected(#[case] sink: Json, #[case] error: SinkError) {
    assert_eq!(one(sink).map(|sink| sink.name.clone()), Err(error));
}

#[test]
fn a_ca_bundle_needs_tls() {
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    let sink = |url: &str| {
        one(json!({"name": "a", "type": "http", "url": url, "caBundle": ca.pem()}))
            .map(|sink| sink.ca_bundle.len())
    };
    assert_eq!(sink("https://a"), Ok(1));
    assert_eq!(sink("http://a"), Err(SinkError::CaBundle));
}

#[test]
fn sink_names_are_unique() {
    let sink = json!({"name": "a", "type": "slack", "url": "https://a"});
    let twice = compiled(json!([sink, sink]));
    assert_eq!(twice, Err(AlertsError::Twice("a".to_owned())));
}

#[test]
fn sinks_headers_and_denials_are_bounded() {
    let sink = |n: usize| json!({"name": format!("s{n}"), "type": "slack", "url": "https://a"});
    let many = compiled((0..=SINKS).map(sink).collect());
    assert_eq!(many, Err(AlertsError::TooMany));

    let headers: serde_json::Map<_, _> = (0..=HEADERS)
        .map(|n| (format!("X-{n}"), json!("y")))
        .collect();
    let sink = json!({"name": "a", "type": "http", "url": "https://a", "headers": headers});
    assert_eq!(one(sink).err(), Some(SinkError::TooManyHeaders));

    for above in [0, DENIALS + 1] {
        let alerts = json!({"denials": {"above": above, "within": "5m"}});
        let settings = AlertSettings::compile(&serde_json::from_value(alerts).unwrap(), None);
        assert_eq!(settings, Err(AlertsError::Denials));
    }
}

#[test]
fn the_grouping_of_emergency_changes_is_bounded() {
    let settings = |rate: Json| {
        let alerts = serde_json::from_value(json!({"breakGlass": rate})).unwrap();
        AlertSettings::compile(&alerts, None)
    };
    for (above, within) in [(0, "5m"), (ALONE + 1, "5m"), (20, "25h")] {
        let settings = settings(json!({"above": above, "within": within}));
        assert_eq!(settings, Err(AlertsError::BreakGlass));
    }
    let rate = settings(json!({"above": 5, "within": "24h"})).unwrap();
    assert_eq!(rate.break_glass_rate().above, 5);
    assert_eq!(AlertSettings::default().break_glass_rate().above, 20);
}

#[test]
fn an_address_from_a_secret_must_be_https() {
    let sink = one(json!({"name": "a", "type": "slack", "urlFrom": {"name": "b", "key": "c"}}));
    let sink = sink.unwrap();
    assert!(sink.target("https://hooks.example/T0").is_ok());
    assert_eq!(
        sink.target("http://hooks.example/T0"),
        Err(SinkError::PlainSecret)
    );
    assert_eq!(
        sink.target("hooks.example"),
        Err(SinkError::Url(TargetError::Scheme))
    );
}

#[test]
fn an_error_names_the_sink_and_the_problem() {
    let error = compiled(
        json!([{"name": "tickets", "type": "http", "url": "https://a",
        "body": "{{tikcet}}"}]),
    );
    let text = error.unwrap_err().to_string();
    assert!(
        text.contains("\"tickets\"") && text.contains("{{tikcet}}"),
        "{text}"
    );
}
