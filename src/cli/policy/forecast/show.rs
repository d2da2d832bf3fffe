//! A forecast as a table, as JSON, and as a policy.

use std::{collections::BTreeSet, fmt::Write};

use clap::ValueEnum;
use helm_guard_core::{
    api::API_VERSION,
    text::{counted, minute, second},
};
use jiff::{Timestamp, civil::Date};
use schemars::JsonSchema;
use serde::Serialize;

use super::needs::{Needs, Remedies};
use crate::{
    cli::{
        output::{Cell, Column, Format, Screen, Table},
        policy::base::BasePolicy,
    },
    record::forecast::{Forecast, ForecastAct, RowKey, RowStats, ViolationCounts, total},
};

/// Output format of a forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ForecastFormat {
    /// For people
    Table,
    /// Table with all columns
    Wide,
    /// One JSON document
    Json,
    /// A GuardPolicy with the exemptions and presets
    Yaml,
}

impl ForecastFormat {
    /// What a table is printed on.
    pub(super) fn screen(self) -> Screen {
        Screen::of_stdout(match self {
            Self::Wide => Format::Wide,
            Self::Table | Self::Json | Self::Yaml => Format::Table,
        })
    }
}

/// The columns of a forecast.
const COLUMNS: [Column; 13] = [
    Column::cut("RELEASE"),
    Column::cut("OBJECT"),
    Column::cut("FIELD"),
    Column::cut("USER"),
    Column::whole("COUNT"),
    Column::whole("NEEDS"),
    Column::wide("EXEMPTION"),
    Column::wide("MANAGER"),
    Column::wide("REQUESTS"),
    Column::wide("FIRST"),
    Column::wide("LAST"),
    Column::wide("GROUP"),
    Column::wide("OBJECTS"),
];

/// Reasons why no exemption can allow a row, below the table; `-o json` has all.
const REASONS_SHOWN: usize = 8;

/// The source of a forecast.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) counted: Forecast,
    pub(super) since: Option<Timestamp>,
    /// Until when the counts are complete.
    pub(super) until: Option<Timestamp>,
    /// Lines that could not be read.
    pub(super) unreadable: u64,
    /// Why nothing is known of the namespace that was asked about.
    pub(super) unknown: Option<String>,
    /// What the reader has to know about the counts.
    pub(super) notes: Vec<String>,
}

/// A forecast, filtered by the flags.
#[derive(Debug)]
pub(super) struct ForecastReport<'a> {
    from: Date,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    rows: Vec<Row<'a>>,
    remedies: Remedies,
    /// What the printed policy extends.
    base: Option<BasePolicy>,
    summary: Summary,
    unreadable: u64,
    unknown: Option<&'a str>,
    notes: &'a [String],
}

#[derive(Debug)]
struct Row<'a> {
    what: &'a RowKey,
    seen: &'a RowStats,
    count: ViolationCounts,
}

/// The effect that Deny would have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ForecastSummary")]
struct Summary {
    /// Requests that Deny would have denied.
    requests: u64,
    /// Requests that are not in any row.
    unlisted: u64,
    /// Users who made the requests of the rows.
    users: usize,
    /// Releases that the requests of the rows were about.
    releases: usize,
}

/// What mode Deny would have denied, and what would allow it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct PolicyForecast<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// The first day, UTC.
    #[schemars(with = "String")]
    from: Date,
    /// Start of counting.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    counted_since: Option<Timestamp>,
    /// Later requests may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    counted_until: Option<Timestamp>,
    /// Why nothing is known of the namespace that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<&'a str>,
    summary: Summary,
    rows: Vec<DocumentRow<'a>>,
    /// Audit lines that could not be read.
    unreadable_lines: u64,
}

