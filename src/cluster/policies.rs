//! The policy object in the cluster, as a watch tells of it.

use futures_util::{StreamExt, stream::BoxStream};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde_json::json;

use super::ApiFailure;
use crate::api::{self, GuardPolicyStatus};

/// Seconds after which a quiet watch is renewed.
const RENEW_WATCH_AFTER: u32 = 90;

/// What there is. The object is not read into the types here: one that does not fit them must be
/// reported, and not stop the watch.
#[derive(Clone, Debug)]
pub enum Seen {
    /// This.
    Object(Box<DynamicObject>),
    /// Nothing, or the kind is not even installed.
    Absent,
    /// It cannot be looked at, now or for want of rights.
    Unknown(ApiFailure),
}

/// The watch of the object that counts.
pub struct PolicyWatch {
    events: BoxStream<'static, watcher::Result<Event<DynamicObject>>>,
    listed: Option<Box<DynamicObject>>,
}

fn objects(client: Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(api::GROUP, api::VERSION, "GuardPolicy");
    Api::all_with(
        client,
        &ApiResource::from_gvk_with_plural(&kind, "guardpolicies"),
    )
}

impl PolicyWatch {
    /// Begins to watch.
    pub fn new(client: Client) -> Self {
        let config = watcher::Config {
            timeout: Some(RENEW_WATCH_AFTER),
            ..watcher::Config::default()
        }
        .fields(&format!("metadata.name={}", api::POLICY_NAME));
        let events = watcher::watcher(objects(client), config).default_backoff();
        Self {
            events: events.boxed(),
            listed: None,
        }
    }

    /// What is to be said next; `None` never comes, as the watch does not end.
    pub async fn next(&mut self) -> Option<Seen> {
        loop {
            match self.events.next().await? {
                Ok(Event::Init) => self.listed = None,
                Ok(Event::InitApply(object)) => self.listed = Some(Box::new(object)),
                Ok(Event::InitDone) => {
                    return Some(self.listed.take().map_or(Seen::Absent, Seen::Object));
                }
                Ok(Event::Apply(object)) => return Some(Seen::Object(Box::new(object))),
                Ok(Event::Delete(_)) => return Some(Seen::Absent),
                Err(error) => {
                    let failure = ApiFailure::from(&error);
                    return Some(if failure.is_not_found() {
                        Seen::Absent
                    } else {
                        Seen::Unknown(failure)
                    });
                }
            }
        }
    }
}

/// Writes what the guard says of the object.
///
/// # Errors
/// Whatever the API server says.
pub async fn set_status(client: Client, status: &GuardPolicyStatus) -> Result<(), ApiFailure> {
    let patch = Patch::Merge(json!({ "status": status }));
    objects(client)
        .patch_status(api::POLICY_NAME, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}
