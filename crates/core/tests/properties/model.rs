//! The kinds of the property tests, as their API documents them: a second word on list types and
//! merge keys, independent of the table that the product uses.

use std::sync::LazyLock;

use helm_guard_core::compare::{
    rules::EmptyListPolicy,
    schema::{Shape, builtin::builtin, crd::CrdShape},
};
use proptest::{collection, option, prelude::*};
use serde_json::{Map, Value, json};

/// The type of a value.
#[derive(Clone, Debug)]
pub enum Ty {
    Text,
    /// A string out of a few.
    Choice(&'static [&'static str]),
    Int,
    Bool,
    IntOrString,
    Quantity,
    Bytes,
    Struct(Vec<(&'static str, Ty)>),
    Map(Box<Ty>),
    /// An atomic object: nobody may add to it.
    Whole(Box<Ty>),
    /// Items are named by these fields.
    Keyed(Vec<ModelKey>, Box<Ty>),
    /// The same, and they keep their order.
    Sequence(Vec<ModelKey>, Box<Ty>),
    /// Strings.
    Set,
    Atomic(Box<Ty>),
    Unordered(Box<Ty>),
}

/// A merge key, and what the API server makes of its absence.
#[derive(Clone, Copy, Debug)]
pub struct ModelKey {
    pub field: &'static str,
    pub default: Option<&'static str>,
}

/// A kind whose objects the properties generate and change.
pub struct KindUnderTest {
    pub name: &'static str,
    pub ty: Ty,
    pub shape: Shape<'static>,
    pub empties: EmptyListPolicy,
}

fn fields<const N: usize>(fields: [(&'static str, Ty); N]) -> Ty {
    Ty::Struct(fields.into())
}

fn map(value: Ty) -> Ty {
    Ty::Map(Box::new(value))
}

fn whole(object: Ty) -> Ty {
    Ty::Whole(Box::new(object))
}

fn atomic(item: Ty) -> Ty {
    Ty::Atomic(Box::new(item))
}

fn keyed(key: &'static str, item: Ty) -> Ty {
    let key = ModelKey {
        field: key,
        default: None,
    };
    Ty::Keyed(vec![key], Box::new(item))
}

fn in_order(key: &'static str, item: Ty) -> Ty {
    match keyed(key, item) {
        Ty::Keyed(keys, item) => Ty::Sequence(keys, item),
        other => other,
    }
}

/// Ports are named by number and protocol.
fn ports(number: &'static str, mut item: Vec<(&'static str, Ty)>) -> Ty {
    let keys = vec![
        ModelKey {
            field: number,
            default: None,
        },
        ModelKey {
            field: "protocol",
            default: Some("TCP"),
        },
    ];
    item.push((number, Ty::Int));
    item.push(("protocol", Ty::Choice(&["TCP", "UDP"])));
    Ty::Keyed(keys, Box::new(Ty::Struct(item)))
}

fn object<const N: usize>(own: [(&'static str, Ty); N]) -> Ty {
    let metadata = fields([
        ("labels", map(Ty::Text)),
        ("annotations", map(Ty::Text)),
        ("finalizers", Ty::Set),
    ]);
    let mut all = vec![("metadata", metadata)];
    all.extend(own);
    Ty::Struct(all)
}

fn container() -> Ty {
    let selector = fields([("key", Ty::Text), ("optional", Ty::Bool)]);
    let resources = fields([
        ("limits", map(Ty::Quantity)),
        ("requests", map(Ty::Quantity)),
    ]);
    let env = fields([
        ("name", Ty::Text),
        ("value", Ty::Text),
        ("valueFrom", fields([("secretKeyRef", whole(selector))])),
    ]);
    let mount = fields([
        ("mountPath", Ty::Text),
        ("name", Ty::Text),
        ("readOnly", Ty::Bool),
    ]);
    let probe = fields([(
        "httpGet",
        fields([("path", Ty::Text), ("port", Ty::IntOrString)]),
    )]);
    fields([
        ("name", Ty::Text),
        ("image", Ty::Text),
        ("args", atomic(Ty::Text)),
        ("env", keyed("name", env)),
        ("ports", ports("containerPort", vec![("name", Ty::Text)])),
        ("volumeMounts", keyed("mountPath", mount)),
        ("resources", resources),
        ("readinessProbe", probe),
    ])
}

fn deployment() -> Ty {
    let toleration = fields([
        ("key", Ty::Text),
        ("operator", Ty::Choice(&["Exists", "Equal"])),
        ("tolerationSeconds", Ty::Int),
    ]);
    let volume = fields([
        ("name", Ty::Text),
        ("emptyDir", fields([("sizeLimit", Ty::Quantity)])),
        ("secret", fields([("defaultMode", Ty::Int)])),
    ]);
    let spread = Ty::Keyed(
        vec![
            ModelKey {
                field: "topologyKey",
                default: None,
            },
            ModelKey {
                field: "whenUnsatisfiable",
                default: None,
            },
        ],
        Box::new(fields([
            ("topologyKey", Ty::Text),
            (
                "whenUnsatisfiable",
                Ty::Choice(&["DoNotSchedule", "ScheduleAnyway"]),
            ),
            ("maxSkew", Ty::Int),
        ])),
    );
    let pod = fields([
        ("containers", keyed("name", container())),
        ("initContainers", in_order("name", container())),
        ("volumes", keyed("name", volume)),
        ("tolerations", atomic(toleration)),
        ("topologySpreadConstraints", spread),
        ("nodeSelector", whole(map(Ty::Text))),
        ("automountServiceAccountToken", Ty::Bool),
    ]);
    let template = fields([
        ("metadata", fields([("annotations", map(Ty::Text))])),
        ("spec", pod),
    ]);
    object([(
        "spec",
        fields([
            ("replicas", Ty::Int),
            ("paused", Ty::Bool),
            ("template", template),
        ]),
    )])
}

fn service() -> Ty {
    let port = vec![("name", Ty::Text), ("targetPort", Ty::IntOrString)];
    object([(
        "spec",
        fields([
            ("type", Ty::Choice(&["ClusterIP", "NodePort"])),
            ("selector", whole(map(Ty::Text))),
            ("ports", ports("port", port)),
            ("externalIPs", atomic(Ty::Text)),
        ]),
    )])
}

fn role() -> Ty {
    let rule = fields([
        ("apiGroups", atomic(Ty::Text)),
        ("resources", atomic(Ty::Text)),
        ("verbs", atomic(Ty::Text)),
    ]);
    object([("rules", atomic(rule))])
}

fn autoscaler() -> Ty {
    let target = fields([
        ("type", Ty::Choice(&["Utilization", "AverageValue"])),
        ("averageUtilization", Ty::Int),
        ("averageValue", Ty::Quantity),
    ]);
    let metric = fields([
        ("type", Ty::Choice(&["Resource", "Pods"])),
        ("resource", fields([("name", Ty::Text), ("target", target)])),
    ]);
    object([(
        "spec",
        fields([
            ("minReplicas", Ty::Int),
            ("maxReplicas", Ty::Int),
            ("metrics", Ty::Unordered(Box::new(metric))),
        ]),
    )])
}

fn network_policy() -> Ty {
    let labels = || whole(fields([("matchLabels", map(Ty::Text))]));
    let peer = fields([("podSelector", labels()), ("namespaceSelector", labels())]);
    let port = fields([
        ("port", Ty::IntOrString),
        ("protocol", Ty::Choice(&["TCP", "UDP"])),
    ]);
    let ingress = fields([("from", atomic(peer)), ("ports", atomic(port))]);
    object([(
        "spec",
        fields([
            ("podSelector", labels()),
            ("policyTypes", atomic(Ty::Choice(&["Ingress", "Egress"]))),
            ("ingress", atomic(ingress)),
        ]),
    )])
}

/// A custom resource with every kind of list in it.
fn gateway() -> Ty {
    let backend = fields([
        ("name", Ty::Text),
        ("weight", Ty::Int),
        ("limits", map(Ty::Quantity)),
        ("tags", Ty::Set),
    ]);
    let route = fields([
        ("match", atomic(Ty::Text)),
        ("backends", keyed("name", backend)),
    ]);
    object([(
        "spec",
        fields([
            ("host", Ty::Text),
            ("enabled", Ty::Bool),
            ("listeners", ports("port", vec![("hostname", Ty::Text)])),
            ("names", Ty::Set),
            ("routes", atomic(route)),
            ("memory", Ty::Quantity),
            ("ca", Ty::Bytes),
            ("policy", fields([("mode", Ty::Text), ("retries", Ty::Int)])),
            ("selector", whole(map(Ty::Text))),
        ]),
    )])
}

impl Ty {
    /// The type as it is seen without a schema.
    fn unknown(self) -> Self {
        let below = |ty: Box<Ty>| Box::new(ty.unknown());
        match self {
            Self::Quantity | Self::Bytes => Self::Text,
            Self::Struct(fields) => Self::Struct(
                fields
                    .into_iter()
                    .map(|(name, ty)| (name, ty.unknown()))
                    .collect(),
            ),
            Self::Map(value) => Self::Map(below(value)),
            Self::Whole(object) => object.unknown(),
            Self::Keyed(_, item)
            | Self::Sequence(_, item)
            | Self::Atomic(item)
            | Self::Unordered(item) => Self::Atomic(below(item)),
            Self::Set => atomic(Self::Text),
            scalar => scalar,
        }
    }

    /// An object with any keys.
    pub fn is_map(&self) -> bool {
        match self {
            Self::Map(_) => true,
            Self::Whole(object) => object.is_map(),
            _ => false,
        }
    }

    /// The type of a value one step down.
    pub fn below(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Struct(fields) => fields.iter().find(|(n, _)| *n == name).map(|(_, ty)| ty),
            Self::Map(value) => Some(value),
            Self::Whole(object) => object.below(name),
            _ => None,
        }
    }

    /// The type in the form of a CRD's schema.
    fn openapi(&self) -> Value {
        match self {
            Self::Text | Self::Choice(_) => json!({"type": "string"}),
            Self::Int => json!({"type": "integer"}),
            Self::Bool => json!({"type": "boolean"}),
            Self::IntOrString => json!({"x-kubernetes-int-or-string": true}),
            Self::Quantity => json!({
                "x-kubernetes-int-or-string": true,
                "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
            }),
            Self::Bytes => json!({"type": "string", "format": "byte"}),
            Self::Struct(fields) => {
                let properties: Map<String, Value> = fields
                    .iter()
                    .map(|(name, ty)| ((*name).to_owned(), ty.openapi()))
                    .collect();
                json!({"type": "object", "properties": properties})
            }
            Self::Map(value) => json!({"type": "object", "additionalProperties": value.openapi()}),
            Self::Whole(object) => {
                let mut object = object.openapi();
                object["x-kubernetes-map-type"] = json!("atomic");
                object
            }
            Self::Keyed(keys, item) | Self::Sequence(keys, item) => {
                let mut item = item.openapi();
                for key in keys {
                    if let Some(default) = key.default {
                        item["properties"][key.field]["default"] = json!(default);
                    }
                }
                let fields: Vec<_> = keys.iter().map(|key| key.field).collect();
                json!({
                    "type": "array", "items": item,
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": fields,
                })
            }
            Self::Set => json!({
                "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set",
            }),
            Self::Atomic(item) | Self::Unordered(item) => {
                json!({"type": "array", "items": item.openapi()})
            }
        }
    }
}

static GATEWAY: LazyLock<CrdShape> = LazyLock::new(|| {
    let definition = json!({"spec": {
        "group": "edge.test",
        "names": {"kind": "Gateway", "plural": "gateways"},
        "scope": "Namespaced",
        "versions": [{
            "name": "v1", "served": true,
            "schema": {"openAPIV3Schema": gateway().openapi()},
        }],
    }});
    CrdShape::from_json(&definition.to_string()).unwrap()
});

/// Every kind under test.
pub fn subjects() -> Vec<KindUnderTest> {
    let known = |name, group, version, kind, ty| KindUnderTest {
        name,
        ty,
        shape: builtin().lookup(group, version, kind).unwrap(),
        empties: EmptyListPolicy::Dropped,
    };
    let config = object([("data", map(Ty::Text)), ("immutable", Ty::Bool)]);
    let secret = object([("data", map(Ty::Bytes)), ("type", Ty::Text)]);
    vec![
        known("Deployment", "apps", "v1", "Deployment", deployment()),
        known("Service", "", "v1", "Service", service()),
        known("ConfigMap", "", "v1", "ConfigMap", config),
        known("Secret", "", "v1", "Secret", secret),
        known("Role", "rbac.authorization.k8s.io", "v1", "Role", role()),
        known(
            "HorizontalPodAutoscaler",
            "autoscaling",
            "v2",
            "HorizontalPodAutoscaler",
            autoscaler(),
        ),
        known(
            "NetworkPolicy",
            "networking.k8s.io",
            "v1",
            "NetworkPolicy",
            network_policy(),
        ),
        KindUnderTest {
            name: "custom resource",
            ty: gateway(),
            shape: GATEWAY.shape("v1").unwrap(),
            empties: EmptyListPolicy::Kept,
        },
        KindUnderTest {
            name: "custom resource without a schema",
            ty: gateway().unknown(),
            shape: Shape::plain(),
            empties: EmptyListPolicy::Kept,
        },
    ]
}

/// Names as users write them: labels with a slash, files with a dot, things that look like steps
/// of a path.
fn name() -> BoxedStrategy<String> {
    prop_oneof![
        4 => "[a-d]{1,2}",
        1 => prop::sample::select(vec![
            "app.kubernetes.io/name", "nginx.conf", "0", "[0]", "name=a", "a b", "A_B", "größe", "a\"b",
        ]).prop_map(str::to_owned),
    ]
    .boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![6 => name(), 1 => Just(String::new()), 1 => "[<>&\\\\a\n]{1,4}"].boxed()
}

/// A declared value of a type.
pub fn declared(ty: &Ty) -> BoxedStrategy<Value> {
    match ty {
        Ty::Text => text().prop_map(Value::from).boxed(),
        Ty::Choice(words) => prop::sample::select(*words).prop_map(Value::from).boxed(),
        Ty::Int => (0..60_i64).prop_map(Value::from).boxed(),
        Ty::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Ty::IntOrString => prop_oneof![
            (0..60_i64).prop_map(Value::from),
            name().prop_map(Value::from)
        ]
        .boxed(),
        Ty::Quantity => {
            let unit = prop::sample::select(vec!["", "m", "k", "Mi", "Gi"]);
            (0..20_u32, unit)
                .prop_map(|(number, unit)| format!("{number}{unit}").into())
                .boxed()
        }
        Ty::Bytes => prop::sample::select(vec!["", "YQ==", "aGVsbG8=", "aGVs\nbG8="])
            .prop_map(Value::from)
            .boxed(),
        Ty::Struct(fields) => structure(fields, &[]),
        Ty::Map(value) => collection::btree_map(name(), declared(value), 0..3)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
            .boxed(),
        Ty::Whole(object) => declared(object),
        Ty::Keyed(keys, item) | Ty::Sequence(keys, item) => {
            let Ty::Struct(fields) = &**item else {
                unreachable!("only structs have keys");
            };
            let keys = keys.clone();
            collection::vec(structure(fields, &keys), 0..4)
                .prop_map(move |items| without_repeats(items, |item| identity(item, &keys)))
                .boxed()
        }
        Ty::Set => collection::vec(name().prop_map(Value::from), 0..4)
            .prop_map(|items| without_repeats(items, Clone::clone))
            .boxed(),
        Ty::Atomic(item) | Ty::Unordered(item) => collection::vec(declared(item), 0..4)
            .prop_map(Value::from)
            .boxed(),
    }
}

/// A struct with some of its fields; merge keys without a default are always there.
fn structure(fields: &[(&'static str, Ty)], keys: &[ModelKey]) -> BoxedStrategy<Value> {
    let required = |field| {
        keys.iter()
            .any(|key| key.field == field && key.default.is_none())
    };
    fields
        .iter()
        .map(|(name, ty)| {
            let (name, ty) = (*name, ty.clone());
            let value = match (required(name), &ty) {
                (true, Ty::Text) => self::name().prop_map(|name| Some(name.into())).boxed(),
                (true, _) => declared(&ty).prop_map(Some).boxed(),
                (false, _) => option::weighted(0.6, declared(&ty)).boxed(),
            };
            value.prop_map(move |value| Some((name.to_owned(), value?)))
        })
        .collect::<Vec<_>>()
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
        .boxed()
}

fn without_repeats(items: Vec<Value>, name: impl Fn(&Value) -> Value) -> Value {
    let mut seen = Vec::new();
    let fresh = |item: &Value| {
        let name = name(item);
        !seen.contains(&name) && {
            seen.push(name);
            true
        }
    };
    Value::Array(items.into_iter().filter(fresh).collect())
}

/// What names an item of a keyed list.
pub fn identity(item: &Value, keys: &[ModelKey]) -> Value {
    keys.iter()
        .map(|key| match (item.get(key.field), key.default) {
            (Some(value), _) => value.clone(),
            (None, default) => default.map_or(Value::Null, Value::from),
        })
        .collect()
}
