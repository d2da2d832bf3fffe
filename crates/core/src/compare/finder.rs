//! Finds the values at paths in an object that stays JSON text.

use std::{cell::OnceCell, collections::HashMap};

use super::{
    json::Json,
    keyed_list::KeyedList,
    lazy::{Fields, Opened, open},
    path::Step,
    schema::{ListKind, Node, Shape},
};

/// Finds values in one object and keeps the levels on the way open: if the paths come in the order of the
/// object, as violations do, each object and list is opened once.
pub(crate) struct Finder<'a> {
    root: Level<'a>,
    /// The values along the last path, each with its step.
    levels: Vec<(Step, Level<'a>)>,
}

/// A value along the path.
struct Level<'a> {
    value: Json<'a>,
    shape: Shape<'a>,
    children: OnceCell<Children<'a>>,
}

/// The children of a value, by their steps.
enum Children<'a> {
    Fields(Fields<'a>),
    Items(Vec<Json<'a>>),
    Named(HashMap<Step, Json<'a>>),
    Nothing,
}

impl<'a> Finder<'a> {
    /// In this object.
    pub(crate) fn new(value: Json<'a>, shape: Shape<'a>) -> Self {
        Self {
            root: Level::new(value, shape),
            levels: Vec::new(),
        }
    }

    /// The value at a path, with what is known about it. Of several items with one key, the first.
    pub(crate) fn find(&mut self, steps: &[Step]) -> Option<(Json<'a>, Shape<'a>)> {
        let known = self.levels.iter().zip(steps);
        let common = known
            .take_while(|((known, _), step)| known == *step)
            .count();
        self.levels.truncate(common);
        for step in steps.iter().skip(common) {
            let child = self.last().child(step)?;
            self.levels.push((step.clone(), child));
        }
        let last = self.last();
        Some((last.value, last.shape))
    }

    fn last(&self) -> &Level<'a> {
        self.levels.last().map_or(&self.root, |(_, level)| level)
    }
}

impl<'a> Level<'a> {
    fn new(value: Json<'a>, shape: Shape<'a>) -> Self {
        Self {
            value,
            shape,
            children: OnceCell::new(),
        }
    }

    fn child(&self, step: &Step) -> Option<Self> {
        let children = self.children.get_or_init(|| self.open());
        let (value, shape) = match (step, children) {
            (Step::Field(name), Children::Fields(fields)) => {
                (fields.get(name)?, self.shape.field(name))
            }
            (Step::Index(index), Children::Items(items)) => {
                (*items.get(*index)?, self.shape.item())
            }
            (step, Children::Named(items)) => (*items.get(step)?, self.shape.item()),
            _ => return None,
        };
        Some(Self::new(value, shape))
    }

    fn open(&self) -> Children<'a> {
        match (open(self.value), self.shape.node()) {
            (Opened::Object(fields), _) => Children::Fields(fields),
            (Opened::List(items), Node::List { kind, .. }) => match (kind.keys(), kind) {
                (Some(keys), _) => {
                    let list = KeyedList::of(&items, keys);
                    let list = list.iter().flat_map(KeyedList::distinct);
                    Children::Named(list.map(|item| (item.step(keys), item.item)).collect())
                }
                (None, ListKind::Set) => {
                    let step = |item: &Json<'a>| Step::Value(item.text().to_owned());
                    Children::Named(items.iter().map(|item| (step(item), *item)).collect())
                }
                (None, _) => Children::Items(items),
            },
            (Opened::List(items), _) => Children::Items(items),
            (Opened::Scalar(_), _) => Children::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_after_another_with_a_like_end() {
        let object = Json::of(r#"{"a":{"x":1,"y":2},"b":{"x":3}}"#);
        let mut finder = Finder::new(object, Shape::plain());
        for (path, value) in [
            (["a", "x"], "1"),
            (["a", "y"], "2"),
            (["b", "x"], "3"),
            (["a", "x"], "1"),
        ] {
            let steps = path.map(|name| Step::Field(name.to_owned()));
            let found = finder.find(&steps).map(|(value, _)| value.text());
            assert_eq!(found, Some(value), "{path:?}");
        }
    }
}
