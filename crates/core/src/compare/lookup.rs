//! Looks up paths in an object that was parsed into a tree: for rules, and for values that are shown to
//! people. Which item a step names is decided by [`Positions`] alone.

use std::{cell::RefCell, collections::HashMap};

use serde_json::Value;

use super::{
    path::{FieldPath, Step},
    positions::Positions,
};

/// The value at the path `steps`.
pub fn select<'v>(object: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(object, child)
}

/// The values at the path `steps`: several if a list repeats a merge key.
pub(crate) fn select_all<'v>(object: &'v Value, steps: &[Step]) -> Vec<&'v Value> {
    let below = |parents: Vec<&'v Value>, step: &Step| {
        let children = parents.into_iter().flat_map(|parent| match parent {
            Value::Array(items) => {
                let found = Positions::default().of(items, step).into_iter();
                found.filter_map(|at| items.get(at)).collect()
            }
            parent => child(parent, step).into_iter().collect::<Vec<_>>(),
        });
        children.collect()
    };
    steps.iter().fold(vec![object], below)
}

/// The value one step further.
pub fn child<'v>(parent: &'v Value, step: &Step) -> Option<&'v Value> {
    child_at(parent, step, |items| position(items, step))
}

fn child_at<'v>(
    parent: &'v Value,
    step: &Step,
    position: impl Fn(&[Value]) -> Option<usize>,
) -> Option<&'v Value> {
    match (parent, step) {
        (Value::Object(fields), Step::Field(name)) => fields.get(name),
        (Value::Array(items), _) => items.get(position(items)?),
        _ => None,
    }
}

/// The value one step further, mutable.
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

/// The first of the positions that a step names in a list.
pub fn position(items: &[Value], step: &Step) -> Option<usize> {
    Positions::default().of(items, step).first().copied()
}

/// Lookups in one document that does not change: its lists are indexed once, however many paths lead into
/// them.
#[derive(Default)]
pub struct Lists {
    /// By the address of the list in memory.
    known: RefCell<HashMap<*const Value, Positions>>,
}

impl Lists {
    /// The value at the path `steps`.
    pub fn select<'v>(&self, document: &'v Value, steps: &[Step]) -> Option<&'v Value> {
        let child = |parent, step| child_at(parent, step, |items| self.position(items, step));
        steps.iter().try_fold(document, child)
    }

    /// The position of `step` in a list of the document.
    pub fn position(&self, items: &[Value], step: &Step) -> Option<usize> {
        let mut known = self.known.borrow_mut();
        let positions = known.entry(items.as_ptr()).or_default();
        positions.of(items, step).first().copied()
    }
}

