//! cert-manager's edit-in-place of an Ingress: it adds and removes the routes of HTTP-01 challenges.
//!
//! cert-manager puts the route before the others of its host, or appends its own rule if the Ingress
//! has none for that host (`addChallengePathToIngress` in `pkg/issuer/acme/http/ingress.go`). Both
//! lists are atomic to the API, so the change is one of the whole list. It is legitimate if only
//! such routes differ.

use serde_json::Value;

use super::PathChange;
use crate::compare::path::Step;

/// The path where the certificate authority fetches the response (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// The prefix of cert-manager's solver Services.
const SOLVER: &str = "cm-acme-http-solver-";

/// Whether a change of an Ingress only adds or removes routes to solvers.
pub(super) fn is_challenge(change: PathChange<'_>) -> bool {
    let is = |step: &Step, name: &str| matches!(step, Step::Field(field) if field == name);
    let strip: fn(&mut Value) = match change.path.steps() {
        [spec, rules] if is(spec, "spec") && is(rules, "rules") => strip_rules,
        [spec, rules, Step::Index(_), http, paths]
            if is(spec, "spec") && is(rules, "rules") && is(http, "http") && is(paths, "paths") =>
        {
            strip_paths
        }
        _ => return false,
    };
    let stripped = |text: Option<&str>| {
        let mut value: Value = serde_json::from_str(text?).ok()?;
        strip(&mut value);
        Some(value)
    };
    match (stripped(change.old), stripped(change.new)) {
        (Some(old), Some(new)) => old == new,
        _ => false,
    }
}

fn strip_rules(rules: &mut Value) {
    let Value::Array(rules) = rules else {
        return;
    };
    rules.retain_mut(|rule| {
        let Some(paths) = rule.pointer_mut("/http/paths") else {
            return true;
        };
        let is_empty = |paths: &Value| paths.as_array().is_some_and(Vec::is_empty);
        let was_empty = is_empty(paths);
        strip_paths(paths);
        was_empty || !is_empty(paths)
    });
}

fn strip_paths(paths: &mut Value) {
    if let Value::Array(paths) = paths {
        paths.retain(|path| !leads_to_solver(path));
    }
}

fn leads_to_solver(path: &Value) -> bool {
    let text = |pointer: &str| path.pointer(pointer).and_then(Value::as_str);
    text("/path").is_some_and(|path| path.starts_with(CHALLENGES))
        && text("/backend/service/name").is_some_and(|name| name.starts_with(SOLVER))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn path(path: &str, service: &str) -> Value {
        json!({"path": path, "backend": {"service": {"name": service}}})
    }

    fn shop() -> Value {
        path("/", "shop")
    }

    fn challenge() -> Value {
        path("/.well-known/acme-challenge/x", "cm-acme-http-solver-7tq2x")
    }

    fn rule(host: &str, paths: &[Value]) -> Value {
        json!({"host": host, "http": {"paths": paths}})
    }

    const PATHS: &str = ".spec.rules[0].http.paths";
    const RULES: &str = ".spec.rules";

    #[rstest]
    #[case::comes(PATHS, json!([shop()]), json!([challenge(), shop()]), true)]
    #[case::goes(PATHS, json!([challenge(), shop()]), json!([shop()]), true)]
    #[case::another_path(PATHS, json!([shop()]), json!([path("/admin", "cm-acme-http-solver-7tq2x"), shop()]), false)]
    #[case::another_service(PATHS, json!([shop()]), json!([path("/.well-known/acme-challenge/x", "evil"), shop()]), false)]
    #[case::something_else_too(PATHS, json!([shop()]), json!([challenge(), path("/", "evil")]), false)]
    #[case::order(PATHS, json!([shop(), path("/a", "a")]), json!([challenge(), path("/a", "a"), shop()]), false)]
    #[case::goes_with_a_route(PATHS, json!([challenge(), shop()]), json!([]), false)]
    #[case::rule_of_its_own(RULES, json!([rule("a", &[shop()])]), json!([rule("a", &[shop()]), rule("b", &[challenge()])]), true)]
    #[case::rule_goes(RULES, json!([rule("a", &[shop()]), rule("b", &[challenge()])]), json!([rule("a", &[shop()])]), true)]
    #[case::rule_for_more(RULES, json!([rule("a", &[shop()])]), json!([rule("a", &[shop()]), rule("b", &[challenge(), shop()])]), false)]
    #[case::rule_loses_its_host(RULES, json!([rule("a", &[shop()])]), json!([rule("", &[shop()]), rule("b", &[challenge()])]), false)]
    #[case::elsewhere(".spec.tls", json!([]), json!([]), false)]
    fn only_routes_to_solvers_may_be_added_and_removed(
        #[case] at: &str,
        #[case] old: Value,
        #[case] new: Value,
        #[case] expected: bool,
    ) {
        let (old, new) = (old.to_string(), new.to_string());
        let change = PathChange {
            path: &at.parse().unwrap(),
            old: Some(&old),
            new: Some(&new),
        };
        assert_eq!(is_challenge(change), expected);
    }
}
