//! Every field that a manifest declares.

use crate::compare::{
    Json, KeyedList, Opened, open,
    path::{FieldPath, Step},
    schema::{ListKind, Node, Shape},
};

/// A declared field: a scalar, an empty object or list, or a list that is one value.
#[derive(Clone, Debug)]
pub struct DeclaredField<'a> {
    /// Where the manifest declares it.
    pub path: FieldPath,
    /// The declared value.
    pub value: Json<'a>,
}

/// The fields that `manifest` declares, in its order. What identifies an object is not among them.
pub fn declared_fields<'a>(manifest: Json<'a>, shape: Shape<'a>) -> Vec<DeclaredField<'a>> {
    let mut found = Vec::new();
    collect(manifest, shape, &FieldPath::root(), &mut found);
    found.retain(|field| !is_identity(&field.path));
    found
}

fn collect<'a>(
    value: Json<'a>,
    shape: Shape<'a>,
    path: &FieldPath,
    found: &mut Vec<DeclaredField<'a>>,
) {
    let leaf = || DeclaredField {
        path: path.clone(),
        value,
    };
    match open(value) {
        Opened::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields.iter() {
                let path = path.join(Step::Field(name.to_owned()));
                collect(value, shape.field(name), &path, found);
            }
        }
        Opened::List(items) => match shape.node() {
            Node::List {
                kind: ListKind::Keyed(keys) | ListKind::Sequence(keys) | ListKind::Variables(keys),
                ..
            } => match KeyedList::of(&items, keys) {
                Some(list) => {
                    for item in list.iter() {
                        collect(item.item, shape.item(), &path.join(item.step(keys)), found);
                    }
                }
                None => found.push(leaf()),
            },
            _ => found.push(leaf()),
        },
        Opened::Object(_) | Opened::Scalar(_) => found.push(leaf()),
    }
}

/// An object with another name, kind or namespace is another object.
fn is_identity(path: &FieldPath) -> bool {
    match path.steps() {
        [Step::Field(first)] => matches!(first.as_str(), "apiVersion" | "kind"),
        [Step::Field(first), Step::Field(second)] => {
            first == "metadata" && matches!(second.as_str(), "name" | "namespace")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::schema::builtin::builtin;

    #[test]
    fn every_declared_field_is_listed_by_its_merge_keys() {
        let manifest = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},
            "spec":{"replicas":3,"selector":{},"template":{"spec":{"containers":[
                {"name":"web","args":["a","b"],"ports":[{"containerPort":80}]}]}}}}"#;
        let shape = builtin().lookup("apps", "v1", "Deployment").unwrap();
        let found = declared_fields(Json::of(manifest), shape);
        let lines: Vec<String> = found
            .iter()
            .map(|field| format!("{} {}", field.path, field.value.text()))
            .collect();
        assert_eq!(
            lines,
            [
                ".spec.replicas 3",
                ".spec.selector {}",
                ".spec.template.spec.containers[name=web].args [\"a\",\"b\"]",
                ".spec.template.spec.containers[name=web].name \"web\"",
                ".spec.template.spec.containers[name=web].ports[containerPort=80,protocol=TCP].containerPort 80",
            ]
        );
    }
}