/// A path as `object` has it: an item that is given by its position is named by its `name`, because its position in
/// the manifest may be another one, and a number that is a key is a key.
pub fn named_path(path: &FieldPath, object: Option<&Value>) -> FieldPath {
    let mut at = object;
    let mut named = FieldPath::root();
    for step in path.steps() {
        let step = match (step, at) {
            (Step::Index(index), Some(Value::Object(_))) => Step::Field(index.to_string()),
            (step, _) => step.clone(),
        };
        at = at.and_then(|at| child(at, &step));
        let name = at.and_then(|at| at.get("name")).and_then(Value::as_str);
        named = named.join(match (step, name) {
            (Step::Index(_), Some(name)) => Step::Item(vec![("name".to_owned(), name.to_owned())]),
            (step, _) => step,
        });
    }
    named
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn item(keys: &[(&str, &str)]) -> Step {
        let owned = |(key, text): &(&str, &str)| ((*key).to_owned(), (*text).to_owned());
        Step::Item(keys.iter().map(owned).collect())
    }

    #[rstest]
    #[case::field(json!({"a": 1}), Step::Field("a".to_owned()), Some(json!(1)))]
    #[case::no_such_field(json!({"a": 1}), Step::Field("b".to_owned()), None)]
    #[case::first(json!([1, 2]), Step::Index(0), Some(json!(1)))]
    #[case::last(json!([1, 2]), Step::Index(1), Some(json!(2)))]
    #[case::past_the_end(json!([1, 2]), Step::Index(2), None)]
    #[case::field_of_a_list(json!([1]), Step::Field("0".to_owned()), None)]
    #[case::index_of_an_object(json!({"0": 1}), Step::Index(0), None)]
    #[case::member(json!(["a", "b"]), Step::Value("b".to_owned()), Some(json!("b")))]
    #[case::member_in_quotes(json!(["a", "b"]), Step::Value("\"b\"".to_owned()), Some(json!("b")))]
    #[case::number(json!(["a", 2]), Step::Value("2".to_owned()), Some(json!(2)))]
    #[case::no_member(json!(["a"]), Step::Value("b".to_owned()), None)]
    #[case::item(
        json!([{"p": 1, "q": "T"}, {"p": 1, "q": "U"}]),
        item(&[("p", "1"), ("q", "U")]),
        Some(json!({"p": 1, "q": "U"}))
    )]
    #[case::item_with_a_default(
        json!([{"p": 1}]), item(&[("p", "1"), ("q", "T")]), Some(json!({"p": 1}))
    )]
    #[case::no_item(json!([{"p": 1}]), item(&[("p", "2")]), None)]
    fn a_step_leads_to_one_value(
        #[case] mut parent: Value,
        #[case] step: Step,
        #[case] expected: Option<Value>,
    ) {
        assert_eq!(child(&parent, &step), expected.as_ref());
        assert_eq!(
            select(&parent, std::slice::from_ref(&step)),
            expected.as_ref()
        );
        assert_eq!(
            select_all(&parent, std::slice::from_ref(&step)),
            Vec::from_iter(&expected)
        );
        assert_eq!(child_mut(&mut parent, &step), expected.clone().as_mut());
    }

    #[test]
    fn steps_lead_on_from_each_other() {
        let object = json!({"a": [{"b": 1}, {"b": 2}]});
        let steps = [
            Step::Field("a".to_owned()),
            Step::Index(1),
            Step::Field("b".to_owned()),
        ];
        assert_eq!(select(&object, &steps), Some(&json!(2)));
        assert_eq!(select(&object, &[]), Some(&object));
    }

    #[test]
    fn a_repeated_key_leads_to_all_its_items() {
        let ports = json!([{"port": 1, "name": "a"}, {"port": 2}, {"port": 1, "name": "b"}]);
        let steps = [item(&[("port", "1")]), Step::Field("name".to_owned())];
        assert_eq!(select_all(&ports, &steps), [&json!("a"), &json!("b")]);
    }

    #[test]
    fn there_is_no_position_past_the_end() {
        assert_eq!(position(&[json!(1)], &Step::Index(0)), Some(0));
        assert_eq!(position(&[json!(1)], &Step::Index(1)), None);
    }

    #[rstest]
    #[case::by_position(".spec.containers[1].image", ".spec.containers[name=web].image")]
    #[case::unknown_position(".spec.containers[7].image", ".spec.containers[7].image")]
    #[case::a_key_that_is_a_number("/data/0", ".data.0")]
    fn a_path_is_named_as_in_the_object(#[case] text: &str, #[case] expected: &str) {
        let object = serde_json::json!({
            "spec": {"containers": [{"name": "db"}, {"name": "web", "image": "a"}]},
            "data": {"0": "x"},
        });
        let path: FieldPath = text.parse().unwrap();
        assert_eq!(named_path(&path, Some(&object)).to_string(), expected);
    }

    #[test]
    fn a_document_is_searched_as_each_of_its_lists() {
        let ports: Vec<Value> = (0..100)
            .map(|n| json!({"port": n, "name": format!("p{n}")}))
            .collect();
        let document = json!({"spec": {"ports": ports}});
        let lists = Lists::default();
        let path = ".spec.ports[port=77,protocol=TCP].name";
        let path: FieldPath = path.parse().unwrap();
        for _ in 0..2 {
            assert_eq!(lists.select(&document, path.steps()), Some(&json!("p77")));
        }
        let steps = [
            Step::Field("spec".to_owned()),
            Step::Field("ports".to_owned()),
        ];
        let items = lists.select(&document, &steps).unwrap().as_array().unwrap();
        assert_eq!(lists.position(items, &item(&[("port", "5")])), Some(5));
        assert_eq!(lists.position(items, &item(&[("port", "100")])), None);
        assert_eq!(lists.position(items, &Step::Index(7)), Some(7));
    }
}
