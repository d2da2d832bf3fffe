//! What was tried, and the findings.

use std::{collections::BTreeMap, fmt};

use crate::{exclusions::EXCLUSIONS, invariant::Loss};

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Denied by the guard.
    Denied,
    /// Refused by the API server itself.
    Rejected,
    /// Executed, with a warning of the guard.
    Warned,
    /// Executed.
    Passed,
}

/// A loss without a warning or an audit line that names who caused it.
#[derive(Clone, Debug)]
pub struct Finding {
    pub technique: String,
    pub object: String,
    pub loss: String,
    /// The minimal attack, as kubectl commands.
    pub requests: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts([usize; 4]);

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        self.0[outcome as usize] += 1;
    }

    fn total(&self) -> usize {
        self.0.iter().sum()
    }
}

/// The report of a run.
#[derive(Debug, Default)]
pub struct Report {
    by_verb: BTreeMap<String, Counts>,
    by_kind: BTreeMap<String, Counts>,
    named: BTreeMap<String, usize>,
    findings: Vec<Finding>,
    techniques: BTreeMap<String, usize>,
    rejections: BTreeMap<String, String>,
    notes: Vec<String>,
    left: usize,
    only: Option<String>,
}

impl Report {
    /// An empty report. With a text, only techniques whose name contains it are tried.
    pub fn new(only: Option<String>) -> Self {
        Self {
            only,
            ..Self::default()
        }
    }

    /// Whether to try a technique again: two findings are enough.
    pub fn wants(&self, technique: &str) -> bool {
        let asked = self
            .only
            .as_ref()
            .is_none_or(|only| technique.contains(only.as_str()));
        asked
            && self
                .techniques
                .get(technique)
                .is_none_or(|found| *found < 2)
    }

    /// How often a technique has caused a loss.
    pub fn times(&self, technique: &str) -> usize {
        self.techniques.get(technique).copied().unwrap_or(0)
    }

    /// Counts a request.
    pub fn count(&mut self, (verb, sub): (&str, Option<&str>), kind: &str, outcome: Outcome) {
        let verb = sub.map_or(verb.to_owned(), |sub| format!("{verb} /{sub}"));
        self.by_verb.entry(verb).or_default().add(outcome);
        self.by_kind
            .entry(kind.to_owned())
            .or_default()
            .add(outcome);
    }

    /// Why the API server itself rejects writing a subresource. The first reason shows whether the try was
    /// meaningful.
    pub fn rejected(&mut self, (verb, sub): (&str, Option<&str>), message: &str) {
        if let Some(sub) = sub {
            let message = message.chars().take(160).collect();
            self.rejections
                .entry(format!("{verb} /{sub}"))
                .or_insert(message);
        }
    }

    /// Records a loss that a warning or an audit line reports.
    pub fn name(&mut self, technique: &str, by: &str) {
        let line = format!("{technique}: {}", by.chars().take(160).collect::<String>());
        *self.named.entry(line).or_default() += 1;
        *self.techniques.entry(technique.to_owned()).or_default() += 1;
    }

    /// Records a loss that nothing reports.
    pub fn find(&mut self, technique: &str, object: &str, loss: &Loss, requests: Vec<String>) {
        self.found(technique, object, loss.to_string(), requests);
    }

    /// The same as text.
    pub fn found(&mut self, technique: &str, object: &str, loss: String, requests: Vec<String>) {
        *self.techniques.entry(technique.to_owned()).or_default() += 1;
        eprintln!("adversary: FOUND {technique}: {object}: {loss}");
        for request in &requests {
            eprintln!("    {request}");
        }
        self.findings.push(Finding {
            technique: technique.to_owned(),
            object: object.to_owned(),
            loss,
            requests,
        });
    }

    /// Records a declared object that does not exist.
    pub fn absent(&mut self, title: &str) {
        self.note(format!("{title} is not there"));
    }

    /// Records a declared object that is left out.
    pub fn excluded(&mut self, title: &str, reason: &str) {
        self.note(format!("{title} is left out: {reason}"));
    }

    /// Adds a note.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Counts plays that the time did not allow.
    pub fn leave(&mut self, plays: usize) {
        self.left += plays;
    }

    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether nothing was found, and something was tried.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.by_kind.values().any(|counts| counts.0[0] > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (head, rows) in [("VERB", &self.by_verb), ("KIND", &self.by_kind)] {
            writeln!(
                f,
                "{head:<32} {:>7} {:>7} {:>7} {:>7} {:>7}",
                "TRIED", "DENIED", "BY API", "WARNED", "PASSED"
            )?;
            let mut total = Counts::default();
            for (name, counts) in rows {
                row(f, name, counts)?;
                for (sum, count) in total.0.iter_mut().zip(counts.0) {
                    *sum += count;
                }
            }
            row(f, "total", &total)?;
            writeln!(f)?;
        }
        for (line, times) in &self.named {
            writeln!(f, "named {times} times: {line}")?;
        }
        for (what, message) in &self.rejections {
            writeln!(f, "refused by the API server: {what}: {message}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        if self.left > 0 {
            writeln!(
                f,
                "note: {} plays were left when the time was over",
                self.left
            )?;
        }
        for (what, why) in EXCLUSIONS {
            writeln!(f, "not tried: {what}: {why}")?;
        }
        for (technique, times) in &self.techniques {
            let first = self
                .findings
                .iter()
                .find(|finding| finding.technique == *technique);
            let Some(finding) = first else { continue };
            writeln!(f, "\nFOUND {times} times: {technique}")?;
            writeln!(f, "  {}: {}", finding.object, finding.loss)?;
            for request in &finding.requests {
                writeln!(f, "    {request}")?;
            }
        }
        writeln!(f, "\n{} findings", self.findings.len())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, counts: &Counts) -> fmt::Result {
    let [denied, rejected, warned, passed] = counts.0;
    let total = counts.total();
    writeln!(
        f,
        "{name:<32} {total:>7} {denied:>7} {rejected:>7} {warned:>7} {passed:>7}"
    )
}
