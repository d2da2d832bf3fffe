//! Real drift and its correction: a break-glass user changes a few declared fields, and an ordinary
//! user restores the values, one by one and all together. Each must be allowed.

use serde_json::{Value, json};

use crate::{
    api::{Api, Persist, Reply},
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

/// Makes the changes to one object, and reverts them.
pub async fn and_back(
    context: &Context<'_>,
    target: &Target,
    denied: &[Denied],
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let all = make(context, target, denied).await?;
    for one in all {
        let only = std::slice::from_ref(one);
        tally += write_back(context, target, only, Persist::DryRun).await?;
    }
    if !all.is_empty() {
        tally += write_back(context, target, all, Persist::Really).await?;
    }
    Ok(tally)
}

/// Makes all changes at once, or only the first if they conflict; returns the ones it made.
pub async fn make<'d>(
    context: &Context<'_>,
    target: &Target,
    denied: &'d [Denied],
) -> anyhow::Result<&'d [Denied]> {
    for denied in [denied, denied.get(..1).unwrap_or_default()] {
        let change = |object: &mut Value| {
            for one in denied {
                let path = one.leaf.live.as_deref().unwrap_or_default();
                if let Some(value) = leaves::get(&one.object, path) {
                    leaves::set(object, path, value.clone());
                }
            }
        };
        let reply = write(context.emergency, target, change, Persist::Really).await?;
        if reply.is_ok() {
            return Ok(denied);
        }
        if reply.denied_by_guard() {
            let details = json!({"message": head(reply.message())});
            context.report("break-glass user denied", &target.object, &details);
        }
    }
    Ok(&[])
}

/// Restores the values of these fields, and leaves the rest as it is.
async fn write_back(
    context: &Context<'_>,
    target: &Target,
    denied: &[Denied],
    persist: Persist,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let restore = |object: &mut Value| {
        for one in denied {
            let path = one.leaf.live.as_deref().unwrap_or_default();
            if let Some(value) = leaves::get(&target.live, path) {
                leaves::set(object, path, value.clone());
            }
        }
    };
    let reply = write(context.somebody, target, restore, persist).await?;
    if reply.is_ok() {
        tally.writes_passed += 1;
    } else if reply.denied_by_guard() {
        tally.false_denials += 1;
        let paths: Vec<&str> = denied.iter().map(|one| one.leaf.path.as_str()).collect();
        let details = json!({
            "write": "the declared value back after drift",
            "paths": paths,
            "message": head(reply.message()),
        });
        context.report("false denial", &target.object, &details);
        // The break-glass user restores it: the next check starts from the declared state.
        if persist == Persist::Really {
            write(context.emergency, target, restore, persist).await?;
        }
    } else {
        tally.writes_api += 1;
    }
    Ok(tally)
}

/// Changes the object as it is now. If a controller writes between the read and the write, both are
/// repeated: reverting its change would be a change of our own.
async fn write(
    api: &Api,
    target: &Target,
    change: impl Fn(&mut Value),
    persist: Persist,
) -> anyhow::Result<Reply> {
    let path = &target.object.path;
    let mut tries = 0;
    loop {
        tries += 1;
        let mut object = api.get(path).await?.body;
        change(&mut object);
        let reply = api.put(path, &object, persist).await?;
        let conflict = reply.code == 409 && !reply.denied_by_guard();
        if !conflict || tries == 5 {
            return Ok(reply);
        }
    }
}

/// The start of a message, which names the fields.
pub fn head(message: &str) -> String {
    message.chars().take(600).collect()
}
