//! Families of series made for one scrape.

use prometheus::{GaugeVec, IntCounterVec, Opts, core::Collector as _, proto::MetricFamily};

/// Names of the labels of a family.
pub(super) type Labels<'a> = &'a [&'a str];

/// What was added so far.
#[derive(Default)]
pub(super) struct Families {
    counters: Vec<Counters>,
    gauges: Vec<Gauges>,
}

/// A family of counters; clones are the same family.
#[derive(Clone)]
pub(super) struct Counters(IntCounterVec);

/// A family of gauges; clones are the same family.
#[derive(Clone)]
pub(super) struct Gauges(GaugeVec);

impl Counters {
    /// Adds to the series with these values of the labels.
    pub(super) fn add(&self, values: &[&str], count: u64) {
        self.0.with_label_values(values).inc_by(count);
    }
}

impl Gauges {
    /// Sets the series with these values of the labels.
    pub(super) fn set(&self, values: &[&str], value: f64) {
        self.0.with_label_values(values).set(value);
    }

    /// Raises the series to a value that is larger than what it has; a new one has it at once.
    pub(super) fn raise(&self, values: &[&str], value: f64) {
        let gauge = self.0.with_label_values(values);
        gauge.set(gauge.get().max(value));
    }
}

impl Families {
    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        labels: Labels<'_>,
    ) -> Result<Counters, prometheus::Error> {
        let family = Counters(IntCounterVec::new(Opts::new(name, help), labels)?);
        self.counters.push(family.clone());
        Ok(family)
    }

    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        labels: Labels<'_>,
    ) -> Result<Gauges, prometheus::Error> {
        let family = Gauges(GaugeVec::new(Opts::new(name, help), labels)?);
        self.gauges.push(family.clone());
        Ok(family)
    }

    /// A counter without labels.
    pub(super) fn plain_counter(
        &mut self,
        name: &str,
        help: &str,
        count: u64,
    ) -> Result<(), prometheus::Error> {
        self.counter(name, help, &[])?.add(&[], count);
        Ok(())
    }

    /// A gauge without labels.
    pub(super) fn plain_gauge(
        &mut self,
        name: &str,
        help: &str,
        value: f64,
    ) -> Result<(), prometheus::Error> {
        self.gauge(name, help, &[])?.set(&[], value);
        Ok(())
    }

    pub(super) fn into_inner(self) -> impl Iterator<Item = MetricFamily> {
        let counters = self.counters.into_iter().flat_map(|family| family.0.collect());
        let gauges = self.gauges.into_iter().flat_map(|family| family.0.collect());
        counters.chain(gauges)
    }
}
