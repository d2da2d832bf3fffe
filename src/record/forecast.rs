//! What mode Deny would deny: the violations that pass in the modes Warn and Audit, counted by release, user,
//! field manager, kind and field.
//!
//! Invariants
//! - No value of an object, only its path. A field is stored as the verdict names it, including merge keys
//!   (`.spec.containers[name=web].image`): an exemption for all containers would be wider than what was seen.
//! - Bounded in rows, bytes and days. The rest is counted under [`Forecast::others`].
//! - A request is counted once, in the row of the first field that it violates, so that the requests of all
//!   rows add up. Each field that it violates is counted in its own row.
//! - A request that is repeated, by the API server or by the client, is one request ([`repeats`]).
//!
//! Start at [`Collector::note`], which the recorder calls, and [`publisher`], which writes the counts to the
//! cluster. [`lines`] builds the same from an audit log.

mod collector;
pub mod document;
pub(crate) mod lines;
pub(crate) mod publisher;
mod repeats;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::collector::Collector;

/// Maximum number of rows.
pub(crate) const MAX_ROWS: usize = 1000;

/// Maximum size of the texts of a row, in bytes; a longer one gets no row.
const ROW_BYTES: usize = 2048;

/// Fields of one request that are counted; a replaced object may violate all of its fields.
const FIELDS: usize = 64;

/// Names of objects that are stored with a row, as examples.
const OBJECTS: usize = 3;

/// Days that are counted, today included.
pub(crate) const DAYS: i64 = 30;

/// What a change does to a declared object.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ForecastAct {
    /// Changes a field.
    Change,
    /// Changes the replicas through the scale subresource.
    Scale,
    /// Deletes the object.
    Delete,
    /// Changes the replicas as an autoscaler that no release declares; allowed by default.
    Autoscale,
}

impl ForecastAct {
    fn of(operation: &str, sub_resource: &str) -> Self {
        match (operation, sub_resource) {
            ("DELETE", _) | (_, "eviction") => Self::Delete,
            (_, "scale") => Self::Scale,
            _ => Self::Change,
        }
    }
}

/// The key of a row.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RowKey {
    /// The namespace of the release.
    pub(crate) namespace: String,
    /// The name of the release that declares the object.
    pub(crate) release: String,
    /// API group of the object; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) group: String,
    /// Its kind.
    pub(crate) kind: String,
    /// What the change does.
    pub(crate) act: ForecastAct,
    /// The field, as denials show it; empty for a deletion.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) field: String,
    /// The user, after impersonation.
    pub(crate) user: String,
    /// The field manager, if the client names one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) manager: String,
}

/// Counts of violated fields, and of requests whose first field it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub(crate) struct ViolationCounts {
    /// Violations of the field.
    pub(crate) fields: u64,
    /// Requests that are counted here.
    pub(crate) requests: u64,
}

impl From<(u64, u64)> for ViolationCounts {
    fn from((fields, requests): (u64, u64)) -> Self {
        Self { fields, requests }
    }
}

impl From<ViolationCounts> for (u64, u64) {
    fn from(count: ViolationCounts) -> Self {
        (count.fields, count.requests)
    }
}

impl ViolationCounts {
    fn add(&mut self, other: Self) {
        self.fields = self.fields.saturating_add(other.fields);
        self.requests = self.requests.saturating_add(other.requests);
    }
}

/// Counts of days (UTC).
pub(crate) type Days = BTreeMap<Date, ViolationCounts>;

/// The statistics of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RowStats {
    /// First seen.
    pub(crate) first: Timestamp,
    /// Last seen.
    pub(crate) last: Timestamp,
    /// Names of some of the objects.
    pub(crate) objects: BTreeSet<String>,
    /// There were more objects than `objects` names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more_objects: bool,
    /// Counts by day.
    pub(crate) days: Days,
}

impl RowStats {
    fn add(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.more_objects |= other.more_objects;
        for name in &other.objects {
            if self.objects.len() < OBJECTS || self.objects.contains(name) {
                self.objects.insert(name.clone());
            } else {
                self.more_objects = true;
            }
        }
        add_days(&mut self.days, &other.days);
    }

