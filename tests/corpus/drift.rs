//! Drift that has really happened, and the way back: a break-glass user changes a few declared fields,
//! and an ordinary user writes the values back, one by one and all together. Each must pass.

use serde_json::{Value, json};

use crate::{
    api::Persist,
    leaves::{self, Leaf},
    probe::{Context, Target},
    tally::Tally,
};

/// A change that the guard denied to an ordinary user.
pub struct Denied {
    /// The field.
    pub leaf: Leaf,
    /// The object with the change.
    pub object: Value,
}

/// Makes the changes to one object, and takes them back.
pub async fn and_back(
    context: &Context<'_>,
    target: &Target,
    denied: &[Denied],
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let Some(drifted) = drift(context, target, denied).await? else {
        return Ok(tally);
    };
    let mut all = drifted.clone();
    for denied in denied {
        let mut object = drifted.clone();
        if restore(&mut object, target, &denied.leaf) {
            let path = Some(&denied.leaf.path);
            write_back(
                context,
                target,
                (&object, path),
                Persist::DryRun,
                &mut tally,
            )
            .await?;
            restore(&mut all, target, &denied.leaf);
        }
    }
    write_back(context, target, (&all, None), Persist::Really, &mut tally).await?;
    Ok(tally)
}

/// All changes at once, or the first alone when they do not go together.
async fn drift(
    context: &Context<'_>,
    target: &Target,
    denied: &[Denied],
) -> anyhow::Result<Option<Value>> {
    let mut all = target.live.clone();
    for denied in denied {
        let path = denied.leaf.live.as_deref().unwrap_or_default();
        if let Some(value) = leaves::get(&denied.object, path) {
            leaves::set(&mut all, path, value.clone());
        }
    }
    let first = denied.first().map(|denied| &denied.object);
    for object in std::iter::once(&all).chain(first) {
        let reply = target
            .put(context.emergency, object, Persist::Really)
            .await?;
        if reply.is_ok() {
            return Ok(Some(reply.body));
        }
        if reply.denied_by_guard() {
            let details = json!({"message": head(reply.message())});
            context.report("break-glass user denied", &target.object, &details);
        }
    }
    Ok(None)
}

fn restore(object: &mut Value, target: &Target, leaf: &Leaf) -> bool {
    let path = leaf.live.as_deref().unwrap_or_default();
    leaves::get(&target.live, path)
        .cloned()
        .is_some_and(|value| leaves::set(object, path, value))
}

async fn write_back(
    context: &Context<'_>,
    target: &Target,
    (object, path): (&Value, Option<&String>),
    persist: Persist,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let reply = target.put(context.somebody, object, persist).await?;
    if reply.is_ok() {
        tally.writes_passed += 1;
    } else if reply.denied_by_guard() {
        tally.false_denials += 1;
        let details = json!({
            "write": "the declared value back after drift",
            "path": path,
            "message": head(reply.message()),
        });
        context.report("false denial", &target.object, &details);
        // Whoever may, puts it right: what comes next is to start from what is declared.
        if persist == Persist::Really {
            target.put(context.emergency, object, persist).await?;
        }
    } else {
        tally.writes_api += 1;
    }
    Ok(())
}

/// The beginning of a message, which names the fields.
pub fn head(message: &str) -> String {
    message.chars().take(600).collect()
}
