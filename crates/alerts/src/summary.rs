//! One alert about several emergency changes of one identity.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use helm_guard_core::{
    api::{
        ChangeState, EmergencyChangeSpec,
        policy::alerts::{AlertKind, AlertRate},
    },
    policy::alerts::template::AlertDetail,
    text::counted,
};
use jiff::Timestamp;

use super::alert::{Alert, AlertStatus, OVERDUE_ACTIVE_FOR, after, operation};

/// Changes that are listed; the others are only counted.
const LINES: usize = 20;

/// Maximum number of grants, and of tickets, that are named.
const NAMES: usize = 16;

/// Where a grouped change is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// In the cluster, in this state.
    Record(ChangeState),
    /// Only in the audit log.
    AuditLog,
}

/// The grouped emergency changes of one identity, in bounded memory.
#[derive(Clone, Debug)]
pub struct ChangeSummary {
    user: String,
    count: usize,
    unrecorded: usize,
    states: BTreeMap<ChangeState, usize>,
    grants: BTreeSet<String>,
    tickets: BTreeSet<String>,
    lines: Vec<String>,
    since: Timestamp,
    until: Timestamp,
}

impl ChangeSummary {
    /// An empty group.
    pub fn of(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            count: 0,
            unrecorded: 0,
            states: BTreeMap::new(),
            grants: BTreeSet::new(),
            tickets: BTreeSet::new(),
            lines: Vec::new(),
            since: Timestamp::MAX,
            until: Timestamp::MIN,
        }
    }

    /// Counts a change of the same identity, and where its record is.
    pub fn add(&mut self, change: &EmergencyChangeSpec, trace: Trace) {
        self.count += 1;
        match trace {
            Trace::Record(state) => *self.states.entry(state).or_default() += 1,
            Trace::AuditLog => self.unrecorded += 1,
        }
        let named = [
            (&mut self.grants, &change.grant),
            (&mut self.tickets, &change.ticket),
        ];
        for (names, name) in named {
            if let Some(name) = name.as_ref().filter(|_| names.len() <= NAMES) {
                names.insert(name.clone());
            }
        }
        if self.lines.len() < LINES {
            self.lines.push(format!(
                "{} of {} (release {})",
                operation(change.operation),
                change.object,
                change.release
            ));
        }
        self.since = self.since.min(change.at.0);
        self.until = self.until.max(change.reconcile_by.0);
    }

    /// An empty group of the same identity.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self::of(&self.user)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One alert for all changes in it.
    pub fn alert(&self, kind: AlertKind, rate: AlertRate, now: Timestamp) -> Alert {
        let key = format!("emergencies/{}", self.user);
        let (above, within) = (rate.above.to_string(), rate.within.to_string());
        let mut alert = Alert::firing(kind, &key, &self.sentence(kind, rate), now)
            .with(AlertDetail::User, &self.user)
            .with(AlertDetail::Grant, &list(&self.grants))
            .with(AlertDetail::Ticket, &list(&self.tickets))
            .with(AlertDetail::Count, &self.count.to_string())
            .with(AlertDetail::Above, &above)
            .with(AlertDetail::Within, &within)
            .with(AlertDetail::Fields, &self.list());
        alert.since = self.since.min(now);
        alert.until = match kind {
            AlertKind::Overdue => after(now, OVERDUE_ACTIVE_FOR),
            AlertKind::Settled => now,
            _ => self.until,
        };
        if kind == AlertKind::Settled {
            alert.status = AlertStatus::Resolved;
        }
        alert
    }

    fn sentence(&self, kind: AlertKind, rate: AlertRate) -> String {
        let user = &self.user;
        let changes = counted(self.count, "emergency change");
        let (are, their) = match self.count {
            1 => ("is", "its chart"),
            _ => ("are", "their charts"),
        };
        match kind {
            AlertKind::Overdue => {
                format!("overdue: {changes} by {user} {are} not in {their}")
            }
            AlertKind::Settled => {
                let states = self.states.iter();
                let states = states.map(|(state, count)| format!("{count} {}", state.as_str()));
                let states = states.collect::<Vec<_>>().join(", ");
                format!("{changes} by {user} {are} resolved: {states}")
            }
            _ => {
                let mut text = format!(
                    "{user} used break-glass {}",
                    counted(self.count, "more time")
                );
                if !self.grants.is_empty() {
                    let _ = write!(text, " (grants: {})", list(&self.grants));
                }
                let AlertRate { above, within } = rate;
                let above = counted(above, "change");
                let _ = write!(
                    text,
                    "; more than {above} within {within} are grouped in one alert"
                );
                text
            }
        }
    }

    /// The changes, one per line, and where to find the others.
    fn list(&self) -> String {
        let mut lines = self.lines.clone();
        if self.count > lines.len() {
            lines.push(format!("and {} more", self.count - lines.len()));
        }
        if self.unrecorded > 0 {
            lines.push(format!(
                "{} of them are only in the audit log",
                self.unrecorded
            ));
        }
        if self.count > self.unrecorded {
            let command = "helm-guard break-glass changes --all-namespaces --all";
            lines.push(match shell_word(&self.user) {
                Some(user) => format!("to list them: {command} --user {user}"),
                None => format!("to list them: {command}"),
            });
        }
        lines.join("\n")
    }
}

