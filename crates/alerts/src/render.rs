//! Renders an alert as the body of a request.

mod alertmanager;
mod json;
mod pagerduty;
mod slack;

use helm_guard_core::policy::alerts::{AlertFormat, template::Template};

pub use self::json::AlertDocument;
use super::alert::Alert;

/// The body for this kind of sink. `routing_key` is `PagerDuty`'s.
pub(crate) fn body(format: &AlertFormat, alert: &Alert, routing_key: &str) -> String {
    match format {
        AlertFormat::Slack => slack::body(alert).to_string(),
        AlertFormat::PagerDuty(_) => pagerduty::body(alert, routing_key),
        AlertFormat::Alertmanager => alertmanager::body(alert).to_string(),
        AlertFormat::Json => json::body(alert),
        AlertFormat::Template(template) => templated(template, alert),
    }
}

fn templated(template: &Template, alert: &Alert) -> String {
    template.render(|name| alert.value(name))
}

#[cfg(test)]
mod tests;
