//! `break-glass open` and `extend`: a grant, then a token of the emergency account with the same lifetime.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, bail};
use clap::Parser;
use helm_guard_core::{
    api::{
        BreakGlassGrant, BreakGlassGrantSpec, GroupKind, ObjectScope, ReleaseRef, Span, Subjects,
        policy::breakglass,
    },
    policy::emergency::identities,
    text::counted,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Client, api::PostParams};

use super::{
    api_calls::{CallResult, myself, rules},
    grants, kubeconfig, rights,
    token::{self, TokenArgs},
};
use crate::{
    cli::{
        invoked,
        output::{print, print_note},
        target,
    },
    cluster::client::KubeconfigSelection,
};

/// The shortest lifetime of a token that the API server allows
/// (`pkg/apis/authentication/validation/validation.go`).
const SHORTEST_TOKEN: i64 = 600;

/// How often a grant is polled for approvals.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// `helm-guard break-glass open`
#[derive(Debug, Parser)]
pub(crate) struct OpenArgs {
    /// Reason for the emergency access
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) reason: String,
    /// Incident or change number
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub(crate) ticket: String,
    /// Namespace of the objects to change (repeatable)
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    pub(crate) namespaces: Vec<String>,
    /// All namespaces that the policy allows for the account
    #[arg(short = 'A', long, conflicts_with = "namespaces")]
    pub(crate) all_namespaces: bool,
    /// Release to change, as NAMESPACE/NAME (repeatable); default: all
    #[arg(long = "release", value_name = "NAMESPACE/NAME")]
    pub(crate) releases: Vec<String>,
    /// Kind to change: Deployment.apps, Service (repeatable); default: all
    #[arg(long = "kind", value_name = "KIND[.GROUP]")]
    pub(crate) kinds: Vec<String>,
    /// Validity of the grant: 30m, 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
    pub(crate) span: Span,
    /// Do not wait for approvals
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// The token.
    #[command(flatten)]
    pub(crate) token: TokenArgs,
}

pub(super) async fn open(
    client: &Client,
    target: &KubeconfigSelection,
    args: &OpenArgs,
) -> anyhow::Result<()> {
    let scope = scope(args)?;
    kubeconfig::check_file(&args.token)?;
    let policy = rules(client).await;
    if policy.require_ticket && args.ticket.is_empty() {
        bail!("the policy requires a ticket: give --ticket");
    }
    if policy.require_reason && args.reason.is_empty() {
        bail!("the policy requires a reason: give --reason");
    }
    let account = account(&policy, &args.token)?;
    rights::check_scope(client, &scope).await?;
    rights::check_open(client, &account, &args.token).await?;
    let spec = BreakGlassGrantSpec {
        subjects: Subjects {
            service_accounts: vec![account.clone()],
            ..Subjects::default()
        },
        scope,
        reason: args.reason.clone(),
        ticket: args.ticket.clone(),
        requested_by: myself(client).await?,
        expires_at: end(args.span)?,
        revoked: false,
    };
    let grant = make(client, spec).await?;
    if args.no_wait {
        announce_pending(&grant, policy.approvals);
    } else {
        wait(client, &grant, policy.approvals).await?;
    }
    deliver(client, target, (&grant, &account), &args.token).await
}

/// The old grant stays until the new one is approved and its token is written, so that nobody is without
/// access in between.
pub(super) async fn extend(
    client: &Client,
    target: &KubeconfigSelection,
    name: &str,
    span: Span,
    token: &TokenArgs,
) -> anyhow::Result<()> {
    let old = grants::get(client, name).await?;
    kubeconfig::check_file(token)?;
    let account = match old.spec.subjects.service_accounts.as_slice() {
        [account] => account.clone(),
        _ if token.no_token => String::new(),
        _ => bail!("the grant {name} is not for exactly one service account: use --no-token"),
    };
    let spec = BreakGlassGrantSpec {
        requested_by: myself(client).await?,
        expires_at: end(span)?,
        revoked: false,
        ..old.spec
    };
    let needed = rules(client).await.approvals;
    if !account.is_empty() {
        rights::check_open(client, &account, token).await?;
    }
    let grant = make(client, spec).await?;
    wait(client, &grant, needed).await?;
    deliver(client, target, (&grant, &account), token).await?;
    grants::close(client, name).await
}