fn list(names: &BTreeSet<String>) -> String {
    let mut list: Vec<&str> = names.iter().take(NAMES).map(String::as_str).collect();
    if names.len() > NAMES {
        list.push("and more");
    }
    list.join(", ")
}

/// A name that is safe to paste into a shell; `None` for any other.
fn shell_word(name: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:@/+".contains(c);
    (!name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use helm_guard_core::api::Span;
    use rstest::rstest;

    use super::*;
    use crate::alert::tests::{at, change};

    const RATE: AlertRate = AlertRate {
        above: 20,
        within: Span::seconds(600),
    };

    fn summary(count: usize, trace: Trace) -> ChangeSummary {
        let mut summary = ChangeSummary::of("ops@example.com");
        for number in 0..count {
            let mut change = change();
            change.object.name = format!("web-{number}");
            change.grant = Some(format!("inc-{}", number % 30));
            summary.add(&change, trace);
        }
        summary
    }

    #[test]
    fn a_group_alert_names_user_count_grants_and_the_command_to_list_the_changes() {
        let alert =
            summary(2, Trace::Record(ChangeState::Open)).alert(AlertKind::BreakGlass, RATE, at(9));
        assert_eq!(
            alert.summary,
            "ops@example.com used break-glass 2 more times (grants: inc-0, inc-1); more than 20 changes within \
             10m are grouped in one alert"
        );
        assert_eq!(
            alert.detail(AlertDetail::Fields),
            Some(
                "Update of Deployment shop/web-0 (release shop/checkout)\n\
                 Update of Deployment shop/web-1 (release shop/checkout)\n\
                 to list them: helm-guard break-glass changes --all-namespaces --all --user ops@example.com"
            )
        );
        assert_eq!(alert.detail(AlertDetail::Count), Some("2"));
        assert_eq!(alert.detail(AlertDetail::Ticket), Some("INC-4711"));
        assert_eq!((alert.since, alert.until), (at(0), at(86400)));
        // The details of one change are left out.
        assert_eq!(alert.detail(AlertDetail::Object), None);
    }

    #[test]
    fn ten_thousand_changes_make_a_short_alert() {
        let alert = summary(10_000, Trace::AuditLog).alert(AlertKind::BreakGlass, RATE, at(9));
        let lines: Vec<&str> = alert.detail(AlertDetail::Fields).unwrap().lines().collect();
        assert_eq!(lines.len(), LINES + 2);
        assert_eq!(lines[LINES], "and 9980 more");
        assert_eq!(lines[LINES + 1], "10000 of them are only in the audit log");
        let grants = alert.detail(AlertDetail::Grant).unwrap();
        assert_eq!(grants.split(", ").count(), NAMES + 1);
        assert!(grants.ends_with(", and more"), "{grants}");
    }

    #[test]
    fn the_resolution_of_a_group_has_the_key_of_its_first_alert() {
        let mut summary = summary(2, Trace::Record(ChangeState::Reverted));
        summary.add(&change(), Trace::Record(ChangeState::Absorbed));
        let [begin, overdue, end] = [
            AlertKind::BreakGlass,
            AlertKind::Overdue,
            AlertKind::Settled,
        ]
        .map(|kind| summary.alert(kind, RATE, at(9)));
        assert_eq!((&begin.key, &begin.key), (&overdue.key, &end.key));
        let statuses = [begin.status, overdue.status, end.status];
        assert_eq!(
            statuses,
            [
                AlertStatus::Firing,
                AlertStatus::Firing,
                AlertStatus::Resolved
            ]
        );
        assert_eq!(
            end.summary,
            "3 emergency changes by ops@example.com are resolved: 1 Absorbed, 2 Reverted"
        );
    }

    #[rstest]
    #[case::begun(
        AlertKind::BreakGlass,
        "ops@example.com used break-glass 1 more time (grants: inc-0);"
    )]
    #[case::overdue(
        AlertKind::Overdue,
        "overdue: 1 emergency change by ops@example.com is not in its chart"
    )]
    #[case::settled(
        AlertKind::Settled,
        "1 emergency change by ops@example.com is resolved: 1 Reverted"
    )]
    fn a_single_change_is_not_in_the_plural(#[case] kind: AlertKind, #[case] sentence: &str) {
        let alert = summary(1, Trace::Record(ChangeState::Reverted)).alert(kind, RATE, at(9));
        assert!(alert.summary.starts_with(sentence), "{}", alert.summary);
    }

    #[rstest]
    #[case::account("system:serviceaccount:ops:emergency", true)]
    #[case::command("a$(reboot)", false)]
    #[case::quote("a'b", false)]
    #[case::flag("--all", false)]
    #[case::blank("a b", false)]
    fn only_plain_names_are_put_into_the_shell_command(#[case] name: &str, #[case] plain: bool) {
        assert_eq!(shell_word(name).is_some(), plain);
    }
}