    /// The sum of the counts since a day, that day included.
    pub(crate) fn since(&self, day: Date) -> ViolationCounts {
        total(&self.days, day)
    }
}

fn add_days(days: &mut Days, others: &Days) {
    for (day, count) in others {
        days.entry(*day).or_default().add(*count);
    }
}

/// The total since a day, that day included.
pub(crate) fn total(days: &Days, since: Date) -> ViolationCounts {
    let mut sum = ViolationCounts::default();
    days.range(since..).for_each(|(_, count)| sum.add(*count));
    sum
}

/// What would be denied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// The counts that have a row; at most 1000 rows.
    pub(crate) rows: BTreeMap<RowKey, RowStats>,
    /// The counts that have no row.
    pub(crate) others: Days,
}

impl Forecast {
    /// Whether nothing was counted.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.others.is_empty()
    }

    /// Counts a request that would be denied: all its violations, each on the object `name`.
    pub(crate) fn note(
        &mut self,
        what: impl IntoIterator<Item = RowKey>,
        name: &str,
        at: Timestamp,
    ) {
        let mut requests = 1;
        for what in what {
            let count = ViolationCounts {
                fields: 1,
                requests,
            };
            requests = 0;
            self.add(
                what,
                &RowStats {
                    first: at,
                    last: at,
                    objects: BTreeSet::from([name.to_owned()]),
                    more_objects: false,
                    days: Days::from([(day_of(at), count)]),
                },
            );
        }
    }

    /// Adds a row; if it does not fit, its counts go to the others.
    fn add(&mut self, what: RowKey, seen: &RowStats) {
        if let Some(there) = self.rows.get_mut(&what) {
            there.add(seen);
        } else if self.rows.len() < MAX_ROWS && what.bytes() <= ROW_BYTES {
            self.rows.insert(what, seen.clone());
        } else {
            add_days(&mut self.others, &seen.days);
        }
    }

    /// Adds the counts of another forecast, without the expired days.
    pub(crate) fn merge(&mut self, other: &Self, now: Timestamp) {
        self.absorb(other);
        self.forget(now);
        self.keep(MAX_ROWS);
    }

    fn absorb(&mut self, other: &Self) {
        for (what, seen) in &other.rows {
            match self.rows.get_mut(what) {
                Some(there) => there.add(seen),
                None => {
                    self.rows.insert(what.clone(), seen.clone());
                }
            }
        }
        add_days(&mut self.others, &other.others);
    }

    /// Drops expired days, and rows without any other days.
    fn forget(&mut self, now: Timestamp) {
        let oldest = day_of(now - SignedDuration::from_hours(24 * (DAYS - 1)));
        self.others.retain(|day, _| *day >= oldest);
        self.rows.retain(|_, seen| {
            seen.days.retain(|day, _| *day >= oldest);
            !seen.days.is_empty()
        });
    }

    /// Keeps at most this many rows, those with the most requests. The counts of the others are added to the
    /// others.
    fn keep(&mut self, most: usize) {
        let excess = self.rows.len().saturating_sub(most);
        if excess == 0 {
            return;
        }
        let mut weights: Vec<(u64, Timestamp, RowKey)> = self
            .rows
            .iter()
            .map(|(what, seen)| {
                let count = total(&seen.days, Date::MIN).fields;
                (count, seen.last, what.clone())
            })
            .collect();
        weights.sort_unstable();
        for (_, _, what) in weights.into_iter().take(excess) {
            if let Some(seen) = self.rows.remove(&what) {
                add_days(&mut self.others, &seen.days);
            }
        }
    }
}

impl RowKey {
    fn bytes(&self) -> usize {
        [
            &self.namespace,
            &self.release,
            &self.group,
            &self.kind,
            &self.field,
            &self.user,
            &self.manager,
        ]
        .iter()
        .map(|text| text.len())
        .sum()
    }
}

/// The day, in UTC.
pub(crate) fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests;
