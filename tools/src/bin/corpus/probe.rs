//! One attempt: a live object with one thing changed, written by an ordinary user in a dry run.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serde_json::{Value, json};

use crate::{
    api::{Api, Persist, Reply},
    candidates::candidates,
    declared::Object,
    leaves::{self, Leaf, Sort, Step},
    log::{Log, shown},
    semantics::satisfies,
    tally::Outcome,
};

/// The context of an attempt: users, log and deadline.
pub struct Context<'a> {
    /// An ordinary cluster-admin, who did not install the release.
    pub somebody: &'a Api,
    /// A break-glass user.
    pub emergency: &'a Api,
    pub log: &'a Log,
    /// Chart, Helm and stage, for the log.
    pub title: String,
    /// Whether the log also contains the changes that the API server rejected in all variants.
    pub refusals: bool,
    /// After this time, nothing more is tried.
    pub deadline: Instant,
    /// How many fields of one object are tried at most.
    pub most_leaves: usize,
}

impl Context<'_> {
    /// Logs what went wrong with an object.
    pub fn report(&self, what: &str, target: &Object, details: &Value) {
        let mut line = json!({"run": self.title, "what": what, "object": target.title});
        if let (Some(line), Some(details)) = (line.as_object_mut(), details.as_object()) {
            line.extend(details.clone());
        }
        self.log.write(&line);
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// A declared object and the live one.
pub struct Target {
    /// The declared object.
    pub object: Object,
    /// The live object.
    pub live: Value,
    version: Mutex<Option<Value>>,
    /// Whether a write must name the version that it replaces depends on the kind.
    needs_version: AtomicBool,
}

impl Target {
    /// The target of a declared object.
    pub fn new(object: Object, live: Value) -> Self {
        Self {
            version: Mutex::new(live.pointer("/metadata/resourceVersion").cloned()),
            needs_version: AtomicBool::new(false),
            object,
            live,
        }
    }

    /// PUT. If a controller writes at the same time, the write is repeated with the new version.
    pub async fn put(&self, api: &Api, object: &Value, persist: Persist) -> anyhow::Result<Reply> {
        let mut object = object.clone();
        let mut tries = 0;
        loop {
            tries += 1;
            let version = self
                .needs_version
                .load(Ordering::Relaxed)
                .then(|| self.version());
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                match version.flatten() {
                    Some(version) => metadata.insert("resourceVersion".to_owned(), version),
                    None => metadata.remove("resourceVersion"),
                };
            }
            let reply = api.put(&self.object.path, &object, persist).await?;
            let unversioned = !reply.is_ok()
                && reply.message().contains("resourceVersion")
                && reply.message().contains("must be specified");
            let conflict = reply.code == 409 && !reply.denied_by_guard();
            if tries > 5 || !(unversioned || conflict) {
                return Ok(reply);
            }
            self.needs_version.store(true, Ordering::Relaxed);
            if conflict {
                let now = api.get(&self.object.path).await?;
                let version = now.body.pointer("/metadata/resourceVersion").cloned();
                *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
            }
        }
    }

    fn version(&self) -> Option<Value> {
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        version.clone()
    }
}

/// Tries to change a declared scalar.
pub async fn change(
    context: &Context<'_>,
    target: &Target,
    leaf: &Leaf,
) -> anyhow::Result<Attempt> {
    let Some(path) = &leaf.live else {
        return Ok(Attempt::of(Outcome::Unchanged));
    };
    let mut last = Attempt::of(Outcome::Unchanged);
    for candidate in candidates(&target.live, path, &leaf.declared) {
        // Before the copy, because copies of a large CRD with thousands of fields take minutes.
        if context.is_over() {
            return Ok(Attempt::of(Outcome::NotTried));
        }
        let mut object = target.live.clone();
        if !leaves::set(&mut object, path, candidate.clone()) {
            continue;
        }
        last = attempt(context, target, leaf, ("changed", Some(&candidate)), object).await?;
        if matches!(
            last.outcome,
            Outcome::Denied | Outcome::Missed | Outcome::NotTried
        ) {
            break;
        }
    }
    if last.outcome == Outcome::Api && context.refusals && target.object.kind != "Secret" {
        let details = json!({"path": leaf.path, "message": last.said});
        context.report("refused by the API server", &target.object, &details);
    }
    Ok(last)
}

