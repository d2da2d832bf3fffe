//! How a field of a live object is restored: the operations of a JSON patch (RFC 6902), with positions in lists as the
//! scanned object has them.
//!
//! Invariants
//! - A repair never guesses: where a path does not lead to exactly the value that was compared, there is none.
//! - A repair tests everything that it relies on, so it fails instead of overwriting a later change.
//! - Repairs of one object combine in any selection: their tests come first, and no write moves the place of another.
//!
//! Start at [`FieldRepair::of`]; [`patch`] combines them.

use std::cmp::Reverse;

use json_patch::{
    AddOperation, Patch, PatchOperation, ReplaceOperation, TestOperation,
    jsonptr::{PointerBuf, Token},
};
use serde_json::Value;

use crate::compare::{
    lookup,
    path::{FieldPath, Step},
    positions::{Positions, text},
    schema::Shape,
};

/// A field to restore, in the object that was scanned.
#[derive(Clone, Copy, Debug)]
pub struct LostField<'a> {
    /// The live object.
    pub object: &'a Value,
    /// What is known about its fields.
    pub shape: Shape<'a>,
    /// The object in the manifest that declares the field: it tells the place of an item that is gone.
    pub manifest: Option<&'a Value>,
    /// The field.
    pub path: &'a FieldPath,
    /// The value that it should have.
    pub declared: &'a Value,
    /// The value that it has.
    pub live: Option<&'a Value>,
}

/// Why no patch restores a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRepair {
    /// Every update to the declared value is rejected.
    #[error("the API server rejects this change of the object")]
    Rejected,
    /// A list repeats a merge key.
    #[error("the path does not name one value of the live object")]
    Ambiguous,
    /// A list whose items are matched by their keys, as a whole: undeclared items may be in it.
    #[error("a patch of the whole list would drop undeclared items")]
    WholeList,
    /// The live object could not be read in the declared version.
    #[error("the API server does not serve the declared version of the object")]
    OtherVersion,
    /// The object as a whole is missing.
    #[error("the object does not exist")]
    NoObject,
    /// The field is there, and nothing declares it.
    #[error("no active revision declares it")]
    Undeclared,
}

/// Restores one field of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRepair {
    tests: Vec<TestOperation>,
    write: RepairWrite,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum RepairWrite {
    Replace(PointerBuf, Value),
    /// Adds a field.
    Add(PointerBuf, Value),
    /// Inserts an item into a list.
    Insert {
        list: PointerBuf,
        /// Before this item of the live list.
        position: usize,
        /// The position in the manifest: items that go to one place keep their order.
        order: usize,
        item: Value,
    },
}

impl FieldRepair {
    /// The repair of a field.
    ///
    /// # Errors
    /// When there is no patch that certainly restores it.
    pub fn of(field: &LostField<'_>) -> Result<Self, NoRepair> {
        let (last, parents) = field.path.steps().split_last().ok_or(NoRepair::NoObject)?;
        let parent = parents
            .iter()
            .try_fold(PatchedPlace::root(field.object), PatchedPlace::step)?;
        let found = parent.children(last)?;
        let shape = field.path.steps().iter().fold(field.shape, Shape::step);
        match (&*found, field.live) {
            ([one], Some(live)) if one.value == live => {
                if live.is_array() && shape.keys().is_some() {
                    return Err(NoRepair::WholeList);
                }
                let one = parent.step(last)?;
                let mut tests = one.tests;
                if !one.is_tested {
                    tests.push(test(&one.pointer, live.clone()));
                }
                let write = RepairWrite::Replace(one.pointer, field.declared.clone());
                Ok(Self { tests, write })
            }
            ([], None) => parent.restored(last, field, parents),
            _ => Err(NoRepair::Ambiguous),
        }
    }
}

/// The patch of one object with all these repairs.
pub fn patch<'r>(repairs: impl IntoIterator<Item = &'r FieldRepair>) -> Patch {
    let (mut operations, mut writes, mut inserts) = (Vec::new(), Vec::new(), Vec::new());
    for repair in repairs {
        for one in &repair.tests {
            let one = PatchOperation::Test(one.clone());
            if !operations.contains(&one) {
                operations.push(one);
            }
        }
        match &repair.write {
            RepairWrite::Replace(at, value) => {
                writes.push(PatchOperation::Replace(ReplaceOperation {
                    path: at.clone(),
                    value: value.clone(),
                }));
            }
            RepairWrite::Add(at, value) => writes.push(add(at.clone(), value)),
            RepairWrite::Insert {
                list,
                position,
                order,
                item,
            } => inserts.push((list, *position, *order, item)),
        }
    }
    // An item moves those behind it, and everything in them: so inner lists first, and from their ends.
    inserts.sort_by_key(|(list, position, order, _)| {
        (
            Reverse(list.count()),
            *list,
            Reverse(*position),
            Reverse(*order),
        )
    });
    let inserts = inserts.into_iter().map(|(list, position, _, item)| {
        let mut at = list.clone();
        at.push_back(position);
        add(at, item)
    });
    operations.extend(writes);
    operations.extend(inserts);
    Patch(operations)
}

