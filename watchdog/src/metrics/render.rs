//! A view as the text format 0.0.4, and the list of metrics as a page.
//!
//! The crate's registry refuses duplicate names and unequal labels, so that an ill-formed exposition
//! is an error here and not at the server.

use std::fmt::Write as _;

use orch_telemetry::unit;
use prometheus::{CounterVec, Encoder, GaugeVec, Opts, Registry, TextEncoder};
use thiserror::Error;

use super::{Metric, Sort, View};

/// Why a scrape failed.
#[derive(Debug, Error)]
#[error("build the metrics")]
pub struct MetricsError(#[from] prometheus::Error);

/// The text of a scrape.
///
/// # Errors
/// When names or labels clash, which a test excludes.
pub fn render(view: &View) -> Result<String, MetricsError> {
    let registry = Registry::new();
    for metric in Metric::ALL {
        let options = Opts::new(metric.exposed_name(), metric.help());
        match metric.sort() {
            Sort::Gauge => {
                let family = GaugeVec::new(options, metric.labels())?;
                for (labels, value) in metric.samples(view) {
                    family.get_metric_with_label_values(&labels)?.set(value);
                }
                registry.register(Box::new(family))?;
            }
            Sort::Counter => {
                let family = CounterVec::new(options, metric.labels())?;
                for (labels, value) in metric.samples(view) {
                    family.get_metric_with_label_values(&labels)?.inc_by(value);
                }
                registry.register(Box::new(family))?;
            }
        }
    }
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The table of all metrics for the documents.
#[must_use]
pub fn reference() -> String {
    let mut page =
        String::from("| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n");
    for metric in Metric::ALL {
        let sort = match metric.sort() {
            Sort::Gauge => "gauge",
            Sort::Counter => "counter",
        };
        let labels: Vec<String> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        let (name, help) = (metric.exposed_name(), metric.help());
        // writing to a string cannot fail
        writeln!(page, "| `{name}` | {sort} | {} | {labels} | {help} |", unit(&name)).ok();
    }
    page
}