/// Tries to remove what is declared.
pub async fn remove(
    context: &Context<'_>,
    target: &Target,
    leaf: &Leaf,
) -> anyhow::Result<Attempt> {
    if context.is_over() {
        return Ok(Attempt::of(Outcome::NotTried));
    }
    let mut object = target.live.clone();
    let removed = leaf
        .live
        .as_ref()
        .is_some_and(|path| leaves::remove(&mut object, path));
    if !removed {
        return Ok(Attempt::of(Outcome::Unchanged));
    }
    attempt(context, target, leaf, ("removed", None), object).await
}

/// The outcome of an attempt, and the written object.
pub struct Attempt {
    pub outcome: Outcome,
    /// The written object.
    pub object: Value,
    /// Whether the guard did not evaluate it at first, and said so.
    pub late: bool,
    /// The API server's message.
    said: String,
}

impl Attempt {
    fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            object: Value::Null,
            late: false,
            said: String::new(),
        }
    }
}

async fn attempt(
    context: &Context<'_>,
    target: &Target,
    leaf: &Leaf,
    (how, requested): (&str, Option<&Value>),
    object: Value,
) -> anyhow::Result<Attempt> {
    let put = || target.put(context.somebody, &object, Persist::DryRun);
    let mut reply = put().await?;
    let mut outcome = judge(target, leaf, &reply);
    let mut late = 0;
    while outcome == Outcome::Missed && is_not_evaluated(&reply) && late < 3 {
        late += 1;
        reply = put().await?;
        outcome = judge(target, leaf, &reply);
    }
    if late > 0 {
        let details = json!({"how": how, "path": leaf.path, "tries": late});
        context.report("not evaluated in time", &target.object, &details);
    }
    if outcome == Outcome::Missed {
        let again = put().await?;
        let live = leaf
            .live
            .as_ref()
            .and_then(|path| leaves::get(&target.live, path));
        let kind = &target.object.kind;
        let details = json!({
            "how": how,
            "path": leaf.path,
            "declared": shown(kind, Some(&leaf.declared)),
            "live": shown(kind, live),
            "requested": shown(kind, requested),
            "warnings": reply.warnings,
            "denied_when_repeated": again.denied_by_guard(),
        });
        context.report("missed", &target.object, &details);
    }
    let said = reply.message().chars().take(300).collect();
    Ok(Attempt {
        outcome,
        object,
        late: late > 0,
        said,
    })
}

/// Whether the guard allowed a request with the warning that it was not evaluated: on a machine that
/// is too busy it fails open, and says so. A repeated request must be evaluated.
pub fn is_not_evaluated(reply: &Reply) -> bool {
    let warnings = reply.warnings.iter();
    reply.is_ok()
        && warnings
            .into_iter()
            .any(|warning| warning.contains("is allowed without evaluation"))
}

fn judge(target: &Target, leaf: &Leaf, reply: &Reply) -> Outcome {
    if reply.denied_by_guard() {
        Outcome::Denied
    } else if !reply.is_ok() {
        Outcome::Api
    } else if has_changed(target, leaf, &reply.body) {
        Outcome::Missed
    } else {
        Outcome::Unchanged
    }
}

