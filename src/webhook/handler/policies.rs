//! Reviews of policies: one that could not be taken over is refused when it is written, with everything
//! that is wrong with it.

use serde_json::Value;

use crate::{
    guard::Request,
    policy::{Policy, document},
};

/// What is wrong with the policy that is written, a line each. There is nothing to say of one that is
/// deleted.
pub(super) fn wrong(request: &Request<'_>) -> Vec<String> {
    let Some(object) = request.object else {
        return Vec::new();
    };
    let object: Value = match serde_json::from_str(object.get()) {
        Ok(object) => object,
        Err(error) => return vec![format!("it can not be read: {error}")],
    };
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let compiled = document::spec(spec).and_then(|spec| Policy::compile(&spec));
    let problems = compiled.err().map_or_else(Vec::new, |error| error.0);
    problems.iter().map(ToString::to_string).collect()
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
    #[case::unknown_word(json!({"spec": {"mode": "Denny"}}), &["spec.mode"])]
    #[case::two_things(
        json!({"spec": {"mode": "Denny", "undeclared": 1}}),
        &["spec.mode", "spec.undeclared"]
    )]
    #[case::no_object(json!({"spec": []}), &["spec"])]
    fn a_policy_is_refused_with_all_that_is_wrong_with_it(
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
}
