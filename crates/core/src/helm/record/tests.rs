use std::io::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn encode(body: &Value) -> Vec<u8> {
    BASE64_STANDARD
        .encode(gzip(body.to_string().as_bytes()))
        .into_bytes()
}

fn read(body: &Value) -> Result<Record, DecodeError> {
    decode(&encode(body), &RecordLimits::default())
}

/// In the format of Helm 3.22.
fn helm_3() -> Value {
    json!({
        "name": "web",
        "info": {
            "first_deployed": "2026-01-02T03:04:05.678901234+02:00",
            "last_deployed": "2026-02-03T03:04:05.678901234+02:00",
            "deleted": "",
            "description": "Upgrade complete",
            "status": "deployed",
            "notes": "Have fun.",
        },
        "chart": {
            "metadata": {"name": "shop", "version": "1.2.3", "appVersion": "9", "apiVersion": "v2"},
            "lock": null,
            "templates": [{"name": "templates/a.yaml", "data": "eA=="}],
            "values": {"password": "hunter2"},
            "schema": null,
            "files": null,
        },
        "config": {"password": "hunter2"},
        "manifest": "---\n# Source: shop/templates/a.yaml\napiVersion: v1\n",
        "hooks": [{
            "name": "migrate",
            "kind": "Job",
            "path": "shop/templates/hook.yaml",
            "manifest": "kind: Job\n",
            "events": ["pre-upgrade"],
            "last_run": {"started_at": "", "completed_at": "", "phase": ""},
            "delete_policies": ["before-hook-creation"],
        }],
        "version": 4,
        "namespace": "apps",
    })
}