/// A token for a grant that there is already.
pub(super) async fn token(
    client: &Client,
    target: &KubeconfigSelection,
    name: &str,
    args: &TokenArgs,
) -> anyhow::Result<()> {
    let grant = grants::get(client, name).await?;
    let needed = rules(client).await.approvals;
    grants::check_usable(&grant, needed)?;
    kubeconfig::check_file(args)?;
    let [account] = grant.spec.subjects.service_accounts.as_slice() else {
        bail!("the grant {name} is not for one service account, so there is no token to get");
    };
    rights::check_open(client, account, args).await?;
    deliver(client, target, (&grant, account), args).await
}

/// Says what a grant still needs; nothing if that is nothing.
fn announce_pending(grant: &BreakGlassGrant, needed: u32) {
    if needed == 0 {
        return;
    }
    let name = name(grant);
    print_note(&format!(
        "it needs {}; approvers run: {} break-glass approve {name}",
        counted(needed, "approval"),
        invoked::name()
    ));
}

async fn make(client: &Client, spec: BreakGlassGrantSpec) -> anyhow::Result<BreakGlassGrant> {
    let api: Api<BreakGlassGrant> = Api::all(client.clone());
    let mut grant = BreakGlassGrant::new("", spec);
    grant.metadata.name = None;
    grant.metadata.generate_name = Some("grant-".to_owned());
    let made = api.create(&PostParams::default(), &grant).await;
    let made = made.failed_to("create a break-glass grant")?;
    print_note(&format!(
        "grant {} created, valid until {}",
        name(&made),
        made.spec.expires_at.0
    ));
    Ok(made)
}

/// Waits until enough others have approved the grant.
async fn wait(client: &Client, grant: &BreakGlassGrant, needed: u32) -> anyhow::Result<()> {
    if needed == 0 {
        return Ok(());
    }
    announce_pending(grant, needed);
    let name = name(grant);
    print_note(&format!(
        "after Ctrl-C, get its token with: {} break-glass token {name}",
        invoked::name()
    ));
    loop {
        let now = grants::get(client, &name).await?;
        let given = now.status.map_or(0, |status| status.approvals.len());
        if u32::try_from(given).unwrap_or(u32::MAX) >= needed {
            return Ok(());
        }
        if now.spec.revoked || now.spec.expires_at.0 <= Timestamp::now() {
            bail!("the grant {name} ended before it had enough approvals");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn deliver(
    client: &Client,
    target: &KubeconfigSelection,
    (grant, account): (&BreakGlassGrant, &str),
    args: &TokenArgs,
) -> anyhow::Result<()> {
    if args.no_token {
        print_note("no token requested");
        return Ok(());
    }
    let (namespace, account) = split(account)?;
    let left = grant.spec.expires_at.0.duration_since(Timestamp::now());
    let seconds = left.as_secs().max(SHORTEST_TOKEN);
    let token = token::request(client, (namespace, account), &name(grant), seconds).await?;
    let scope = &grant.spec.scope;
    let default_namespace = match (&*scope.namespaces, &*scope.releases) {
        ([namespace, ..], _) => namespace.as_str(),
        ([], [release, ..]) => release.namespace.as_str(),
        ([], []) => client.default_namespace(),
    };
    kubeconfig::write(target, args, (account, default_namespace), &token)?;
    let file = args.file.display();
    if left.as_secs() < SHORTEST_TOKEN {
        print_note(
            "tokens last at least 10 minutes; the guard invalidates this one when the grant ends",
        );
    }
    let program = invoked::name();
    print_note(&format!(
        "token of {namespace}/{account} written to {file}; use it with:\n\n  \
         kubectl --kubeconfig {file} -n {default_namespace} …\n\nlist its changes: {program} break-glass \
         changes -n {default_namespace}\nwhen done: {program} break-glass close {} && rm {file}",
        name(grant)
    ));
    print(format!("{}\n", name(grant)).as_bytes())
}

fn name(grant: &BreakGlassGrant) -> String {
    grant.metadata.name.clone().unwrap_or_default()
}

fn end(span: Span) -> anyhow::Result<Time> {
    let end = Timestamp::now().checked_add(span.get());
    Ok(Time(end.context("invalid --for: too long")?))
}

fn account(policy: &breakglass::BreakGlass, token: &TokenArgs) -> anyhow::Result<String> {
    let of_policy = || policy.service_account.clone();
    let account = match token.service_account.clone().or_else(of_policy) {
        Some(account) => account,
        None => only_account(policy)?,
    };
    split(&account)?;
    Ok(account)
}

/// The break-glass service account of the policy, if it has exactly one.
fn only_account(policy: &breakglass::BreakGlass) -> anyhow::Result<String> {
    let accounts: BTreeSet<String> = policy
        .identities
        .iter()
        .filter_map(|identity| identities(&identity.subjects).ok())
        .flat_map(|who| {
            let accounts = who.accounts();
            let named = accounts.map(|(namespace, name)| format!("{namespace}/{name}"));
            named.collect::<Vec<_>>()
        })
        .collect();
    let mut accounts = accounts.into_iter();
    match (accounts.next(), accounts.next()) {
        (Some(account), None) => Ok(account),
        (None, _) => bail!(
            "failed to find the emergency account: the policy in force names none; give --service-account"
        ),
        (Some(one), Some(another)) => bail!(
            "failed to choose the emergency account: the policy has {one}, {another} and maybe more; \
             use --service-account"
        ),
    }
}

fn split(account: &str) -> anyhow::Result<(&str, &str)> {
    match account.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace, name))
        }
        _ => bail!("invalid service account {account:?}: expected NAMESPACE/NAME"),
    }
}

