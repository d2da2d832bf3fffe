use proptest::prelude::*;

use super::*;

fn object(kind: &str, name: &str, json: &str) -> DeclaredObject {
    DeclaredObject {
        group: String::new(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        name: name.to_owned(),
        source: None,
        line: 1,
        keep: false,
        json: json.into(),
    }
}

fn keyed(objects: &[DeclaredObject]) -> Vec<(ObjectKey, DeclaredObject)> {
    objects
        .iter()
        .map(|object| {
            let key = ObjectKey::new(&object.group, &object.kind, "shop", &object.name);
            (key, object.clone())
        })
        .collect()
}

fn packed(objects: &[DeclaredObject], model: Option<&Model>) -> Packed {
    Packed::new(&keyed(objects), |_, _| model.cloned())
}

/// Text that compresses by half at best.
fn hex(seed: usize, bytes: usize) -> String {
    let words = (0..).map(|n| {
        seed.wrapping_mul(31)
            .wrapping_add(n)
            .wrapping_mul(0x9E37_79B9)
    });
    words
        .flat_map(|word| format!("{word:x}").into_bytes())
        .map(char::from)
        .take(bytes)
        .collect()
}

prop_compose! {
    fn objects()(
        parts in prop::collection::vec(
            (any::<[String; 4]>(), any::<[Option<String>; 2]>(), any::<(u32, bool, String)>(), 0_usize..40_000),
            0..12,
        )
    ) -> Vec<DeclaredObject> {
        let mut objects = Vec::new();
        for ([group, version, kind, name], [namespace, source], (line, keep, json), size) in parts {
            objects.push(DeclaredObject {
                group, version, kind, namespace, name, source: source.map(String::into_boxed_str),
                line, keep, json: format!("{json}{}", hex(size, size)).into(),
            });
        }
        objects
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn unpacking_restores_the_packed_objects(objects in objects(), model in any::<Option<Vec<u8>>>()) {
        let model = model.map(Model::from);
        let packed = packed(&objects, model.as_ref());
        prop_assert_eq!(packed.objects(), Ok(objects.clone()));
        prop_assert_eq!(packed.entries().len(), objects.len());
        prop_assert!(packed.entries().is_sorted());
        let mut entries = packed.entries().to_vec();
        entries.sort_by_key(|entry| entry.place);
        for (entry, (key, object)) in entries.iter().zip(keyed(&objects)) {
            prop_assert_eq!(entry.key, key);
            prop_assert_eq!(packed.object(entry.place), Ok(object));
        }
    }
}

#[test]
fn the_blocks_of_a_large_manifest_are_read_independently() {
    let objects: Vec<_> = (0..40)
        .map(|n| object("ConfigMap", &format!("a-{n}"), &hex(n, 10_000)))
        .chain([object("ConfigMap", "large", &hex(0, 3 * BLOCK))])
        .collect();
    let mut packed = packed(&objects, None);
    let lengths: Vec<u32> = packed.blocks.iter().map(|block| block.length).collect();
    assert!(lengths.len() >= 7, "{lengths:?}");
    let (largest, others) = lengths.split_last().unwrap();
    assert!(others.iter().all(|length| *length <= index(BLOCK) + 200));
    assert!(*largest > index(3 * BLOCK));
    assert_eq!(packed.objects().as_ref(), Ok(&objects));

    // Damage to one block does not affect the others.
    packed.blocks[0].pieces = Box::default();
    let found = packed
        .entries()
        .iter()
        .map(|entry| packed.object(entry.place));
    let (read, lost): (Vec<_>, Vec<_>) = found.partition(Result::is_ok);
    assert!(lost.len() >= 6 && read.len() + lost.len() == objects.len());
    assert!(lost.contains(&Err(PackError::Block)));
    assert_eq!(packed.objects(), Err(PackError::Block));
}

#[test]
fn a_block_similar_to_its_model_takes_little_memory() {
    let text = hex(7, 20_000);
    let model: Model = text.as_bytes().into();
    let objects = [object("ConfigMap", "a", &text)];
    let (alone, alike) = (packed(&objects, None), packed(&objects, Some(&model)));
    assert!(
        alone.bytes() > 5_000 && alike.bytes() < 200,
        "{} {}",
        alone.bytes(),
        alike.bytes()
    );
    assert_eq!(alike.objects().unwrap(), objects);
    assert!(alone.bytes() < text.len());
}

#[test]
fn a_block_holds_its_model_and_is_unreadable_with_another() {
    let model: Model = hex(7, 20_000).into_bytes().into();
    let objects = [object("ConfigMap", "a", &hex(7, 20_000))];
    let mut packed = packed(&objects, Some(&model));
    drop(model);
    assert_eq!(packed.objects().unwrap(), objects);
    for other in [None, Some(Model::from(hex(8, 30_000).into_bytes()))] {
        packed.blocks[0].model = other;
        let found = packed.object(packed.entries()[0].place);
        assert!(found != Ok(objects[0].clone()), "{found:?}");
    }
}

#[test]
fn a_position_without_an_object_is_an_error() {
    let packed = packed(&[object("ConfigMap", "a", "{}")], None);
    for (block, at) in [(0, 1), (0, 10_000), (1, 0), (u32::MAX, 0)] {
        let found = packed.object(PackedPlace { block, at });
        assert_eq!(found, Err(PackError::Object), "{block} {at}");
    }
}

#[test]
fn a_model_contains_no_secrets() {
    let objects = [
        object("ConfigMap", "a", r#"{"first":1}"#),
        object("Secret", "b", r#"{"data":{"password":"aHVudGVyMg=="}}"#),
        object("Service", "c", r#"{"last":1}"#),
    ];
    let mut offered = Vec::new();
    Packed::new(&keyed(&objects), |_, draft| {
        offered.push(String::from_utf8(draft.model()).unwrap());
        None
    });
    let [text] = offered.as_slice() else {
        panic!("{offered:?}")
    };
    assert!(text.contains(r#"{"first":1}"#) && text.contains(r#"{"last":1}"#));
    assert!(
        !text.contains("aHVudGVyMg") && !text.contains("Secret"),
        "{text}"
    );
}

#[test]
fn an_empty_manifest_takes_nothing() {
    let packed = packed(&[], None);
    assert_eq!((packed.bytes(), packed.objects()), (0, Ok(Vec::new())));
}
