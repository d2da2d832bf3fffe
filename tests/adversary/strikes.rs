//! A strike: one request that would cause a loss, built from the live object when it is sent.

pub mod deletes;
pub mod marks;
pub mod values;

use serde_json::{Value, json};

use crate::{
    leaves::{self, Step},
    request::{Place, Request, Verb},
    target::Target,
};

/// The ways to write an object.
pub const WRITES: [Verb; 5] = [
    Verb::Merge,
    Verb::Json,
    Verb::Replace,
    Verb::Apply,
    Verb::Strategic,
];

/// One edit of an object.
#[derive(Clone, Debug)]
pub enum Edit {
    Set(Vec<Step>, Value),
    /// Removes a value.
    Remove(Vec<Step>),
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Act {
    /// Edits of the object. If the API server itself rejects the first one, the next is tried.
    Edits(Vec<Vec<Edit>>),
    /// A body, or none.
    Body(Option<Value>),
}

/// One try.
#[derive(Clone, Debug)]
pub struct Strike {
    /// The technique, for the report: the same for every object that it is tried on.
    pub name: String,
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub place: Place,
    /// `fieldManager=x`, for example.
    pub query: String,
    /// What is sent.
    pub act: Act,
}

impl Strike {
    /// Edits an object.
    pub fn edit(name: impl Into<String>, verb: Verb, place: Place, edits: Vec<Edit>) -> Self {
        Self {
            name: name.into(),
            verb,
            place,
            query: String::new(),
            act: Act::Edits(vec![edits]),
        }
    }

    /// Sends something.
    pub fn body(name: impl Into<String>, verb: Verb, place: Place, body: Option<Value>) -> Self {
        Self {
            name: name.into(),
            verb,
            place,
            query: String::new(),
            act: Act::Body(body),
        }
    }

    /// As a field manager.
    pub fn managed_by(mut self, manager: &str) -> Self {
        self.query = format!("fieldManager={manager}");
        self
    }

    /// Whether it needs the live object.
    pub fn edits(&self) -> bool {
        matches!(self.act, Act::Edits(_))
    }