/// Whether the object that the API server would have stored differs from the live one in this leaf,
/// other than toward the declared value.
fn has_changed(target: &Target, leaf: &Leaf, stored: &Value) -> bool {
    if !leaf.path.starts_with(".status") && same_object(&target.live, stored) {
        return false;
    }
    let before = leaf
        .live
        .as_ref()
        .and_then(|path| leaves::get(&target.live, path));
    let found = leaves::leaves(&target.object.value, stored);
    let after = found
        .iter()
        .find(|other| other.path == leaf.path && other.sort == leaf.sort)
        .and_then(|other| other.live.as_ref())
        .and_then(|path| leaves::get(stored, path));
    // `rules: []` of an aggregated role: without the rules that others add it is as declared.
    let was_filled = before
        .and_then(Value::as_array)
        .is_some_and(|items| !items.is_empty());
    let is_gone = after.is_none_or(Value::is_null);
    let emptied = leaf.declared == json!([]) && was_filled && is_gone;
    let is_as_declared = emptied || after.is_some() && satisfies(&leaf.declared, after);
    // A moved item is paired again by content, so the other leaves of its list matter more than
    // this one: then the entire list counts.
    let moved = leaf.sort != Sort::Branch && before == after && in_list(leaf);
    if moved {
        return !list_is_kept(target, leaf, stored);
    }
    before != after && !is_as_declared
}

fn in_list(leaf: &Leaf) -> bool {
    let items = |path: &Vec<Step>| path.iter().any(|step| matches!(step, Step::Item(_)));
    leaf.live.as_ref().is_some_and(items)
}

/// Whether the outermost list that contains the leaf is unchanged.
fn list_is_kept(target: &Target, leaf: &Leaf, stored: &Value) -> bool {
    let list = leaf.live.as_ref().and_then(|path| {
        let end = path.iter().position(|step| matches!(step, Step::Item(_)))?;
        path.get(..end)
    });
    list.is_some_and(|list| leaves::get(&target.live, list) == leaves::get(stored, list))
}

/// Whether two objects are equal except for fields that every write or a controller changes.
pub fn same_object(a: &Value, b: &Value) -> bool {
    let strip = |value: &Value| {
        let mut value = value.clone();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(field);
            }
        }
        value
    };
    strip(a) == strip(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(declared: Value, live: Value) -> Target {
        let object = Object {
            group: "apps".to_owned(),
            kind: "Deployment".to_owned(),
            title: "Deployment/web".to_owned(),
            path: "/x".to_owned(),
            value: declared,
            exempt: None,
        };
        Target::new(object, live)
    }

    fn outcome(target: &Target, path: &str, code: u16, body: Value) -> Outcome {
        let found = leaves::leaves(&target.object.value, &target.live);
        let leaf = found.iter().find(|leaf| leaf.path == path).unwrap();
        let reply = Reply {
            code,
            body,
            warnings: Vec::new(),
        };
        judge(target, leaf, &reply)
    }

    #[test]
    fn each_answer_gets_its_outcome() {
        let target = target(
            json!({"spec": {"a": 1, "list": [{"name": "x", "v": 1}]}}),
            json!({"spec": {"a": 1, "list": [{"name": "x", "v": 1}], "status": {"n": 1}}}),
        );
        let denial = json!({"message": "admission webhook \"objects.helm-guard.dev\" denied the request: no"});
        assert_eq!(outcome(&target, ".spec.a", 403, denial), Outcome::Denied);
        let invalid = json!({"message": "spec.a: Invalid value"});
        assert_eq!(outcome(&target, ".spec.a", 422, invalid), Outcome::Api);
        let mut same = target.live.clone();
        same["metadata"] = json!({"resourceVersion": "2"});
        let mut other = same.clone();
        other["spec"]["a"] = json!(2);
        same["spec"]["undeclared"] = json!(1);
        assert_eq!(outcome(&target, ".spec.a", 200, same), Outcome::Unchanged);
        assert_eq!(
            outcome(&target, ".spec.a", 200, other.clone()),
            Outcome::Missed
        );
        other["spec"]["a"] = json!(1);
        other["spec"]["list"] = json!([]);
        assert_eq!(
            outcome(&target, ".spec.list[name=x]", 200, other),
            Outcome::Missed
        );
    }

    #[test]
    fn removing_an_item_of_a_list_of_equal_items_is_a_miss() {
        let target = target(
            json!({"spec": {"args": ["a", "b", "b"]}}),
            json!({"metadata": {}, "spec": {"args": ["a", "b", "b"]}}),
        );
        let stored = json!({"metadata": {}, "spec": {"args": ["a", "b"]}});
        assert_eq!(
            outcome(&target, ".spec.args[1]", 200, stored),
            Outcome::Missed
        );
    }
}
