//! `break-glass list`, `show`, `close` and `approve`.

use helm_guard_core::{
    api::{BreakGlassGrant, grant::Approval},
    text::second,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{
    api_calls::{CallResult, myself},
    token,
};
use crate::cli::output::{self, Format, columns, print, print_note};

fn api(client: &Client) -> Api<BreakGlassGrant> {
    Api::all(client.clone())
}

pub(super) async fn get(client: &Client, name: &str) -> anyhow::Result<BreakGlassGrant> {
    let got = api(client).get(name).await;
    got.failed_to(&format!("get the grant {name}"))
}

pub(super) async fn list(client: &Client, format: Format) -> anyhow::Result<()> {
    let grants = api(client).list(&ListParams::default()).await;
    let grants = grants.failed_to("list the grants")?.items;
    let text = match output::encode(format, &grants)? {
        Some(text) => text,
        None => table(&grants, Timestamp::now()),
    };
    print(text.as_bytes())
}

pub(super) async fn show(client: &Client, name: &str, format: Format) -> anyhow::Result<()> {
    let grant = get(client, name).await?;
    let text = match output::encode(format, &grant)? {
        Some(text) => text,
        None => table(&[grant], Timestamp::now()),
    };
    print(text.as_bytes())
}

fn table(grants: &[BreakGlassGrant], now: Timestamp) -> String {
    let row = |grant: &BreakGlassGrant| {
        let spec = &grant.spec;
        let subjects = &spec.subjects;
        let names = [
            &*subjects.service_accounts,
            &*subjects.users,
            &*subjects.groups,
        ];
        let state = if spec.revoked {
            "revoked"
        } else if spec.expires_at.0 <= now {
            "expired"
        } else {
            "active"
        };
        let status = grant.status.as_ref();
        let approvals = status.map_or(0, |status| status.approvals.len());
        vec![
            grant.metadata.name.clone().unwrap_or_default(),
            state.to_owned(),
            second(spec.expires_at.0).to_string(),
            names.concat().join(","),
            spec.requested_by.clone(),
            approvals.to_string(),
            spec.ticket.clone(),
        ]
    };
    let mut grants: Vec<&BreakGlassGrant> = grants.iter().collect();
    grants.sort_by_key(|grant| std::cmp::Reverse(grant.spec.expires_at.0));
    let rows: Vec<Vec<String>> = grants.into_iter().map(row).collect();
    let header = [
        "NAME",
        "STATE",
        "EXPIRES",
        "FOR",
        "REQUESTED BY",
        "APPROVALS",
        "TICKET",
    ];
    columns(&header, &rows)
}

pub(super) async fn close(client: &Client, name: &str) -> anyhow::Result<()> {
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
    let status = grant.status.get_or_insert_default();
    status.approvals.push(approval);
    let count = status.approvals.len();
    // With the resource version that was read, so that concurrent approvals do not overwrite each other.
    let replaced = api(client)
        .replace_status(name, &PostParams::default(), &grant)
        .await;
    replaced.failed_to(&format!("approve the grant {name}"))?;
    print_note(&format!("grant {name} approved; it has {count} approvals"));
    Ok(())
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
        let text = table(&grants, "2026-11-21T04:00:00Z".parse().unwrap());
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
