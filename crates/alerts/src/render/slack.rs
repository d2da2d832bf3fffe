//! Slack's incoming webhooks, and compatible ones (Mattermost, Rocket.Chat): a text and one attachment
//! (<https://api.slack.com/reference/messaging/attachments>).

use helm_guard_core::{policy::alerts::template::AlertDetail, text::shortened};
use serde_json::{Value, json};

use crate::alert::{Alert, AlertStatus, Severity};

/// Maximum length of a value; the record of the change has all of it.
const VALUE_CHARS: usize = 2000;

pub(super) fn body(alert: &Alert) -> Value {
    let fields: Vec<Value> = alert
        .details()
        .map(|(detail, value)| {
            json!({
                "title": detail.as_str(),
                "value": harmless(&shortened(value, VALUE_CHARS)),
                "short": !matches!(detail, AlertDetail::Fields | AlertDetail::Patch | AlertDetail::Reason),
            })
        })
        .collect();
    let summary = harmless(&alert.summary);
    json!({
        "text": format!("{} helm-guard: {summary}", mark(alert)),
        "attachments": [{
            "color": colour(alert),
            "fallback": summary,
            // User input is never markup.
            "mrkdwn_in": [],
            "fields": fields,
            "footer": "helm-guard",
            "ts": alert.at.as_second(),
        }],
    })
}

fn mark(alert: &Alert) -> &'static str {
    match (alert.status, Severity::of(alert.kind)) {
        (AlertStatus::Resolved, _) => ":white_check_mark:",
        (AlertStatus::Firing, Severity::Critical) => ":rotating_light:",
        (AlertStatus::Firing, _) => ":warning:",
    }
}

fn colour(alert: &Alert) -> &'static str {
    match (alert.status, Severity::of(alert.kind)) {
        (AlertStatus::Resolved, _) => "good",
        (AlertStatus::Firing, Severity::Critical) => "danger",
        (AlertStatus::Firing, _) => "warning",
    }
}

/// Text that mentions nobody: `<!channel>` needs its brackets in Slack, and the others read a plain `@here`,
/// so every `@` that could start a mention is separated from the next word.
fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '@' if !before.is_alphanumeric() => safe.push_str("@\u{200b}"),
            other => safe.push(other),
        }
        before = c;
    }
    safe
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::entities("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d")]
    #[case::channel("<!channel> now", "&lt;!channel&gt; now")]
    #[case::link("<https://evil|ok>", "&lt;https://evil|ok&gt;")]
    #[case::here("@here and (@all)", "@\u{200b}here and (@\u{200b}all)")]
    #[case::address("jane@example.com", "jane@example.com")]
    fn user_input_mentions_nobody(#[case] text: &str, #[case] safe: &str) {
        assert_eq!(harmless(text), safe);
    }
}
