//! Properties that hold for every object.
//!
//! Objects are generated from a model of the kinds ([`model`]), put into a cluster ([`server`]) and
//! edited ([`edit`]); the expected result of the comparison follows from the edit.

mod edit;
mod model;
mod scan;
mod server;
mod undeclared;

use edit::{Node, Seg, changed, get, nodes, put, removed};
use helm_guard_core::compare::{
    Agreement, Comparison, Declared, Json, Violation, compare,
    path::{FieldPath, Step},
};
use model::{KindUnderTest, Ty, declared, subjects};
use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner},
};
use serde_json::{Value, json};
use server::{Life, is_empty, roll, stored};

/// The number of objects of each kind, for each property; `PROPTEST_CASES` overrides it.
const CASES: u32 = 96;

/// Seeds of failures, which every run tries first. A run that finds one adds it, to be committed.
const REGRESSIONS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/properties/regressions.txt"
);

type PropertyResult = Result<(), TestCaseError>;

/// Checks a property on objects of every kind.
fn for_all(property: impl Fn(&KindUnderTest, &Value, u64) -> PropertyResult) {
    for subject in subjects() {
        let mut config = Config {
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
            ..Config::default()
        };
        if std::env::var_os("PROPTEST_CASES").is_none() {
            config.cases = CASES;
        }
        let inputs = (declared(&subject.ty), any::<u64>());
        let holds = |(object, seed): (Value, u64)| property(&subject, &object, seed);
        if let Err(error) = TestRunner::new(config).run(&inputs, holds) {
            panic!("{}: {error}", subject.name);
        }
    }
}

/// A violation, detached from its objects.
#[derive(Debug)]
struct Found {
    path: FieldPath,
    declared: Value,
}

impl From<&Violation<'_>> for Found {
    fn from(violation: &Violation<'_>) -> Self {
        // The path that is shown for a key of an atomic value is that value.
        let (path, declared) = match &violation.whole {
            Some(whole) => (&whole.path, whole.declared),
            None => (&violation.path, violation.declared),
        };
        Self {
            path: path.clone(),
            declared: serde_json::from_str(declared.text()).unwrap(),
        }
    }
}

impl KindUnderTest {
    fn judge(&self, declared: &Value, old: &Value, new: &Value) -> Vec<Found> {
        let declared = declared.to_string();
        let declared = Json::of(&declared);
        self.run(Declared::One(declared), Agreement::Every, old, new)
    }

    fn judge_two(
        &self,
        (first, second): (&Value, &Value),
        agreement: Agreement,
        old: &Value,
        new: &Value,
    ) -> Vec<Found> {
        let (first, second) = (first.to_string(), second.to_string());
        let (first, second) = (Json::of(&first), Json::of(&second));
        let declared = Declared::Two(Some(first), Some(second));
        self.run(declared, agreement, old, new)
    }

    fn run(
        &self,
        declared: Declared<'_>,
        agreement: Agreement,
        old: &Value,
        new: &Value,
    ) -> Vec<Found> {
        let (old, new) = (old.to_string(), new.to_string());
        let (old, new) = (Json::of(&old), Json::of(&new));
        let comparison = Comparison {
            declared,
            agreement,
            old,
            new,
            shape: self.shape,
            empties: self.empties,
        };
        compare(&comparison).iter().map(Found::from).collect()
    }

    /// The object in the cluster with additions, in any order and spelling.
    fn lived_in(&self, declared: &Value, seed: u64) -> Value {
        self.live(declared, seed, true, None)
    }

    fn live(&self, declared: &Value, seed: u64, adds: bool, drops: Option<u64>) -> Value {
        let life = Life {
            seed,
            adds,
            drops,
            empties: self.empties,
        };
        stored(&self.ty, declared, &life)
    }
}

fn is_at_or_above(path: &FieldPath, node: &FieldPath) -> bool {
    node.steps().starts_with(path.steps())
}

