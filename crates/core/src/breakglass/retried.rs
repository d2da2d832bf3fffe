//! Whether two records are of the same change: requests are retried.
//!
//! The API server calls its webhooks again, with another request uid, if somebody else wrote the
//! object in between. Clients repeat unanswered requests. Each repetition is the same change.
//!
//! The name of a record is derived from its content, so that two replicas that are called at once write only
//! one.

use aws_lc_rs::digest;
use jiff::SignedDuration;

use crate::api::{
    EmergencyChange, EmergencyChangeSpec, change::ChangeOperation, reported::ReportedObject,
};

/// Within this time after a change, the same again is a retry. The API server aborts a request after a
/// minute, so the last retry has taken effect before [`super::resolution::GRACE`] is over.
pub const RETRY_WINDOW: SignedDuration = SignedDuration::from_secs(30);

/// Hexadecimal digits of the hash in a record's name. Two changes of one object collide once in four
/// billion times.
const DIGITS: usize = 8;

/// The most numbered names for the same content; after that, the name comes from the request's uid.
pub(crate) const NUMBERED: usize = 8;

/// A hash of the change: who does what to which object of which release under which grant. `None` if the
/// record does not contain the whole change, so that another change could look the same.
pub fn content(spec: &EmergencyChangeSpec) -> Option<String> {
    let is_whole = match spec.operation {
        ChangeOperation::Delete => spec.object.uid.is_some(),
        ChangeOperation::Update | ChangeOperation::Scale => spec.patch.is_some(),
    };
    if !is_whole {
        return None;
    }
    let content = EmergencyChangeSpec {
        // What differs from one try to the next.
        at: super::recorded::never(),
        reconcile_by: super::recorded::never(),
        request_uid: String::new(),
        object: ReportedObject {
            resource_version: None,
            ..spec.object.clone()
        },
        ..spec.clone()
    };
    let json = serde_json::to_vec(&content).ok()?;
    Some(hash(&json))
}

/// The names of a record, in the order of the attempts. The first name that is free, or has a record of the
/// same change, is used.
pub fn names(spec: &EmergencyChangeSpec) -> impl Iterator<Item = String> {
    let object = super::recorded::object_name(&spec.object.name);
    let request = hash(spec.request_uid.as_bytes());
    let mut what = content(spec).unwrap_or_else(|| request.clone());
    what.truncate(DIGITS);
    let mut own = request;
    own.truncate(2 * DIGITS);
    let last = format!("{object}-{own}");
    let numbered = (1..=NUMBERED).map(move |number| match number {
        1 => format!("{object}-{what}"),
        number => format!("{object}-{what}-{number}"),
    });
    numbered.chain([last])
}

/// Whether the existing record is of this very change, requested again.
pub fn is_of(known: &EmergencyChange, spec: &EmergencyChangeSpec) -> bool {
    if known.spec.request_uid == spec.request_uid {
        return true;
    }
    let state = known.status.as_ref().map(|status| status.state);
    let is_resolved = state.unwrap_or_default().is_resolved();
    let age = spec.at.0.duration_since(known.spec.at.0).abs();
    let what = content(spec);
    !is_resolved && age <= RETRY_WINDOW && what.is_some() && what == content(&known.spec)
}

