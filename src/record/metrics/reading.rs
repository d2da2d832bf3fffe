//! Metrics that are read at each scrape.
//!
//! A [`Reading`] holds name, help and value, so that each metric is defined in one place. An unknown value
//! has no reading: a zero would look like a measurement.

use std::{fmt, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
};

/// One metric with its current samples.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<Sample>,
}

/// The labels of a sample. They are bounded: no user, no object name.
pub(crate) type SampleLabels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
struct Sample {
    labels: SampleLabels,
    value: SampleValue,
}

/// The value of a metric, with the type that tells how to show it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SampleValue {
    /// A count.
    Whole(u64),
    /// A time in seconds.
    Seconds(f64),
}

impl From<u64> for SampleValue {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for SampleValue {
    fn from(value: usize) -> Self {
        Self::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<bool> for SampleValue {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<Duration> for SampleValue {
    fn from(value: Duration) -> Self {
        Self::Seconds(value.as_secs_f64())
    }
}

impl Reading {
    /// A gauge without labels.
    pub(crate) fn gauge(
        name: &'static str,
        help: &'static str,
        value: impl Into<SampleValue>,
    ) -> Self {
        Self::gauges(name, help, [(SampleLabels::new(), value.into())])
    }

    /// A gauge with labels.
    pub(crate) fn gauges(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (SampleLabels, SampleValue)>,
    ) -> Self {
        Self::new(name, help, MetricType::Gauge, samples)
    }

    /// A counter without labels. Its name in a scrape ends in `_total`.
    pub(crate) fn counter(
        name: &'static str,
        help: &'static str,
        value: impl Into<SampleValue>,
    ) -> Self {
        let samples = [(SampleLabels::new(), value.into())];
        Self::new(name, help, MetricType::Counter, samples)
    }

    /// A counter of successes and failures.
    pub(crate) fn results(name: &'static str, help: &'static str, ok: u64, error: u64) -> Self {
        let samples = [("ok", ok), ("error", error)]
            .map(|(result, count)| (vec![("result", result.to_owned())], count.into()));
        Self::new(name, help, MetricType::Counter, samples)
    }

    /// A metric whose information is in its labels. The name in a scrape ends in `_info`.
    pub(crate) fn info(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = SampleLabels>,
    ) -> Self {
        let samples = samples.into_iter().map(|labels| (labels, 1_u64.into()));
        Self::new(name, help, MetricType::Info, samples)
    }

    fn new(
        name: &'static str,
        help: &'static str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (SampleLabels, SampleValue)>,
    ) -> Self {
        let samples = samples.into_iter();
        Self {
            name,
            help,
            kind,
            samples: samples
                .map(|(labels, value)| Sample { labels, value })
                .collect(),
        }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, self.kind)?;
        for Sample { labels, value } in &self.samples {
            match self.kind {
                MetricType::Info => Info::new(labels.clone())
                    .encode(metric.encode_family::<SampleLabels>(&SampleLabels::new())?)?,
                _ if labels.is_empty() => return self.encode_value(*value, metric),
                _ => self.encode_value(*value, metric.encode_family(labels)?)?,
            }
        }
        Ok(())
    }

    fn encode_value(&self, value: SampleValue, encoder: MetricEncoder<'_>) -> fmt::Result {
        match (self.kind, value) {
            (MetricType::Counter, SampleValue::Whole(count)) => {
                ConstCounter::new(count).encode(encoder)
            }
            (_, SampleValue::Whole(count)) => {
                ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX)).encode(encoder)
            }
            (_, SampleValue::Seconds(seconds)) => ConstGauge::new(seconds).encode(encoder),
        }
    }
}

/// Collects readings at each scrape.
pub(super) struct AtScrape<F>(pub(super) F);

impl<F> fmt::Debug for AtScrape<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtScrape")
    }
}

impl<F: Fn() -> Vec<Reading> + Send + Sync + 'static> Collector for AtScrape<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let readings = (self.0)();
        readings
            .iter()
            .try_for_each(|reading| reading.encode(&mut encoder))
    }
}