#[test]
fn a_record_of_helm_3_is_read() {
    let record = read(&helm_3()).unwrap();
    assert_eq!(record.release.to_string(), r#""web" in namespace "apps""#);
    assert_eq!(
        (record.revision, record.status),
        (4, RevisionStatus::Deployed)
    );
    assert_eq!(record.chart.to_string(), "shop-1.2.3");
    assert_eq!(record.chart.app_version.as_deref(), Some("9"));
    assert_eq!(record.deleted, None);
    assert_eq!(record.description.as_deref(), Some("Upgrade complete"));
    assert_eq!(record.apply_method, ApplyMethod::ClientSide);
    assert_eq!(record.rollback_revision, None);
    assert_eq!(
        record.manifest,
        "---\n# Source: shop/templates/a.yaml\napiVersion: v1\n"
    );
    let hook = &record.hooks[0];
    assert_eq!((hook.kind.as_str(), hook.name.as_str()), ("Job", "migrate"));
    assert_eq!(hook.events, ["pre-upgrade"]);
}

#[test]
fn a_record_of_helm_4_is_read() {
    let mut body = helm_3();
    body["apply_method"] = "ssa".into();
    body["info"]["rollback_revision"] = 2.into();
    body["info"]["status"] = "pending-rollback".into();
    body["info"].as_object_mut().unwrap().remove("deleted");
    let record = read(&body).unwrap();
    assert_eq!(record.apply_method, ApplyMethod::ServerSide);
    assert_eq!(record.rollback_revision, Some(2));
    assert_eq!(record.status, RevisionStatus::PendingRollback);
    assert_eq!(record.deleted, None);
}

#[test]
fn a_record_from_before_compression_is_plain_json() {
    let payload = BASE64_STANDARD.encode(helm_3().to_string());
    let plain = decode(payload.as_bytes(), &RecordLimits::default()).unwrap();
    assert_eq!(plain, read(&helm_3()).unwrap());
}

#[test]
fn line_breaks_in_the_base64_do_not_count() {
    let broken: Vec<u8> = encode(&helm_3())
        .chunks(76)
        .flat_map(|line| [line, b"\r\n"].concat())
        .collect();
    assert_eq!(
        decode(&broken, &RecordLimits::default()).unwrap(),
        read(&helm_3()).unwrap()
    );
}

#[test]
fn omitted_and_null_fields_are_empty() {
    let body = json!({"name": "a", "namespace": "b", "version": 1, "hooks": null, "chart": null,
        "info": {"status": "resting", "first_deployed": null}});
    let record = read(&body).unwrap();
    assert_eq!(
        (record.status, record.first_deployed),
        (RevisionStatus::Unknown, None)
    );
    assert!(record.hooks.is_empty() && record.manifest.is_empty());
    assert_eq!(record.chart, Chart::default());
}

#[rstest]
#[case::not_base64(b"%%%".to_vec(), "it is not base64")]
#[case::gzip_cut_off(cut(&encode(&helm_3())), "failed to inflate the record")]
#[case::gzip_in_name_only(BASE64_STANDARD.encode(b"\x1f\x8b\x08nonsense").into(), "failed to inflate")]
#[case::not_json(encode_text("manifest: |\n"), "a syntax error")]
#[case::json_cut_off(encode_text(r#"{"name": "a""#), "an early end")]
#[case::not_a_release(encode_text("[1]"), "a field of the wrong type")]
#[case::nothing(Vec::new(), "an early end")]
fn a_corrupt_record_is_an_error_with_the_cause(#[case] payload: Vec<u8>, #[case] message: &str) {
    let error = decode(&payload, &RecordLimits::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains(message), "{error}");
}

fn cut(payload: &[u8]) -> Vec<u8> {
    let gzip = BASE64_STANDARD.decode(payload).unwrap();
    BASE64_STANDARD.encode(&gzip[..gzip.len() / 2]).into_bytes()
}

fn encode_text(text: &str) -> Vec<u8> {
    BASE64_STANDARD.encode(gzip(text.as_bytes())).into_bytes()
}

#[rstest]
#[case("name", json!(""))]
#[case("namespace", json!(""))]
#[case("version", json!(0))]
fn a_record_without_a_name_is_an_error(#[case] field: &str, #[case] value: Value) {
    let mut body = helm_3();
    body[field] = value;
    let error = read(&body).unwrap_err();
    assert!(matches!(error, DecodeError::Incomplete { field: named } if named == field));
}

#[test]
fn a_gzip_bomb_is_stopped_at_the_limit() {
    let limits = RecordLimits {
        inflated_bytes: 1 << 20,
    };
    let bomb = BASE64_STANDARD.encode(gzip(&vec![b' '; 16 << 20]));
    assert!(bomb.len() < 1 << 20);
    let error = decode(bomb.as_bytes(), &limits).unwrap_err();
    assert!(matches!(
        error,
        DecodeError::Envelope(EnvelopeError::TooLarge { limit: 0x10_0000 })
    ));
}

/// As at the end of gzip, little-endian.
fn claiming(json: &[u8], size: u32) -> Vec<u8> {
    let mut gzip = gzip(json);
    let end = gzip.len() - 4;
    gzip[end..].copy_from_slice(&size.to_le_bytes());
    BASE64_STANDARD.encode(gzip).into_bytes()
}

#[rstest]
#[case::nothing(0)]
#[case::one_byte_less(-1)]
#[case::a_little(-100)]
fn a_record_larger_than_it_claims_is_rejected(#[case] less: i32) {
    let json = helm_3().to_string();
    let honest = u32::try_from(json.len()).unwrap();
    let claim = if less == 0 {
        0
    } else {
        honest.saturating_add_signed(less)
    };
    let error = decode(&claiming(json.as_bytes(), claim), &RecordLimits::default()).unwrap_err();
    assert!(
        matches!(error, DecodeError::Envelope(EnvelopeError::MoreThanClaimed)),
        "{error}"
    );
    assert!(decode(&claiming(json.as_bytes(), honest), &RecordLimits::default()).is_ok());
}

#[test]
fn a_record_that_claims_more_than_it_holds_takes_no_memory_for_it() {
    let json = helm_3().to_string();
    let payload = claiming(json.as_bytes(), u32::MAX);
    let error = decode(&payload, &RecordLimits::default()).unwrap_err();
    assert!(
        matches!(error, DecodeError::Envelope(EnvelopeError::TooLarge { .. })),
        "{error}"
    );
    let error = decode(
        &claiming(json.as_bytes(), 15 << 20),
        &RecordLimits::default(),
    )
    .unwrap_err();
    assert!(
        matches!(error, DecodeError::Envelope(EnvelopeError::Gzip(_))),
        "{error}"
    );
}

#[rstest]
#[case::compressed(encode(&helm_3()), helm_3().to_string().len())]
#[case::with_line_breaks(broken(&encode(&helm_3())), helm_3().to_string().len())]
#[case::more_than_is_read(BASE64_STANDARD.encode(gzip(&vec![b' '; 17 << 20])).into_bytes(), 0)]
#[case::more_than_is_possible(claiming(b"{}", 1 << 20), claiming(b"{}", 0).len() * 1032)]
#[case::plain(BASE64_STANDARD.encode("{}").into_bytes(), 4)]
#[case::no_base64(b"@@@@@@@@@".to_vec(), 0)]
#[case::nothing(Vec::new(), 0)]
fn the_claimed_size_of_a_payload_is_known_before_decoding(
    #[case] payload: Vec<u8>,
    #[case] expected: usize,
) {
    assert_eq!(RecordLimits::default().claimed_bytes(&payload), expected);
}

fn broken(payload: &[u8]) -> Vec<u8> {
    let lines: Vec<_> = payload.chunks(7).collect();
    [lines.join(&b"\r\n"[..]), b"\n".to_vec()].concat()
}

/// They would take many times as much memory as their JSON.
#[rstest]
#[case::hooks(json!(vec![json!({}); 5_000]))]
#[case::events(json!([{"events": vec![""; 1_000]}]))]
fn a_record_with_too_many_small_items_is_rejected(#[case] hooks: Value) {
    let mut body = helm_3();
    body["hooks"] = hooks;
    assert!(matches!(read(&body), Err(DecodeError::Json { .. })));
}

#[rstest]
#[case("name")]
#[case("namespace")]
fn a_release_name_that_is_too_long_is_an_error(#[case] field: &str) {
    let mut body = helm_3();
    body[field] = "x".repeat(254).into();
    let error = read(&body).unwrap_err();
    assert!(matches!(error, DecodeError::TooLong { field: named } if named == field));
}

#[test]
fn long_chart_metadata_is_not_kept() {
    let mut body = helm_3();
    let metadata = &mut body["chart"]["metadata"];
    for field in ["name", "version", "appVersion"] {
        metadata[field] = "é".repeat(100_000).into();
    }
    body["info"]["last_deployed"] = "2".repeat(100_000).into();
    let record = read(&body).unwrap();
    for text in [&record.chart.name, &record.chart.version] {
        assert_eq!(text.chars().count(), 256);
    }
    assert_eq!(record.chart.app_version.unwrap().chars().count(), 256);
    assert_eq!(record.last_deployed, None);
}

#[test]
fn the_limit_is_for_plain_records_too_and_itself_allowed() {
    let json = helm_3().to_string();
    let payload = BASE64_STANDARD.encode(&json);
    let at = |inflated_bytes| decode(payload.as_bytes(), &RecordLimits { inflated_bytes });
    assert!(at(json.len()).is_ok());
    assert!(matches!(
        at(json.len() - 1),
        Err(DecodeError::Envelope(EnvelopeError::TooLarge { .. }))
    ));
}

#[test]
fn neither_debug_nor_an_error_shows_a_value() {
    let secret = "hunter2";
    let mut body = helm_3();
    body["manifest"] = format!("kind: Secret\nstringData: {{p: {secret}}}").into();
    body["hooks"][0]["manifest"] = format!("p: {secret}").into();
    let shown = format!("{:?}", read(&body).unwrap());
    assert!(
        shown.contains("manifest_bytes") && !shown.contains(secret),
        "{shown}"
    );

    body["version"] = secret.into();
    let error = read(&body).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(secret));
}

