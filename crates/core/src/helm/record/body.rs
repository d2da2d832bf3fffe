//! The JSON of a release, as Helm 3 and Helm 4 write it (`pkg/release/release.go`,
//! `pkg/release/v1/release.go`), reduced to what the guard reads.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use self::few::at_most;
use super::{ApplyMethod, Chart, DecodeError, Hook, HookPhase, Record};
use crate::helm::{identity::ReleaseName, lifecycle::RevisionStatus};

mod few;

/// The longest name of a release or a namespace: that of an object.
const NAME_BYTES: usize = 253;

/// The maximum length of the name or version of a chart. Messages and metrics show it.
const CHART_CHARS: usize = 256;

/// The maximum length of a time: RFC 3339 with nanoseconds has 35.
const TIME_BYTES: usize = 64;

/// The most hooks of a record. Many small items take many times as much memory as their JSON.
const HOOKS: usize = 4096;

/// The most events of a hook; Helm knows nine.
const EVENTS: usize = 64;

#[derive(Deserialize)]
struct RawRelease<'a> {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    version: u32,
    #[serde(borrow, default)]
    info: Option<Info<'a>>,
    #[serde(default)]
    chart: Option<ChartBody>,
    #[serde(default)]
    manifest: Option<String>,
    #[serde(borrow, default, deserialize_with = "hooks")]
    hooks: Option<Vec<HookBody<'a>>>,
    #[serde(borrow, default)]
    apply_method: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Info<'a> {
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(default)]
    first_deployed: Option<String>,
    #[serde(default)]
    last_deployed: Option<String>,
    #[serde(default)]
    deleted: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    rollback_revision: Option<u32>,
}

#[derive(Deserialize)]
struct ChartBody {
    #[serde(default)]
    metadata: Option<ChartMetadata>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChartMetadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    app_version: Option<String>,
}

#[derive(Deserialize)]
struct HookBody<'a> {
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    manifest: String,
    #[serde(default, deserialize_with = "events")]
    events: Option<Vec<String>>,
    #[serde(borrow, default)]
    last_run: Option<LastRun<'a>>,
}

#[derive(Deserialize)]
struct LastRun<'a> {
    #[serde(borrow, default)]
    phase: Option<Cow<'a, str>>,
}

fn hooks<'de: 'a, 'a, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<HookBody<'a>>>, D::Error> {
    at_most::<HOOKS, _, _>(from)
}

fn events<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    at_most::<EVENTS, _, _>(from)
}

pub(super) fn parse(json: &[u8]) -> Result<Record, DecodeError> {
    let release: RawRelease<'_> =
        serde_json::from_slice(json).map_err(|error| json_error(&error))?;
    let require = |present: bool, field| {
        if present {
            Ok(())
        } else {
            Err(DecodeError::Incomplete { field })
        }
    };
    require(!release.name.is_empty(), "name")?;
    require(!release.namespace.is_empty(), "namespace")?;
    require(release.version > 0, "version")?;
    for (name, field) in [(&release.name, "name"), (&release.namespace, "namespace")] {
        if name.len() > NAME_BYTES {
            return Err(DecodeError::TooLong { field });
        }
    }
    let info = release.info.unwrap_or_default();
    let chart = release
        .chart
        .and_then(|chart| chart.metadata)
        .unwrap_or_default();
    Ok(Record {
        release: ReleaseName {
            namespace: release.namespace,
            name: release.name,
        },
        revision: release.version,
        status: RevisionStatus::from_word(info.status.as_deref().unwrap_or_default()),
        chart: Chart {
            name: cut(chart.name),
            version: cut(chart.version),
            app_version: written(chart.app_version).map(cut),
        },
        first_deployed: time(info.first_deployed),
        last_deployed: time(info.last_deployed),
        deleted: time(info.deleted),
        description: written(info.description),
        apply_method: apply_method(release.apply_method.as_deref()),
        rollback_revision: info.rollback_revision.filter(|revision| *revision > 0),
        manifest: release.manifest.unwrap_or_default(),
        hooks: release
            .hooks
            .unwrap_or_default()
            .into_iter()
            .map(hook)
            .collect(),
    })
}

pub(super) fn values(json: &[u8]) -> Result<String, DecodeError> {
    #[derive(Deserialize)]
    struct Values<'a> {
        #[serde(borrow, default)]
        config: Option<&'a RawValue>,
    }
    let Values { config } = serde_json::from_slice(json).map_err(|error| json_error(&error))?;
    Ok(config.map_or("{}", RawValue::get).to_owned())
}

/// Helm 3 writes an unset time as an empty string, Helm 4 omits it.
fn written(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// A longer text is not a time.
fn time(text: Option<String>) -> Option<String> {
    written(text).filter(|text| text.len() <= TIME_BYTES)
}

/// Names and versions of charts may have any length.
fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(CHART_CHARS) {
        text.truncate(at);
        text.shrink_to_fit();
    }
    text
}

fn apply_method(word: Option<&str>) -> ApplyMethod {
    match word {
        Some("ssa") => ApplyMethod::ServerSide,
        _ => ApplyMethod::ClientSide,
    }
}

fn hook(body: HookBody<'_>) -> Hook {
    let phase = body.last_run.and_then(|run| run.phase);
    Hook {
        name: body.name,
        kind: body.kind,
        path: body.path,
        manifest: body.manifest,
        events: body.events.unwrap_or_default(),
        phase: match phase.as_deref() {
            None | Some("") => None,
            Some("Succeeded") => Some(HookPhase::Succeeded),
            Some("Failed") => Some(HookPhase::Failed),
            Some(_) => Some(HookPhase::Unknown),
        },
    }
}

/// Only the place and the kind of the error: the parser's own message quotes the value.
fn json_error(error: &serde_json::Error) -> DecodeError {
    use serde_json::error::Category;
    DecodeError::Json {
        fault: match error.classify() {
            Category::Syntax => "a syntax error",
            Category::Data => "a field of the wrong type",
            Category::Eof => "an early end",
            Category::Io => "a read error",
        },
        line: error.line(),
        column: error.column(),
    }
}
