//! Samples gathered by family, and their text.
//!
//! A sample that is set twice keeps the later value, so that zeros can be laid out first.

use std::collections::BTreeMap;

use prometheus::{
    TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily},
};

use super::{Kind, Name, number, seconds};

/// Samples by metric and label values.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<&'static str, BTreeMap<Vec<String>, f64>>);

impl Families {
    pub(super) fn gauge(&mut self, name: Name, labels: &[&str], value: f64) {
        let values = labels.iter().map(|label| (*label).to_owned()).collect();
        self.0.entry(name.as_str()).or_default().insert(values, value);
    }

    pub(super) fn count(&mut self, name: Name, labels: &[&str], value: u64) {
        self.gauge(name, labels, number(value));
    }

    pub(super) fn time(&mut self, name: Name, labels: &[&str], at_ms: i64) {
        self.gauge(name, labels, seconds(at_ms));
    }

    /// The exposition, in the order of the names.
    pub(super) fn text(&self) -> String {
        let families: Vec<MetricFamily> =
            Name::ALL.iter().filter_map(|name| Some(family(*name, self.0.get(name.as_str())?))).collect();
        TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| {
            // only an empty family or name can be refused, and neither is made here
            tracing::error!(%error, "the metrics could not be written");
            String::new()
        })
    }
}

fn family(name: Name, samples: &BTreeMap<Vec<String>, f64>) -> MetricFamily {
    let metrics = samples
        .iter()
        .map(|(values, value)| {
            let labels = name.labels().iter().zip(values).map(|(label, value)| {
                let mut pair = LabelPair::default();
                pair.set_name((*label).to_owned());
                pair.set_value(value.clone());
                pair
            });
            let mut metric = Metric::from_label(labels.collect());
            match name.kind() {
                Kind::Counter => {
                    let mut counter = Counter::default();
                    counter.set_value(*value);
                    metric.set_counter(counter);
                }
                Kind::Gauge => {
                    let mut gauge = Gauge::default();
                    gauge.set_value(*value);
                    metric.set_gauge(gauge);
                }
            }
            metric
        })
        .collect();
    let mut family = MetricFamily::default();
    family.set_name(name.as_str().to_owned());
    family.set_help(name.help().to_owned());
    family.set_field_type(name.field_type());
    family.set_metric(metrics);
    family
}
