//! `break-glass list`, `show`, `close` and `approve`.

use anyhow::{Context, bail};
use helm_guard_core::{
    api::{BreakGlassGrant, grant::Approval},
    policy::scope,
    text::{counted, list as list_of, minute, second},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    api_calls::{CallResult, myself, rules},
    token,
};
use crate::cli::{
    invoked,
    output::{self, Cell, Column, Format, Screen, Table, Tone, print, print_note},
};

/// The columns of grants.
const COLUMNS: [Column; 8] = [
    Column::whole("NAME"),
    Column::whole("STATE"),
    Column::whole("EXPIRES"),
    Column::cut("SCOPE"),
    Column::cut("REASON"),
    Column::wide("TICKET"),
    Column::wide("IDENTITY"),
    Column::wide("REQUESTED BY"),
];

fn api(client: &Client) -> Api<BreakGlassGrant> {
    Api::all(client.clone())
}

pub(super) async fn get(client: &Client, name: &str) -> anyhow::Result<BreakGlassGrant> {
    let got = api(client).get_opt(name).await;
    let got = got.failed_to(&format!("get the grant {name}"))?;
    got.with_context(|| {
        format!(
            "there is no grant {name}; {} break-glass list --all lists them",
            invoked::name()
        )
    })
}

pub(super) async fn list(client: &Client, all: bool, format: Format) -> anyhow::Result<()> {
    let grants = api(client).list(&ListParams::default()).await;
    let mut grants = grants.failed_to("list the grants")?.items;
    let needed = rules(client).await.approvals;
    let now = Timestamp::now();
    if !all {
        grants.retain(|grant| !GrantState::of(grant, needed, now).is_over());
    }
    for grant in &mut grants {
        grant.metadata.managed_fields = None;
    }
    let text = match output::encode_list(format, &grants)? {
        Some(text) => text,
        None if grants.is_empty() && all => "No grants found.\n".to_owned(),
        None if grants.is_empty() => {
            "No grants in force. --all lists those that have ended.\n".to_owned()
        }
        None => table(&grants, needed, now, Screen::of_stdout(format)),
    };
    print(text.as_bytes())
}

/// Whether a grant may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GrantState {
    Active,
    Pending { given: usize, needed: u32 },
    Expired,
    Revoked,
}

impl GrantState {
    fn of(grant: &BreakGlassGrant, needed: u32, now: Timestamp) -> Self {
        let given = approvals(grant);
        if grant.spec.revoked {
            Self::Revoked
        } else if grant.spec.expires_at.0 <= now {
            Self::Expired
        } else if u32::try_from(given).unwrap_or(u32::MAX) < needed {
            Self::Pending { given, needed }
        } else {
            Self::Active
        }
    }

    fn is_over(self) -> bool {
        matches!(self, Self::Expired | Self::Revoked)
    }

    fn tone(self) -> Tone {
        match self {
            Self::Active => Tone::Good,
            Self::Pending { .. } => Tone::Warning,
            Self::Expired | Self::Revoked => Tone::Plain,
        }
    }

    /// [`Self::describe`] in few characters.
    fn in_a_cell(self) -> String {
        match self {
            Self::Pending { given, needed } => format!("pending {given}/{needed}"),
            state => state.describe(),
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Active => "active".to_owned(),
            Self::Pending { given, needed } => {
                format!("pending ({given} of {})", counted(needed, "approval"))
            }
            Self::Expired => "expired".to_owned(),
            Self::Revoked => "revoked".to_owned(),
        }
    }
}

/// Whether a token for the grant would be of use.
///
/// # Errors
/// When the grant is over, or not approved yet.
pub(super) fn check_usable(grant: &BreakGlassGrant, needed: u32) -> anyhow::Result<()> {
    let state = GrantState::of(grant, needed, Timestamp::now());
    if state != GrantState::Active {
        let name = grant.metadata.name.as_deref().unwrap_or_default();
        bail!("the grant {name} is {}", state.describe());
    }
    Ok(())
}

fn approvals(grant: &BreakGlassGrant) -> usize {
    grant
        .status
        .as_ref()
        .map_or(0, |status| status.approvals.len())
}

