//! The stored forecast: JSON in a `ConfigMap` that all replicas share.
//!
//! Each replica adds what it has counted since its last write, in numbered batches. The number of its last
//! batch is stored with the counts, so that a batch is not added twice when the result of a write is unknown.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Forecast, MAX_ROWS, RowKey, RowStats};

/// The name of the `ConfigMap`, in the guard's own namespace.
pub const NAME: &str = "helm-guard-forecast";

pub(crate) const KEY: &str = "forecast.json";

/// Maximum size of the document, in bytes: a `ConfigMap` may have 1 MiB.
const MAX_BYTES: usize = 768 * 1024;

/// A replica that has not written for this long is forgotten: it would have dropped its batch by then.
const WRITER_HOURS: i64 = 24;

/// A replica that wrote this much before another one may still be running: it writes every minute.
const RUNNING: SignedDuration = SignedDuration::from_secs(150);

/// The counts of all replicas, and what each has added so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    /// Start of counting.
    pub(crate) since: Timestamp,
    #[serde(default)]
    pub(crate) rows: Vec<Row>,
    /// The counts without a row, by day.
    #[serde(default)]
    pub(crate) others: super::Days,
    /// The replicas, by a name that is unique to each process.
    #[serde(default)]
    pub(crate) writers: BTreeMap<String, Writer>,
}

/// An entry of [`Forecast::rows`], as JSON writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) what: RowKey,
    #[serde(flatten)]
    pub(crate) seen: RowStats,
}

/// The last write of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Writer {
    /// Its last batch.
    pub(crate) batch: u64,
    /// Time of the write.
    pub(crate) at: Timestamp,
    /// Until when it had counted then; of guards before the first release, unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
}

/// What one replica adds.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// A name that no other process has.
    pub(crate) writer: String,
    /// Greater than that of the batch before.
    pub(crate) number: u64,
    /// Until when it counts.
    pub(crate) until: Timestamp,
    /// The counts.
    pub(crate) forecast: Forecast,
}

impl Document {
    /// An empty one that starts now.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            rows: Vec::new(),
            others: super::Days::new(),
            writers: BTreeMap::new(),
        }
    }

    pub(crate) fn forecast(&self) -> Forecast {
        let rows = self.rows.iter().cloned();
        Forecast {
            rows: rows.map(|row| (row.what, row.seen)).collect(),
            others: self.others.clone(),
        }
    }

    /// Whether it contains the batch already.
    pub(crate) fn has(&self, batch: &Batch) -> bool {
        let writer = self.writers.get(&batch.writer);
        writer.is_some_and(|writer| writer.batch >= batch.number)
    }

    /// Adds a batch that it does not contain.
    pub(crate) fn add(&mut self, batch: &Batch, now: Timestamp) {
        let mut forecast = self.forecast();
        forecast.merge(&batch.forecast, now);
        self.take(forecast);
        let oldest = now - SignedDuration::from_hours(WRITER_HOURS);
        self.writers.retain(|_, writer| writer.at >= oldest);
        let writer = Writer {
            batch: batch.number,
            at: now,
            until: Some(batch.until),
        };
        self.writers.insert(batch.writer.clone(), writer);
    }

    /// Until when the counts are complete: requests after that may be missing. `None` if no guard has written.
    ///
    /// A replica that has stopped wrote at its end. One that still runs writes every minute, so the oldest of the
    /// recent writes counts.
    pub(crate) fn counted_until(&self) -> Option<Timestamp> {
        let last = self.writers.values().map(|writer| writer.at).max()?;
        let writers = self.writers.values();
        writers
            .filter(|writer| last.duration_since(writer.at) <= RUNNING)
            .map(|writer| writer.until.unwrap_or(writer.at))
            .min()
    }

    fn take(&mut self, forecast: Forecast) {
        let rows = forecast.rows.into_iter();
        self.rows = rows.map(|(what, seen)| Row { what, seen }).collect();
        self.others = forecast.others;
    }

    /// As text. The least important rows are left out until it is short enough.
    pub(crate) fn encode(&mut self) -> serde_json::Result<String> {
        let mut most = self.rows.len().min(MAX_ROWS);
        loop {
            let text = serde_json::to_string(self)?;
            if text.len() <= MAX_BYTES || most == 0 {
                return Ok(text);
            }
            most = most * 3 / 4;
            let mut forecast = self.forecast();
            forecast.keep(most);
            self.take(forecast);
        }
    }
}
