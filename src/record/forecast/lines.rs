//! A forecast from the audit lines of a guard in the modes Warn and Audit. Other log lines may be between
//! them.

use std::{
    borrow::Cow,
    collections::HashSet,
    io::{self, BufRead},
};

use helm_guard_core::guard::Reason;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Forecast, ForecastAct, MAX_ROWS, RowKey};

/// The result.
#[derive(Debug, Default)]
pub struct Read {
    /// What would be denied.
    pub forecast: Forecast,
    /// The time of the first audit line.
    pub since: Option<Timestamp>,
    /// Audit lines.
    pub audit_lines: u64,
    /// Lines that are not valid JSON, or claim to be audit lines and are not. Their content is never shown.
    pub unreadable: u64,
    /// Requests that are not in the forecast yet: counting many at once shows which rows have the most.
    newest: Forecast,
    seen: HashSet<String>,
}

#[derive(Deserialize)]
struct LogTarget<'a> {
    #[serde(borrow, default)]
    target: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    timestamp: Timestamp,
    uid: String,
    decision: String,
    #[serde(default)]
    reason: String,
    operation: String,
    user: LineUser,
    #[serde(default)]
    field_manager: String,
    object: LineObject,
    releases: Vec<Release>,
}

#[derive(Deserialize)]
struct LineUser {
    name: String,
}

#[derive(Deserialize)]
struct LineObject {
    group: String,
    kind: String,
    name: String,
    #[serde(default)]
    subresource: String,
}

#[derive(Deserialize)]
struct Release {
    name: String,
    namespace: String,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
struct Field {
    path: String,
}

impl Line {
    fn is_autoscaler(&self) -> bool {
        self.reason == Reason::UndeclaredAutoscaler.as_str()
    }
}

impl Read {
    /// Reads all lines, and counts those since `from`.
    ///
    /// # Errors
    /// When reading fails.
    pub fn lines(&mut self, mut lines: impl BufRead, from: Timestamp) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if lines.read_until(b'\n', &mut bytes)? == 0 {
                self.settle();
                return Ok(());
            }
            let line = bytes.trim_ascii();
            if !line.is_empty() {
                self.line(line, from);
            }
        }
    }

    fn line(&mut self, text: &[u8], from: Timestamp) {
        match serde_json::from_slice::<LogTarget<'_>>(text) {
            Ok(LogTarget { target }) if target == "audit" => {}
            Ok(_) => return,
            Err(_) => {
                self.unreadable += 1;
                return;
            }
        }
        let Ok(line) = serde_json::from_slice::<Line>(text) else {
            self.unreadable += 1;
            return;
        };
        self.audit_lines += 1;
        let first = self
            .since
            .map_or(line.timestamp, |since| since.min(line.timestamp));
        self.since = Some(first);
        let would_be_denied =
            matches!(&*line.decision, "warned" | "audited") || line.is_autoscaler();
        // After a stall, a line may be both in the file and on standard error.
        if would_be_denied && line.timestamp >= from && self.seen.insert(line.uid.clone()) {
            let row_keys = row_keys(&line);
            self.newest
                .note(row_keys, &line.object.name, line.timestamp);
            if self.newest.rows.len() >= MAX_ROWS {
                self.settle();
            }
        }
    }

    fn settle(&mut self) {
        self.forecast.absorb(&std::mem::take(&mut self.newest));
        self.forecast.keep(MAX_ROWS);
    }
}

fn row_keys(line: &Line) -> Vec<RowKey> {
    let act = if line.is_autoscaler() {
        ForecastAct::Autoscale
    } else {
        ForecastAct::of(&line.operation, &line.object.subresource)
    };
    let what = |release: &Release, field: &str| RowKey {
        namespace: release.namespace.clone(),
        release: release.name.clone(),
        group: line.object.group.clone(),
        kind: line.object.kind.clone(),
        act,
        field: field.to_owned(),
        user: line.user.name.clone(),
        manager: line.field_manager.clone(),
    };
    let mut row_keys = Vec::new();
    for release in &line.releases {
        if act == ForecastAct::Delete {
            row_keys.push(what(release, ""));
        }
        row_keys.extend(
            release
                .fields
                .iter()
                .map(|field| what(release, &field.path)),
        );
    }
    row_keys.truncate(super::FIELDS);
    row_keys
}
