//! Reviews of policies: one that could not be taken over is refused when it is written, with what is
//! wrong with it; but for one that suspends the guard, since nothing may stand in the way of the kill
//! switch.

use helm_guard_core::{
    guard::Request,
    policy::{Policy, document, problem::shortened, suspension::Suspension},
};
use serde::Deserialize;
use serde_json::Value;

/// Not the metadata, of which the larger part is about the managers of fields.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    spec: Value,
}

/// What is wrong with the policy that is written, a line each. There is nothing to say of one that is
/// deleted.
pub(super) fn wrong(request: &Request<'_>) -> Vec<String> {
    let Some(object) = request.object else {
        return Vec::new();
    };
    let Object { spec } = match serde_json::from_str(object.get()) {
        Ok(object) => object,
        Err(error) => return vec![shortened(&format!("it can not be read: {error}")).into_owned()],
    };
    if Suspension::in_document(&spec).is_some() {
        return Vec::new();
    }
    let compiled = document::spec(&spec).and_then(|spec| Policy::compile(&spec));
    compiled.err().map_or_else(Vec::new, |error| error.lines())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::good(json!({"spec": {"mode": "Warn"}}), &[])]
    #[case::nothing_said(json!({}), &[])]
    #[case::deleted(Value::Null, &[])]
    #[case::wrong_but_suspended(json!({"spec": {"mode": "Denny", "suspend": true}}), &[])]
    #[case::wrong_and_resumed(json!({"spec": {"mode": "Denny", "suspend": false}}), &["spec.mode"])]
    #[case::unknown_word(json!({"spec": {"mode": "Denny"}}), &["spec.mode"])]
    #[case::two_things(
        json!({"spec": {"mode": "Denny", "undeclared": 1}}),
        &["spec.mode", "spec.undeclared"]
    )]
    #[case::no_object(json!({"spec": []}), &["spec"])]
    fn a_policy_is_refused_with_what_is_wrong_with_it(
        #[case] object: Value,
        #[case] places: &[&str],
    ) {
        let body = json!({"uid": "u-1", "operation": "UPDATE", "object": object}).to_string();
        let request: Request<'_> = serde_json::from_str(&body).unwrap();
        let wrong = wrong(&request);
        assert_eq!(wrong.len(), places.len(), "{wrong:?}");
        for (line, place) in wrong.iter().zip(places) {
            assert!(line.starts_with(place), "{line}");
        }
    }

    #[rstest]
    #[case::items(json!({"exemptions": vec![0; 100_000]}), "and 99968 more")]
    #[case::fields(
        (0..100_000).map(|n| (format!("field{n}"), json!(1))).collect(),
        "and 99968 more"
    )]
    #[case::a_long_name(json!({"mode": "x".repeat(400_000)}), "spec.mode")]
    #[case::one_long_field(json!({"x".repeat(400_000): 1}), "spec.xxx")]
    fn however_much_is_wrong_few_words_are_made_of_it(#[case] spec: Value, #[case] last: &str) {
        let object = json!({"spec": spec});
        let body = json!({"uid": "u-1", "operation": "CREATE", "object": object}).to_string();
        let request: Request<'_> = serde_json::from_str(&body).unwrap();
        let wrong = wrong(&request);
        assert!(wrong.last().unwrap().starts_with(last), "{wrong:?}");
        assert!(wrong.concat().len() < 33 * 1100, "{}", wrong.concat().len());
    }
}