fn hash(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16);
    let nibbles = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(digit).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn spec(more: &Value) -> EmergencyChangeSpec {
        let mut spec = json!({
            "user": "ada", "groups": ["ops"], "at": "2026-11-21T03:00:00Z", "requestUid": "u-1",
            "operation": "Update", "grant": "night", "ticket": "INC-1",
            "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
                "name": "web", "uid": "o-1", "resourceVersion": "7"},
            "release": {"name": "myapp", "namespace": "shop", "chart": "myapp-1.0.0", "revision": 3},
            "patch": r#"[{"op":"replace","path":"/spec/replicas","value":9}]"#,
            "reconcileBy": "2026-11-22T03:00:00Z",
        });
        for (pointer, value) in more.as_object().unwrap() {
            *spec.pointer_mut(pointer).unwrap() = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn known(state: &str) -> EmergencyChange {
        let mut known = EmergencyChange::new("web", spec(&json!({})));
        known.status = serde_json::from_value(json!({"state": state})).unwrap();
        known
    }

    #[rstest]
    #[case::retried_at_once(json!({"/requestUid": "u-2"}), true)]
    #[case::after_another_write(json!({"/requestUid": "u-2", "/object/resourceVersion": "8",
        "/at": "2026-11-21T03:00:29Z", "/reconcileBy": "2026-11-22T03:00:29Z"}), true)]
    #[case::of_a_clock_that_is_behind(json!({"/requestUid": "u-2", "/at": "2026-11-21T02:59:50Z"}), true)]
    #[case::later(json!({"/requestUid": "u-2", "/at": "2026-11-21T03:00:31Z"}), false)]
    #[case::the_same_request_later(json!({"/at": "2026-11-21T03:00:31Z"}), true)]
    #[case::by_another(json!({"/requestUid": "u-2", "/user": "bob"}), false)]
    #[case::under_another_grant(json!({"/requestUid": "u-2", "/grant": "day"}), false)]
    #[case::of_a_new_object(json!({"/requestUid": "u-2", "/object/uid": "o-2"}), false)]
    #[case::after_an_upgrade(json!({"/requestUid": "u-2", "/release/revision": 4}), false)]
    #[case::to_another_value(json!({"/requestUid": "u-2", "/patch": "[]"}), false)]
    #[case::of_a_patch_too_long_to_keep(json!({"/requestUid": "u-2", "/patch": null}), false)]
    #[case::of_another_operation(json!({"/requestUid": "u-2", "/operation": "Scale"}), false)]
    fn the_same_change_again_is_a_retry(#[case] more: Value, #[case] expected: bool) {
        assert_eq!(is_of(&known("Pending"), &spec(&more)), expected);
    }

    #[rstest]
    #[case("Pending", true)]
    #[case("Open", true)]
    #[case("Overdue", true)]
    #[case("Reverted", false)]
    #[case("Absorbed", false)]
    #[case("Void", false)]
    fn the_same_change_after_its_end_is_another_one(#[case] state: &str, #[case] expected: bool) {
        let again = spec(&json!({"/requestUid": "u-2"}));
        assert_eq!(is_of(&known(state), &again), expected);
    }

    #[test]
    fn a_change_with_a_truncated_patch_is_never_a_retry() {
        let mut known = known("Pending");
        known.spec.patch = None;
        let again = spec(&json!({"/requestUid": "u-2", "/patch": null}));
        assert!(!is_of(&known, &again));
        assert_ne!(names(&known.spec).next(), names(&again).next());
    }

    #[rstest]
    #[case::with_uid(json!({"/operation": "Delete", "/patch": null}), true)]
    #[case::by_name_alone(json!({"/operation": "Delete", "/patch": null, "/object/uid": null}), false)]
    fn a_delete_is_identified_by_the_deleted_object(#[case] more: Value, #[case] expected: bool) {
        assert_eq!(content(&spec(&more)).is_some(), expected);
    }

    #[test]
    fn a_record_name_is_derived_from_its_content() {
        let first: Vec<String> = names(&spec(&json!({}))).collect();
        let again: Vec<String> = names(&spec(&json!({"/requestUid": "u-2"}))).collect();
        assert_eq!(first.len(), NUMBERED + 1);
        assert_eq!(first[..NUMBERED], again[..NUMBERED]);
        assert_ne!(first[NUMBERED], again[NUMBERED]);
        assert!(
            first[0].starts_with("web-") && first[0].len() == 12,
            "{first:?}"
        );
        assert_eq!(first[1], format!("{}-2", first[0]));
        let long = spec(&json!({"/object/name": "x".repeat(253)}));
        assert!(names(&long).all(|name| name.len() <= 63));
    }
}