/// There is a violation, and all are at or above the path.
fn only_at(found: &[Found], path: &FieldPath, what: &str) -> PropertyResult {
    prop_assert!(!found.is_empty(), "{what} at {path} is missed");
    let stray = found
        .iter()
        .find(|found| !is_at_or_above(&found.path, path));
    prop_assert!(stray.is_none(), "{what} at {path} is reported at {stray:?}");
    Ok(())
}

fn none(found: &[Found], what: &str) -> PropertyResult {
    prop_assert!(found.is_empty(), "{what}: {found:?}");
    Ok(())
}

fn is_leaf(object: &Value, node: &Node) -> bool {
    !matches!(
        get(object, &node.at),
        None | Some(Value::Object(_) | Value::Array(_))
    )
}

#[test]
fn what_only_a_server_and_other_clients_did_is_no_violation() {
    for_all(|subject, object, seed| {
        for drops in [None, Some(roll(seed, "", "drops"))] {
            let old = subject.live(object, seed, true, drops);
            let new = subject.live(object, !seed, true, drops);
            none(
                &subject.judge(object, &old, &new),
                "from one life to another",
            )?;
            none(&subject.judge(object, &old, &old), "nothing")?;
            let bare = subject.live(object, seed, false, drops);
            none(&subject.judge(object, &old, &bare), "additions taken away")?;
        }
        Ok(())
    });
}

#[test]
fn the_order_of_keyed_lists_and_sets_is_nothing() {
    for_all(|subject, object, seed| {
        let old = subject.live(object, seed, false, None);
        let new = subject.live(object, seed.wrapping_add(1), false, None);
        none(&subject.judge(object, &old, &new), "reordered")
    });
}

#[test]
fn a_change_of_any_declared_leaf_is_found_where_it_is_and_nowhere_else() {
    for_all(|subject, object, seed| {
        let old = subject.lived_in(object, seed);
        for node in nodes(&subject.ty, object) {
            if !is_leaf(object, &node) || is_unwitnessed(object, &node) {
                continue;
            }
            let edited = changed(object, &node);
            let new = subject.lived_in(&edited, !seed);
            only_at(&subject.judge(object, &old, &new), &node.path, "a change")?;
            none(&subject.judge(object, &new, &old), "a change back")?;
        }
        Ok(())
    });
}

#[test]
fn a_change_is_found_beside_drift_that_was_there_before() {
    for_all(|subject, object, seed| {
        let all = nodes(&subject.ty, object);
        let leaves: Vec<_> = all
            .iter()
            .filter(|node| is_leaf(object, node) && !node.is_key && !is_unwitnessed(object, node))
            .collect();
        let Some(drift) = leaves.get(usize::try_from(seed % 64).unwrap() % leaves.len().max(1))
        else {
            return Ok(());
        };
        let drifted = changed(object, drift);
        let old = subject.lived_in(&drifted, seed);
        let spared =
            |node: &Node| node.path == drift.path || is_at_or_above(&node.path, &drift.path);
        for node in leaves.iter().filter(|node| !spared(node)) {
            let edited = changed(&drifted, node);
            // A list that is compared as a whole drifts as a whole: nothing may be added to it.
            let new = subject.lived_in(&edited, seed);
            only_at(&subject.judge(object, &old, &new), &node.path, "a change")?;
        }
        Ok(())
    });
}

#[test]
fn drift_that_was_there_before_blocks_no_other_write() {
    for_all(|subject, object, seed| {
        let all = nodes(&subject.ty, object);
        for node in all.iter().filter(|node| is_leaf(object, node)) {
            let drifted = subject.lived_in(&changed(object, node), seed);
            let mut new = drifted.clone();
            new["metadata"]["annotations"]["someone"] = json!("was here");
            none(&subject.judge(object, &drifted, &new), "an annotation")?;
        }
        Ok(())
    });
}