fn add(path: PointerBuf, value: &Value) -> PatchOperation {
    let value = value.clone();
    PatchOperation::Add(AddOperation { path, value })
}

fn test(pointer: &PointerBuf, value: Value) -> TestOperation {
    TestOperation {
        path: pointer.clone(),
        value,
    }
}

/// A value of the live object, and what a patch that goes there has to test.
#[derive(Clone)]
struct PatchedPlace<'v> {
    value: &'v Value,
    pointer: PointerBuf,
    tests: Vec<TestOperation>,
    /// Whether a test covers everything from here down.
    is_tested: bool,
}

/// A child of a place.
struct PatchedChild<'v> {
    token: Token<'static>,
    value: &'v Value,
}

impl<'v> PatchedPlace<'v> {
    fn root(value: &'v Value) -> Self {
        Self {
            value,
            pointer: PointerBuf::new(),
            tests: Vec::new(),
            is_tested: false,
        }
    }

    /// The values one step further: none, one, or several items with the same key.
    fn children(&self, step: &Step) -> Result<Vec<PatchedChild<'v>>, NoRepair> {
        match (self.value, step) {
            (Value::Object(fields), Step::Field(name)) => {
                let value = fields.get(name).filter(|value| !value.is_null());
                let token = Token::new(name.clone());
                Ok(value
                    .map(|value| PatchedChild { token, value })
                    .into_iter()
                    .collect())
            }
            (Value::Array(items), Step::Item(_) | Step::Value(_) | Step::Index(_)) => {
                let positions = Positions::default().of(items, step).into_iter();
                let child = |position: usize| {
                    let value = items.get(position)?;
                    let token = Token::from(position);
                    Some(PatchedChild { token, value })
                };
                Ok(positions.filter_map(child).collect())
            }
            _ => Err(NoRepair::Ambiguous),
        }
    }

    fn step(mut self, step: &Step) -> Result<Self, NoRepair> {
        let found = self.children(step)?;
        let [PatchedChild { token, value }] =
            <[_; 1]>::try_from(found).map_err(|_| NoRepair::Ambiguous)?;
        // A position says nothing about the item, so the list has to be the same.
        if !matches!(step, Step::Field(_) | Step::Item(_)) {
            self.test_all();
        }
        self.pointer.push_back(token);
        if let (Step::Item(keys), false) = (step, self.is_tested) {
            for (key, _) in keys {
                let mut at = self.pointer.clone();
                at.push_back(key);
                let own = value.get(key).cloned().unwrap_or_default();
                self.tests.push(test(&at, own));
            }
        }
        self.value = value;
        Ok(self)
    }

    fn test_all(&mut self) {
        if !self.is_tested {
            self.tests.push(test(&self.pointer, self.value.clone()));
            self.is_tested = true;
        }
    }

    /// The repair of a child that is gone. `parents` lead here.
    fn restored(
        mut self,
        step: &Step,
        field: &LostField<'_>,
        parents: &[Step],
    ) -> Result<FieldRepair, NoRepair> {
        let write = match (step, self.value) {
            (Step::Field(name), Value::Object(_)) => {
                let mut at = self.pointer.clone();
                at.push_back(name);
                if !self.is_tested {
                    // The API server takes null for a field that is absent.
                    self.tests.push(test(&at, Value::Null));
                }
                RepairWrite::Add(at, field.declared.clone())
            }
            (Step::Item(_) | Step::Value(_), Value::Array(items)) => {
                self.test_all();
                let declared = field
                    .manifest
                    .and_then(|manifest| lookup::select(manifest, parents));
                let declared = declared.and_then(Value::as_array);
                let declared = declared.map(Vec::as_slice).unwrap_or_default();
                let (position, order) = place(items, declared, step);
                RepairWrite::Insert {
                    list: self.pointer,
                    position,
                    order,
                    item: field.declared.clone(),
                }
            }
            _ => return Err(NoRepair::Ambiguous),
        };
        let tests = self.tests;
        Ok(FieldRepair { tests, write })
    }
}

/// Where an item goes: behind the declared item that comes before it, and its position in the manifest.
fn place(live: &[Value], declared: &[Value], step: &Step) -> (usize, usize) {
    let Step::Item(keys) = step else {
        // The order of a set does not matter.
        return (live.len(), 0);
    };
    let Some(order) = lookup::position(declared, step) else {
        return (live.len(), 0);
    };
    let mut positions = Positions::default();
    let mut before = declared.iter().take(order).rev().filter_map(|item| {
        let keys = keys.iter().filter_map(|(key, _)| {
            let value = item.get(key)?;
            Some((key.clone(), text(value)))
        });
        positions
            .of(live, &Step::Item(keys.collect()))
            .last()
            .copied()
    });
    (before.next().map_or(0, |at| at + 1), order)
}