    /// The requests to try in turn, until the API server itself accepts one.
    pub fn requests(&self, live: &Value) -> Vec<Request> {
        let bodies = match &self.act {
            Act::Body(body) => vec![body.clone()],
            Act::Edits(all) => all
                .iter()
                .filter_map(|edits| body(self.verb, live, edits).map(Some))
                .collect(),
        };
        let request = |body| Request {
            verb: self.verb,
            place: self.place.clone(),
            query: match self.verb {
                Verb::Apply if self.query.is_empty() => "fieldManager=mallory&force=true".into(),
                Verb::Apply => format!("{}&force=true", self.query),
                _ => self.query.clone(),
            },
            body,
        };
        bodies.into_iter().map(request).collect()
    }
}

/// Every strike that is tried without a setup.
pub fn all(target: &Target) -> Vec<Strike> {
    let mut strikes = values::strikes(target);
    strikes.extend(marks::strikes(target));
    strikes.extend(deletes::strikes(target));
    strikes
}

/// Those that follow a setup: a value, the marks, the object.
pub fn short(target: &Target) -> Vec<Strike> {
    let place = || target.place.clone();
    let mut strikes = Vec::new();
    strikes.extend(values::one(target, Verb::Merge));
    strikes.push(Strike::edit(
        "the label off",
        Verb::Merge,
        place(),
        vec![Edit::Remove(marks::label())],
    ));
    strikes.push(Strike::edit(
        "every mark off",
        Verb::Merge,
        place(),
        marks::all_off(),
    ));
    strikes.extend(values::one(target, Verb::Merge).map(|strike| {
        let mut strike = strike;
        "a value and the label in one".clone_into(&mut strike.name);
        if let Act::Edits(all) = &mut strike.act {
            for edits in all {
                edits.push(Edit::Remove(marks::label()));
            }
        }
        strike
    }));
    strikes.extend(
        values::one(target, Verb::Merge)
            .map(|strike| renamed(strike, "a value as helm").managed_by("helm")),
    );
    strikes.push(Strike::body("delete", Verb::Delete, place(), None));
    strikes
}

fn renamed(mut strike: Strike, name: &str) -> Strike {
    name.clone_into(&mut strike.name);
    strike
}

fn body(verb: Verb, live: &Value, edits: &[Edit]) -> Option<Value> {
    let mut edited = live.clone();
    for edit in edits {
        let done = match edit {
            Edit::Set(path, value) => leaves::set(&mut edited, path, value.clone()),
            Edit::Remove(path) => leaves::remove(&mut edited, path),
        };
        if !done {
            return None;
        }
    }
    if edited == *live {
        return None;
    }
    match verb {
        Verb::Json => Some(json_patch(live, edits)),
        Verb::Apply => applied(&edited, edits),
        Verb::Merge | Verb::Strategic => Some(merge_patch(&edited, edits)),
        _ => Some(edited),
    }
}

/// A patch with only the edited fields, and complete lists.
fn merge_patch(edited: &Value, edits: &[Edit]) -> Value {
    let mut merged = json!({});
    for edit in edits {
        let (Edit::Set(path, _) | Edit::Remove(path)) = edit;
        let list = path.iter().position(|step| matches!(step, Step::Item(_)));
        let fields = &path[..list.unwrap_or(path.len())];
        let value = leaves::get(edited, fields).cloned().unwrap_or(Value::Null);
        // A field removed with its parent needs no null.
        leaves::set(&mut merged, fields, value);
    }
    merged
}

fn json_patch(live: &Value, edits: &[Edit]) -> Value {
    let mut seen = live.clone();
    let mut operations = Vec::new();
    for edit in edits {
        match edit {
            Edit::Remove(path) => {
                operations.push(json!({"op": "remove", "path": pointer(path)}));
                leaves::remove(&mut seen, path);
            }
            Edit::Set(path, value) => {
                // A missing parent has to be created.
                for length in 1..path.len() {
                    let parent = &path[..length];
                    if leaves::get(&seen, parent).is_none() {
                        operations.push(json!({"op": "add", "path": pointer(parent), "value": {}}));
                        leaves::set(&mut seen, parent, json!({}));
                    }
                }
                operations.push(json!({"op": "add", "path": pointer(path), "value": value}));
                // `add` inserts into a list.
                if let Some(Step::Item(_)) = path.last()
                    && let Some(last) = operations.last_mut()
                {
                    last["op"] = json!("replace");
                }
                leaves::set(&mut seen, path, value.clone());
            }
        }
    }
    Value::Array(operations)
}

/// Server-side apply names the fields that it wants to own, and removes nothing that it never owned.
fn applied(edited: &Value, edits: &[Edit]) -> Option<Value> {
    let mut applied = json!({
        "apiVersion": edited.get("apiVersion")?,
        "kind": edited.get("kind")?,
        "metadata": {"name": edited.pointer("/metadata/name")?},
    });
    for edit in edits {
        let Edit::Set(path, _) = edit else {
            return None;
        };
        let list = path.iter().position(|step| matches!(step, Step::Item(_)));
        let fields = &path[..list.unwrap_or(path.len())];
        leaves::set(&mut applied, fields, leaves::get(edited, fields)?.clone());
    }
    Some(applied)
}

fn pointer(path: &[Step]) -> String {
    let word = |step: &Step| match step {
        Step::Field(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        Step::Item(index) => format!("/{index}"),
    };
    path.iter().map(word).collect()
}

/// A path of fields.
pub fn fields(names: &[&str]) -> Vec<Step> {
    let step = |name: &&str| Step::Field((*name).to_owned());
    names.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::MANAGED_BY;

    fn live() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "labels": {MANAGED_BY: "Helm"}},
            "spec": {"ports": [{"port": 80}, {"port": 81}]},
        })
    }

    #[test]
    fn every_patch_type_can_remove_a_label() {
        let edits = [Edit::Remove(marks::label())];
        assert_eq!(
            body(Verb::Merge, &live(), &edits),
            Some(json!({"metadata": {"labels": {MANAGED_BY: null}}}))
        );
        assert_eq!(
            body(Verb::Json, &live(), &edits),
            Some(
                json!([{"op": "remove", "path": "/metadata/labels/app.kubernetes.io~1managed-by"}])
            )
        );
        assert_eq!(body(Verb::Apply, &live(), &edits), None);
    }

    #[test]
    fn a_list_item_is_sent_with_its_list() {
        let path = [
            fields(&["spec", "ports"]),
            vec![Step::Item(1)],
            fields(&["port"]),
        ]
        .concat();
        let edits = [Edit::Set(path, json!(82))];
        let ports = json!({"spec": {"ports": [{"port": 80}, {"port": 82}]}});
        assert_eq!(body(Verb::Merge, &live(), &edits), Some(ports));
        assert_eq!(
            body(Verb::Json, &live(), &edits),
            Some(json!([{"op": "add", "path": "/spec/ports/1/port", "value": 82}]))
        );
    }

    #[test]
    fn an_edit_without_a_change_sends_no_request() {
        let edits = [Edit::Set(fields(&["kind"]), json!("Service"))];
        assert_eq!(body(Verb::Merge, &live(), &edits), None);
    }
}
