//! Renders an alert as the body of a request.

mod alertmanager;
mod json;
mod pagerduty;
mod slack;

use helm_guard_core::policy::alerts::{Speaks, template::Template};

use super::alert::Alert;

/// The body for this kind of sink. `routing_key` is `PagerDuty`'s.
pub fn body(speaks: &Speaks, alert: &Alert, routing_key: &str) -> String {
    match speaks {
        Speaks::Slack => slack::body(alert).to_string(),
        Speaks::PagerDuty(_) => pagerduty::body(alert, routing_key),
        Speaks::Alertmanager => alertmanager::body(alert).to_string(),
        Speaks::Json => json::body(alert).to_string(),
        Speaks::Template(template) => templated(template, alert),
    }
}

fn templated(template: &Template, alert: &Alert) -> String {
    template.render(|name| alert.value(name))
}

#[cfg(test)]
mod tests;