#[test]
fn what_is_declared_may_not_be_removed_unless_it_was_empty_and_dropped() {
    for_all(|subject, object, seed| {
        let old = subject.live(object, seed, false, None);
        let drops = Some(roll(seed, "", "drops"));
        let sparse = subject.live(object, seed, false, drops);
        for node in nodes(&subject.ty, object) {
            let edited = removed(object, &node);
            let new = subject.live(&edited, !seed, false, None);
            let found = subject.judge(object, &old, &new);
            let value = get(object, &node.at).unwrap();
            let is_item = matches!(node.at.last(), Some(Seg::Item(_)));
            // Without a merge key with a default, the item becomes another one.
            if node.is_key || is_unwitnessed(object, &node) {
                continue;
            }
            let name = match node.at.last() {
                Some(Seg::Field(name)) => name.as_str(),
                _ => "",
            };
            if is_item || says_something(subject, &node.ty, (name, value)) {
                only_at(&found, &node.path, "a removal")?;
            } else {
                none(&found, "a removal of nothing")?;
            }
            if is_empty(value) {
                let new = subject.live(&edited, !seed, false, drops);
                if sparse == subject.live(&edited, seed, false, drops) {
                    none(
                        &subject.judge(object, &sparse, &new),
                        "what was dropped is gone",
                    )?;
                }
            }
        }
        Ok(())
    });
}

/// Found by the property above: each value of such an item may be missing, but not the item.
#[test]
fn an_item_that_is_nothing_but_a_key_of_zero_may_not_be_removed() {
    let subjects = subjects();
    let subject = subjects
        .iter()
        .find(|subject| subject.name == "custom resource")
        .unwrap();
    let declared = json!({"spec": {"listeners": [{"port": 0}]}});
    for new in [
        json!({}),
        json!({"spec": {}}),
        json!({"spec": {"listeners": []}}),
        json!({"spec": {"listeners": [{"port": 1}]}}),
    ] {
        let found = subject.judge(&declared, &declared, &new);
        assert_eq!(found.len(), 1, "{new}: {found:?}");
    }
}

/// An empty value in a list without order: no old item can tell whether the API server keeps it, so
/// its absence is forgiven.
fn is_unwitnessed(object: &Value, node: &Node) -> bool {
    let is_metric = object.pointer("/spec/metrics").is_some() && node.at.len() > 3;
    is_metric && get(object, &node.at).is_none_or(is_empty)
}

/// In a custom resource without a schema, a field with the name of a Kubernetes map is a map.
const MAPS: [&str; 6] = [
    "annotations",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "requests",
];

/// Something is lost with the value of this name: a scalar, an object (empty, it still stands there), or
/// an empty list where one is kept. Of a custom resource, zero values and empty maps say nothing.
fn says_something(subject: &KindUnderTest, ty: &Ty, (name, value): (&str, &Value)) -> bool {
    use helm_guard_core::compare::rules::EmptyListPolicy;
    let is_custom = subject.empties == EmptyListPolicy::Kept;
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) if fields.is_empty() => {
            let is_map = match subject.name {
                "custom resource" => ty.is_map(),
                _ => MAPS.contains(&name),
            };
            !(is_custom && is_map)
        }
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let ty = ty.below(name).unwrap_or(&Ty::Text);
            says_something(subject, ty, (name, value))
        }),
        _ => !(is_custom && is_empty(value)),
    }
}

/// Up to four edits of an object, of any depth.
fn vandalised(ty: &Ty, object: &Value, seed: u64) -> Value {
    edited(ty, object, seed, |_, _| true)
}

/// Up to four edits of an object that the API server would still accept.
fn revised(ty: &Ty, object: &Value, seed: u64) -> Value {
    edited(ty, object, seed, |object, node| {
        is_leaf(object, node) && !node.is_key
    })
}

fn edited(ty: &Ty, object: &Value, seed: u64, may: impl Fn(&Value, &Node) -> bool) -> Value {
    let mut edited = object.clone();
    for turn in 0..=(seed % 4) {
        let mut all = nodes(ty, &edited);
        all.retain(|node| may(&edited, node));
        let die = roll(seed, &turn.to_string(), "edit");
        let Some(node) = all.get(usize::try_from(die % 1024).unwrap() % all.len().max(1)) else {
            break;
        };
        edited = if die.is_multiple_of(3) {
            removed(&edited, node)
        } else {
            changed(&edited, node)
        };
    }
    edited
}

