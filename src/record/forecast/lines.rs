//! A forecast from the audit lines of a guard in the modes Warn and Audit. Other log lines may be between
//! them.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    io::{self, BufRead},
};

use helm_guard_core::guard::Reason;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Forecast, ForecastAct, MAX_ROWS, RowKey, repeats::RecentRequests};

/// The result.
#[derive(Debug)]
pub(crate) struct Read {
    /// What would be denied.
    pub(crate) forecast: Forecast,
    /// The time of the first audit line.
    pub(crate) since: Option<Timestamp>,
    /// The time of the last one.
    pub(crate) until: Option<Timestamp>,
    /// Lines about requests, also of those that Deny would allow.
    pub(crate) audit_lines: u64,
    /// Lines that are not valid JSON, or claim to be audit lines and are not. Their content is never shown.
    pub(crate) unreadable: u64,
    /// Requests that are not in the forecast yet: counting many at once shows which rows have the most.
    newest: Forecast,
    seen: HashSet<String>,
    recent: RecentRequests,
    namespaces: BTreeSet<String>,
}

impl Default for Read {
    fn default() -> Self {
        Self {
            forecast: Forecast::default(),
            since: None,
            until: None,
            audit_lines: 0,
            unreadable: 0,
            newest: Forecast::default(),
            seen: HashSet::new(),
            recent: RecentRequests::new(usize::MAX),
            namespaces: BTreeSet::new(),
        }
    }
}

#[derive(Deserialize)]
struct LogTarget<'a> {
    #[serde(borrow, default)]
    target: Cow<'a, str>,
}

/// An audit line. Until the first release, some fields had another name or form, which is read too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    timestamp: Timestamp,
    uid: String,
    #[serde(alias = "decision")]
    verdict: String,
    #[serde(default)]
    reason: String,
    operation: String,
    user: LineUser,
    #[serde(default)]
    field_manager: String,
    object: LineObject,
    #[serde(alias = "releases")]
    findings: Vec<LineFinding>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LineUser {
    Name(String),
    Former { name: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LineObject {
    #[serde(default)]
    api_version: String,
    /// The former form.
    #[serde(default)]
    group: Option<String>,
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
    #[serde(default)]
    subresource: String,
}

#[derive(Deserialize)]
#[serde(from = "AnyLineFinding")]
struct LineFinding {
    release: LineRelease,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
struct LineRelease {
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnyLineFinding {
    Now {
        release: LineRelease,
        fields: Vec<Field>,
    },
    Former {
        namespace: String,
        name: String,
        fields: Vec<Field>,
    },
}

/// A line about the guard itself.
#[derive(Deserialize)]
struct LineNotice {
    timestamp: Timestamp,
    #[serde(rename = "event")]
    _event: String,
}

#[derive(Deserialize)]
struct Field {
    path: String,
    #[serde(default, alias = "old")]
    live: Value,
    #[serde(default, alias = "new")]
    requested: Value,
}

impl LineUser {
    fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Former { name } => name,
        }
    }
}

impl LineObject {
    fn group(&self) -> &str {
        let group = || Some(self.api_version.rsplit_once('/')?.0);
        self.group.as_deref().or_else(group).unwrap_or_default()
    }
}

impl From<AnyLineFinding> for LineFinding {
    fn from(finding: AnyLineFinding) -> Self {
        match finding {
            AnyLineFinding::Now { release, fields } => Self { release, fields },
            AnyLineFinding::Former {
                namespace,
                name,
                fields,
            } => Self {
                release: LineRelease { namespace, name },
                fields,
            },
        }
    }
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
    pub(crate) fn lines(&mut self, mut lines: impl BufRead, from: Timestamp) -> io::Result<()> {
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
            match serde_json::from_slice::<LineNotice>(text) {
                Ok(notice) => self.read_one(notice.timestamp),
                Err(_) => self.unreadable += 1,
            }
            return;
        };
        self.read_one(line.timestamp);
        let releases = line.findings.iter().map(|finding| &finding.release);
        for namespace in releases
            .map(|release| &release.namespace)
            .chain([&line.object.namespace])
        {
            if !self.namespaces.contains(namespace) {
                self.namespaces.insert(namespace.clone());
            }
        }
        let would_be_denied =
            matches!(&*line.verdict, "warned" | "audited") || line.is_autoscaler();
        if !would_be_denied || line.timestamp < from {
            return;
        }
        let row_keys = row_keys(&line);
        if self.is_new(&line, &row_keys) {
            self.newest
                .note(row_keys, &line.object.name, line.timestamp);
            if self.newest.rows.len() >= MAX_ROWS {
                self.settle();
            }
        }
    }

    fn read_one(&mut self, at: Timestamp) {
        self.audit_lines += 1;
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.until = Some(self.until.map_or(at, |until| until.max(at)));
    }

    /// Whether a line is about an object or a release of a namespace.
    pub(crate) fn is_about(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    /// Whether the request of a line was not counted yet. After a stall, a line may be both in the file and on
    /// standard error.
    fn is_new(&mut self, line: &Line, row_keys: &[RowKey]) -> bool {
        let values: Vec<_> = line
            .findings
            .iter()
            .flat_map(|finding| &finding.fields)
            .map(|field| [&field.live, &field.requested].map(ToString::to_string))
            .collect();
        let object = &line.object;
        let content = (row_keys, &object.namespace, &object.name, values);
        self.seen.insert(line.uid.clone()) && !self.recent.has(&content, line.timestamp)
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
    let what = |release: &LineRelease, field: &str| RowKey {
        namespace: release.namespace.clone(),
        release: release.name.clone(),
        group: line.object.group().to_owned(),
        kind: line.object.kind.clone(),
        act,
        field: field.to_owned(),
        user: line.user.name().to_owned(),
        manager: line.field_manager.clone(),
    };
    let mut row_keys = Vec::new();
    for finding in &line.findings {
        let release = &finding.release;
        if act == ForecastAct::Delete {
            row_keys.push(what(release, ""));
        }
        let fields = finding.fields.iter();
        row_keys.extend(fields.map(|field| what(release, &field.path)));
    }
    row_keys.truncate(super::FIELDS);
    row_keys
}
