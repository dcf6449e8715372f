//! Text format of Prometheus (exposition format 0.0.4).

use std::fmt::{Display, Write as _};
use std::time::Duration;

use crate::gateway::telemetry::metrics::histogram::Histogram;

/// Type of a metric.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// Prefix of every metric name.
const PREFIX: &str = "cluster_gateway";

/// Writer of the exposition text.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
    family: &'static str,
}

type Labels<'a> = &'a [(&'static str, &'a dyn Display)];

impl Exposition {
    /// Start a metric family. The samples that follow belong to it.
    pub(crate) fn begin(&mut self, family: &'static str, kind: MetricKind, help: &'static str) -> &mut Self {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        self.family = family;
        self.line(format_args!("# HELP {PREFIX}_{family} {help}"));
        self.line(format_args!("# TYPE {PREFIX}_{family} {kind}"));
        self
    }

    /// Write one sample.
    pub(crate) fn sample(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        self.sample_of("", labels, value);
        self
    }

    /// Write all samples of a histogram.
    pub(crate) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        for (bound, within) in histogram.cumulative() {
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.sample_of("_bucket", &labels, within);
        }
        self.sample_of("_sum", labels, seconds(histogram.sum()));
        self.sample_of("_count", labels, histogram.count());
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn sample_of(&mut self, suffix: &str, labels: Labels<'_>, value: impl Display) {
        let mut written = String::new();
        for (name, label) in labels {
            written.push_str(if written.is_empty() { "{" } else { "," });
            written.push_str(&format!("{name}=\"{}\"", escaped(&label.to_string())));
        }
        if !written.is_empty() {
            written.push('}');
        }
        let family = self.family;
        self.line(format_args!("{PREFIX}_{family}{suffix}{written} {value}"));
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:06}", duration.as_secs(), duration.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut text = Exposition::default();
        text.begin("x_total", MetricKind::Counter, "Counts x.").sample(&[("a", &"\"} 1\n\\"), ("b", &2)], 3);
        assert_eq!(
            text.into_text(),
            "# HELP cluster_gateway_x_total Counts x.\n# TYPE cluster_gateway_x_total counter\n\
             cluster_gateway_x_total{a=\"\\\"} 1\\n\\\\\",b=\"2\"} 3\n"
        );
    }
}