#[test]
fn undoing_what_is_reported_leaves_nothing_to_report() {
    for_all(|subject, object, seed| {
        let old = subject.lived_in(object, seed);
        let new = subject.lived_in(&vandalised(&subject.ty, object, seed), !seed);
        let mut undone = new.clone();
        for found in subject.judge(object, &old, &new) {
            put(&mut undone, found.path.steps(), &found.declared);
        }
        // An item that is restored at the end of the list may be in the wrong place.
        for found in subject.judge(object, &old, &undone) {
            if found.path.to_string().ends_with(".initContainers") {
                put(&mut undone, found.path.steps(), &found.declared);
            }
        }
        none(&subject.judge(object, &old, &undone), "undone")
    });
}

#[test]
fn putting_everything_back_is_never_a_violation() {
    for_all(|subject, object, seed| {
        let old = subject.lived_in(&vandalised(&subject.ty, object, seed), seed);
        let new = subject.lived_in(object, !seed);
        none(&subject.judge(object, &old, &new), "put back")
    });
}

#[test]
fn of_two_manifests_each_may_be_followed_and_both_together_forbid_no_more_than_either() {
    for_all(|subject, object, seed| {
        let other = revised(&subject.ty, object, seed.rotate_left(7));
        let start = vandalised(&subject.ty, object, seed.rotate_left(21));
        let end = vandalised(&subject.ty, &other, seed.rotate_left(42));
        let old = subject.lived_in(&start, seed);
        let new = subject.lived_in(&end, !seed);
        for manifests in [(object, &other), (&other, object)] {
            let judge = |agreement, new: &Value| subject.judge_two(manifests, agreement, &old, new);
            let every = judge(Agreement::Every, &new);
            let any = judge(Agreement::Any, &new);
            for found in &every {
                let is_in = any.iter().any(|any| is_at_or_above(&any.path, &found.path));
                prop_assert!(is_in, "Any does not forbid {found:?}, but {any:?}");
            }
            for manifest in [object, &other] {
                let followed = subject.live(manifest, seed, false, None);
                for agreement in [Agreement::Every, Agreement::Any] {
                    none(&judge(agreement, &followed), "a manifest is followed")?;
                }
            }
        }
        Ok(())
    });
}

#[test]
fn two_leaves_never_print_the_same_path() {
    for_all(|subject, object, _| {
        let mut printed: Vec<(String, FieldPath)> = nodes(&subject.ty, object)
            .into_iter()
            .filter(|node| is_leaf(object, node))
            .map(|node| (node.path.to_string(), node.path))
            .collect();
        printed.sort();
        for pair in printed.windows(2) {
            let same = pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1;
            prop_assert!(!same, "{:?} and {:?}", pair[0].1, pair[1].1);
        }
        Ok(())
    });
}

#[test]
fn a_path_prints_as_kubernetes_writes_it() {
    let path = FieldPath::from(vec![
        Step::Field("metadata".into()),
        Step::Field("app.kubernetes.io/name".into()),
        Step::Item(vec![
            ("port".into(), "80".into()),
            ("protocol".into(), "TCP".into()),
        ]),
        Step::Value("\"a\"".into()),
        Step::Index(3),
    ]);
    assert_eq!(
        path.to_string(),
        r#".metadata["app.kubernetes.io/name"][port=80,protocol=TCP]["a"][3]"#
    );
}

/// Found by the property above.
#[test]
fn an_empty_map_that_no_schema_describes_says_nothing_by_its_name() {
    let subjects = subjects();
    let subject = subjects
        .iter()
        .find(|subject| subject.name == "custom resource without a schema")
        .unwrap();
    for (declared, is_lost) in [
        (json!({"spec": {"template": {"labels": {}}}}), false),
        (json!({"spec": {"issuer": {"selfSigned": {}}}}), true),
    ] {
        let found = subject.judge(&declared, &declared, &json!({"spec": {}}));
        assert_eq!(!found.is_empty(), is_lost, "{declared}: {found:?}");
    }
}