proptest! {
    #[test]
    fn a_record_survives_encoding(
        name in "[a-z][a-z0-9.-]{0,20}",
        namespace in "[a-z]{1,12}",
        revision in 1..u32::MAX,
        manifest in any::<String>(),
        description in any::<String>(),
        events in prop::collection::vec("[a-z-]{1,12}", 0..4),
    ) {
        let record = read(&json!({
            "name": name, "namespace": namespace, "version": revision, "manifest": manifest,
            "info": {"status": "failed", "description": description},
            "hooks": [{"name": "h", "kind": "Job", "manifest": manifest, "events": events}],
        })).unwrap();
        prop_assert_eq!(record.release, ReleaseName { namespace, name });
        prop_assert_eq!(record.revision, revision);
        prop_assert_eq!(record.description.unwrap_or_default(), description);
        prop_assert_eq!(&record.manifest, &manifest);
        prop_assert_eq!(&record.hooks[0].manifest, &manifest);
        prop_assert_eq!(&record.hooks[0].events, &events);
    }

    #[test]
    fn any_payload_is_read_or_rejected(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let limits = RecordLimits { inflated_bytes: 1 << 16 };
        let _ = decode(&payload, &limits);
        let _ = decode(BASE64_STANDARD.encode(&payload).as_bytes(), &limits);
        let _ = decode(BASE64_STANDARD.encode(gzip(&payload)).as_bytes(), &limits);
    }
}
