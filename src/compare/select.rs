//! What stands at a path of an object that was read as a tree, for what is shown to people.

use serde_json::Value;

use super::path::Step;

/// The value that `steps` lead to.
pub fn select<'v>(object: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(object, child)
}

/// The value one step further.
pub fn child<'v>(parent: &'v Value, step: &Step) -> Option<&'v Value> {
    match (parent, step) {
        (Value::Object(fields), Step::Field(name)) => fields.get(name),
        (Value::Array(items), step) => items.get(position(items, step)?),
        _ => None,
    }
}

/// The value one step further, to be changed.
pub fn child_mut<'v>(parent: &'v mut Value, step: &Step) -> Option<&'v mut Value> {
    match (parent, step) {
        (Value::Object(fields), Step::Field(name)) => fields.get_mut(name),
        (Value::Array(items), step) => {
            let position = position(items, step)?;
            items.get_mut(position)
        }
        _ => None,
    }
}

/// Where in a list a step leads to.
pub fn position(items: &[Value], step: &Step) -> Option<usize> {
    match step {
        Step::Field(_) => None,
        Step::Index(index) => (*index < items.len()).then_some(*index),
        Step::Value(text) => items.iter().position(|item| is(item, text)),
        Step::Item(keys) => {
            let find = |may_lack: bool| {
                items.iter().position(|item| {
                    keys.iter()
                        .all(|(key, text)| match item.get(key).unwrap_or(&Value::Null) {
                            Value::Null => may_lack,
                            value => is(value, text),
                        })
                })
            };
            // A key that an item leaves to its default is not in it; yet where another item has it,
            // that one is meant.
            find(false).or_else(|| find(true))
        }
    }
}

/// Whether a value is this JSON text, with or without quotes.
pub fn is(value: &Value, text: &str) -> bool {
    let json = value.to_string();
    value.as_str() == Some(text) || json == text
}