fn scope(args: &OpenArgs) -> anyhow::Result<ObjectScope> {
    let mut namespaces = args.namespaces.clone();
    if namespaces.is_empty() && !args.all_namespaces && args.releases.is_empty() {
        namespaces.extend(target::namespace(None));
    }
    if namespaces.is_empty() && !args.all_namespaces && args.releases.is_empty() {
        bail!("specify what the grant is for: -n NAMESPACE, --release NAMESPACE/NAME, or -A");
    }
    let releases = args.releases.iter().map(|release| {
        let Some((namespace, name)) = release.split_once('/') else {
            bail!("invalid release {release:?}: expected NAMESPACE/NAME");
        };
        Ok(ReleaseRef {
            namespace: namespace.to_owned(),
            name: Some(name.to_owned()),
        })
    });
    let kinds = args.kinds.iter().map(|kind| {
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        GroupKind {
            group: group.to_owned(),
            kind: kind.to_owned(),
        }
    });
    Ok(ObjectScope {
        namespaces,
        releases: releases.collect::<anyhow::Result<_>>()?,
        kinds: kinds.collect(),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::namespaces(&["-n", "shop", "-n", "db"], json!({"namespaces": ["shop", "db"]}))]
    #[case::everything(&["-A"], json!({}))]
    #[case::a_release(
        &["--release", "shop/web"],
        json!({"releases": [{"namespace": "shop", "name": "web"}]})
    )]
    #[case::kinds(
        &["-n", "shop", "--kind", "Deployment.apps", "--kind", "Service"],
        json!({"namespaces": ["shop"], "kinds": [
            {"group": "apps", "kind": "Deployment"}, {"group": "", "kind": "Service"},
        ]})
    )]
    fn the_scope_of_a_grant_follows_from_the_flags(
        #[case] arguments: &[&str],
        #[case] expected: Value,
    ) {
        let args = OpenArgs::try_parse_from([&["open"], arguments].concat()).unwrap();
        let scope = serde_json::to_value(scope(&args).unwrap()).unwrap();
        assert_eq!(scope, expected);
    }

    #[rstest]
    #[case::only_one(
        json!({"identities": [{"subjects": {"serviceAccounts": ["bg/ops"], "groups": ["oncall"]}},
            {"subjects": {"users": ["system:serviceaccount:bg:ops", "ada"]}}]}),
        Ok("bg/ops")
    )]
    #[case::serviceaccount_of_the_policy(
        json!({"identities": [{"subjects": {"serviceAccounts": ["bg/ops", "bg/dba"]}}],
            "serviceAccount": "bg/dba"}),
        Ok("bg/dba")
    )]
    #[case::one_of_two(
        json!({"identities": [{"subjects": {"serviceAccounts": ["bg/ops"]}},
            {"subjects": {"serviceAccounts": ["bg/dba"]}}]}),
        Err("the policy has bg/dba, bg/ops")
    )]
    #[case::none(json!({"identities": [{"subjects": {"users": ["ada"]}}]}), Err("names none"))]
    fn the_account_need_not_be_named_where_there_is_one(
        #[case] policy: Value,
        #[case] expected: Result<&str, &str>,
    ) {
        let policy = serde_json::from_value(policy).unwrap();
        let args = OpenArgs::try_parse_from(["open", "-A"]).unwrap();
        match (account(&policy, &args.token), expected) {
            (Ok(account), Ok(expected)) => assert_eq!(account, expected),
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[rstest]
    #[case::nothing(&[], "specify what the grant is for")]
    #[case::half_a_release(&["--release", "web"], "expected NAMESPACE/NAME")]
    fn a_grant_needs_an_explicit_scope(#[case] arguments: &[&str], #[case] says: &str) {
        let args = OpenArgs::try_parse_from([&["open"], arguments].concat()).unwrap();
        let error = scope(&args).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