/// The same change of the same kind by the same user.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ForecastRow")]
struct DocumentRow<'a> {
    #[serde(flatten)]
    what: &'a RowKey,
    /// Names of the objects, as examples.
    objects: &'a BTreeSet<String>,
    /// Whether there are more objects than named.
    more_objects: bool,
    /// Violations of the field.
    count: u64,
    /// Requests whose first violation this is, so that the sum over all rows is the number of requests.
    requests: u64,
    #[schemars(with = "String")]
    first: Timestamp,
    #[schemars(with = "String")]
    last: Timestamp,
    needs: &'a Needs,
}

impl<'a> ForecastReport<'a> {
    pub(super) fn of(
        source: &'a Source,
        from: Date,
        namespace: Option<&str>,
        base: Option<BasePolicy>,
    ) -> Self {
        let mut rows: Vec<Row<'a>> = source
            .counted
            .rows
            .iter()
            .filter(|(what, _)| namespace.is_none_or(|namespace| what.namespace == namespace))
            .map(|(what, seen)| Row {
                what,
                seen,
                count: seen.since(from),
            })
            .filter(|row| row.count != ViolationCounts::default())
            .collect();
        rows.sort_by(|a, b| {
            let by_count = b.count.fields.cmp(&a.count.fields);
            by_count.then_with(|| a.what.cmp(b.what))
        });
        let taken = base.iter().flat_map(BasePolicy::exemption_names);
        let taken = taken.map(str::to_owned).collect();
        let row_keys: Vec<&RowKey> = rows.iter().map(|row| row.what).collect();
        let unlisted = total(&source.counted.others, from).requests;
        let refused = || {
            rows.iter()
                .filter(|row| row.what.act != ForecastAct::Autoscale)
        };
        let listed: u64 = refused().map(|row| row.count.requests).sum();
        let users: BTreeSet<&str> = refused().map(|row| &*row.what.user).collect();
        let releases: BTreeSet<(&str, &str)> = refused()
            .map(|row| row.what)
            .map(|what| (&*what.namespace, &*what.release))
            .collect();
        Self {
            from,
            since: source.since,
            until: source.until,
            remedies: Remedies::of(&row_keys, taken),
            base,
            summary: Summary {
                requests: listed + unlisted,
                unlisted,
                users: users.len(),
                releases: releases.len(),
            },
            rows,
            unreadable: source.unreadable,
            unknown: source.unknown.as_deref(),
            notes: &source.notes,
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.notes.to_vec();
        if self.unreadable > 0 {
            let lines = counted(self.unreadable, "line");
            warnings.push(format!("{lines} cannot be read"));
        }
        if self.summary.unlisted > 0 {
            warnings.push(format!(
                "counted but not listed, because there were too many different ones: {}",
                counted(self.summary.unlisted, "request")
            ));
        }
        warnings
    }

    pub(super) fn text(&self, format: ForecastFormat, screen: Screen) -> anyhow::Result<String> {
        let summary = self.sentence();
        Ok(match format {
            ForecastFormat::Table | ForecastFormat::Wide if self.rows.is_empty() => {
                screen.wrapped("", &summary)
            }
            ForecastFormat::Table | ForecastFormat::Wide => {
                let mut text = self.table(screen);
                let reasons = self.remedies.unallowed();
                for why in reasons.iter().take(REASONS_SHOWN) {
                    text.push_str(&screen.wrapped("", &format!("- {why}")));
                }
                if let Some(more @ 1..) = reasons.len().checked_sub(REASONS_SHOWN) {
                    let more = counted(more, "more reason");
                    text.push_str(&screen.wrapped("", &format!("- {more}: -o json lists all")));
                }
                text.push('\n');
                text.push_str(&screen.wrapped("", &summary));
                text
            }
            ForecastFormat::Json => format!("{:#}\n", serde_json::to_value(self.document())?),
            ForecastFormat::Yaml => {
                let unknown = || BasePolicy::unknown("the policy in force was not read");
                let base = self.base.clone().unwrap_or_else(unknown);
                let comments = [
                    summary,
                    "The policy in force, with what mode Deny would need to allow these requests."
                        .to_owned(),
                ];
                base.print_with(&comments, |spec| self.remedies.extend(spec))?
            }
        })
    }

    /// One sentence about the effect of Deny.
    fn sentence(&self) -> String {
        let Summary {
            requests,
            unlisted,
            users,
            releases,
        } = self.summary;
        if let Some(unknown) = self.unknown {
            return format!("{unknown}.");
        }
        let mut text = match (requests, unlisted) {
            (0, _) => format!("Since {}, Deny would have denied nothing", self.from),
            _ => format!(
                "Since {}, Deny would have denied {} of {} to {}",
                self.from,
                counted(requests, "request"),
                counted(users, "user"),
                counted(releases, "release"),
            ),
        };
        let since = self.since.filter(|since| {
            let day = crate::record::forecast::day_of(*since);
            day > self.from
        });
        if let Some(since) = since {
            let _ = write!(text, " (counting since {})", minute(since));
        }
        text.push('.');
        if let Some(until) = self.until {
            let _ = write!(
                text,
                " Counts up to {}; later requests are not in it.",
                second(until)
            );
        }
        text
    }

    fn table(&self, screen: Screen) -> String {
        let cells = |(row, needs): (&Row<'_>, &Needs)| -> Vec<Cell> {
            let group = match &*row.what.group {
                "" => "core",
                group => group,
            };
            let mut objects: Vec<&str> = row.seen.objects.iter().map(String::as_str).collect();
            if row.seen.more_objects {
                objects.push("...");
            }
            vec![
                format!("{}/{}", row.what.namespace, row.what.release).into(),
                object(row).into(),
                field(row.what).into(),
                row.what.user.clone().into(),
                row.count.fields.to_string().into(),
                describe(needs).into(),
                match needs {
                    Needs::Exemption(name) => name.clone().into(),
                    Needs::Preset(_) | Needs::Nothing(_) => "".into(),
                },
                row.what.manager.clone().into(),
                row.count.requests.to_string().into(),
                minute(row.seen.first).to_string().into(),
                minute(row.seen.last).to_string().into(),
                group.into(),
                objects.join(",").into(),
            ]
        };
        let rows = self.rows.iter().zip(&self.remedies.needs);
        Table::new(&COLUMNS, rows.map(cells).collect()).text(screen)
    }

    fn document(&self) -> PolicyForecast<'_> {
        let rows = self.rows.iter().zip(&self.remedies.needs);
        PolicyForecast {
            api_version: API_VERSION,
            kind: "PolicyForecast",
            from: self.from,
            counted_since: self.since,
            counted_until: self.until,
            unknown: self.unknown,
            summary: self.summary,
            rows: rows
                .map(|(row, needs)| DocumentRow {
                    what: row.what,
                    objects: &row.seen.objects,
                    more_objects: row.seen.more_objects,
                    count: row.count.fields,
                    requests: row.count.requests,
                    first: row.seen.first,
                    last: row.seen.last,
                    needs,
                })
                .collect(),
            unreadable_lines: self.unreadable,
        }
    }
}

fn object(row: &Row<'_>) -> String {
    let (kind, seen) = (&row.what.kind, row.seen);
    match (seen.objects.first(), seen.objects.len(), seen.more_objects) {
        (Some(name), 1, false) => format!("{kind}/{name}"),
        (_, count, false) => format!("{kind} ({})", counted(count, "object")),
        (_, count, true) => format!("{kind} (more than {})", counted(count, "object")),
    }
}

fn field(what: &RowKey) -> String {
    match what.act {
        ForecastAct::Change => what.field.clone(),
        ForecastAct::Scale => format!("{} (scale)", what.field),
        ForecastAct::Delete => "(delete)".to_owned(),
        ForecastAct::Autoscale => format!("{} (undeclared autoscaler)", what.field),
    }
}

fn describe(needs: &Needs) -> String {
    match needs {
        Needs::Preset(name) => format!("preset {name}"),
        Needs::Exemption(_) => "exemption".to_owned(),
        Needs::Nothing(_) => "-".to_owned(),
    }
}