pub(super) async fn show(client: &Client, name: &str, format: Format) -> anyhow::Result<()> {
    let mut grant = get(client, name).await?;
    grant.metadata.managed_fields = None;
    let text = if let Some(text) = output::encode(format, &grant)? {
        text
    } else {
        let needed = rules(client).await.approvals;
        let screen = Screen::of_stdout(format);
        table(&[grant], needed, Timestamp::now(), screen)
    };
    print(text.as_bytes())
}

fn table(grants: &[BreakGlassGrant], needed: u32, now: Timestamp, screen: Screen) -> String {
    let row = |grant: &BreakGlassGrant| {
        let spec = &grant.spec;
        let state = GrantState::of(grant, needed, now);
        vec![
            grant.metadata.name.clone().unwrap_or_default().into(),
            Cell::toned(state.tone(), state.in_a_cell()),
            minute(spec.expires_at.0).to_string().into(),
            scope::describe(&grant.spec.scope).into(),
            spec.reason.clone().into(),
            spec.ticket.clone().into(),
            subjects(grant).into(),
            spec.requested_by.clone().into(),
        ]
    };
    let mut grants: Vec<&BreakGlassGrant> = grants.iter().collect();
    grants.sort_by_key(|grant| std::cmp::Reverse(grant.spec.expires_at.0));
    Table::new(&COLUMNS, grants.into_iter().map(row).collect()).text(screen)
}

fn subjects(grant: &BreakGlassGrant) -> String {
    let subjects = &grant.spec.subjects;
    let names = [
        &*subjects.service_accounts,
        &*subjects.users,
        &*subjects.groups,
    ];
    list_of(names.concat(), 3)
}

pub(super) async fn close(client: &Client, name: &str) -> anyhow::Result<()> {
    get(client, name).await?;
    let revoked = Patch::Merge(json!({"spec": {"revoked": true}}));
    let patched = api(client)
        .patch(name, &PatchParams::default(), &revoked)
        .await;
    let grant = patched.failed_to(&format!("revoke the grant {name}"))?;
    print_note(&format!("grant {name} revoked"));
    token::end(client, &grant).await;
    Ok(())
}

pub(super) async fn approve(client: &Client, name: &str) -> anyhow::Result<()> {
    let approval = Approval {
        approved_by: myself(client).await?,
        at: Time(Timestamp::now()),
    };
    let mut grant = get(client, name).await?;
    let needed = rules(client).await.approvals;
    print_note(&format!(
        "grant {name}, requested by {}\n  reason:   {}\n  ticket:   {}\n  identity: {}\n  scope:    {}\n  expires:  {}",
        grant.spec.requested_by,
        or_none(&grant.spec.reason),
        or_none(&grant.spec.ticket),
        subjects(&grant),
        scope::describe(&grant.spec.scope),
        second(grant.spec.expires_at.0),
    ));
    grant
        .status
        .get_or_insert_default()
        .approvals
        .push(approval);
    let count = approvals(&grant);
    // With the version that was read: two who approve at once do not lose one another.
    let replaced = api(client)
        .replace_status(name, &PostParams::default(), &grant)
        .await;
    replaced.failed_to(&format!("approve the grant {name}"))?;
    print_note(&format!(
        "approved: it has {} of {needed}",
        counted(count, "approval")
    ));
    Ok(())
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_grants_shows_which_are_active() {
        let grant = |name: &str, expires: &str, revoked: bool| {
            let grant = json!({
                "apiVersion": "helm-guard.dev/v1alpha1", "kind": "BreakGlassGrant",
                "metadata": {"name": name},
                "spec": {"subjects": {"serviceAccounts": ["ops/emergency-ops"]},
                    "requestedBy": "ada", "expiresAt": expires, "revoked": revoked,
                    "ticket": "INC-1"},
            });
            serde_json::from_value(grant).unwrap()
        };
        let grants = [
            grant("g-1", "2026-11-21T03:00:00Z", false),
            grant("g-2", "2026-11-21T05:00:00Z", false),
            grant("g-3", "2026-11-21T06:00:00Z", true),
        ];
        let now = "2026-11-21T04:00:00Z".parse().unwrap();
        let pending = table(&grants, 1, now, Screen::default());
        assert!(pending.contains("pending 0/1"), "{pending}");
        let text = table(&grants, 0, now, Screen::default());
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().take(2).collect())
            .collect();
        assert_eq!(
            lines[1..],
            [["g-3", "revoked"], ["g-2", "active"], ["g-1", "expired"]]
        );
    }
}
