//! Metrics and logs. Labels come from closed sets only.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracing_subscriber::EnvFilter;

use crate::blob::local::LocalCounters;
#[cfg(feature = "s3")]
use crate::blob::s3::S3Counters;
use crate::blob::tiered::TieredCounters;
use crate::config::{Config, LogFormat};
#[cfg(feature = "postgres")]
use crate::meta::postgres::PgCounters;
use crate::meta::sqlite::SqliteCounters;
use crate::registry::{CacheCounters, SyncCounters};

const METADATA: Metadata<'static> = Metadata::new("quire", Level::INFO, None);

/// Status classes, `1xx` to `5xx`.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds of the duration histogram in seconds.
const BUCKETS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 30.0];

/// The metrics of one server. Nothing is global, so that several servers can live in one process.
pub struct Telemetry {
    handle: PrometheusHandle,
    requests: Vec<[Counter; CLASSES.len()]>,
    durations: Vec<Histogram>,
    pub connections: Gauge,
    pub local: LocalCounters,
    pub tiers: TieredCounters,
    pub sync: SyncCounters,
    #[cfg(feature = "s3")]
    pub s3: S3Counters,
    pub sqlite: SqliteCounters,
    #[cfg(feature = "postgres")]
    pub postgres: PgCounters,
    pub cache: CacheCounters,
}

impl Telemetry {
    /// `routes` are the values that the label `route` can have.
    pub fn new(routes: &[&'static str]) -> Self {
        let builder = PrometheusBuilder::new();
        let recorder = match builder.set_buckets(&BUCKETS) {
            Ok(builder) => builder.build_recorder(),
            Err(_) => PrometheusBuilder::new().build_recorder(),
        };
        describe(&recorder);
        let counter = |name: &'static str, labels: Vec<Label>| {
            recorder.register_counter(&Key::from_parts(name, labels), &METADATA)
        };
        let gauge = |name: &'static str| recorder.register_gauge(&Key::from_static_name(name), &METADATA);
        let label = |key: &'static str, value: &'static str| vec![Label::from_static_parts(key, value)];
        let requests = routes.iter().map(|route| {
            CLASSES.map(|class| {
                let labels = [label("route", route), label("status", class)].concat();
                counter("quire_http_requests_total", labels)
            })
        });
        let durations = routes.iter().map(|route| {
            let key = Key::from_parts("quire_http_request_duration_seconds", label("route", route));
            recorder.register_histogram(&key, &METADATA)
        });
        Self {
            requests: requests.collect(),
            durations: durations.collect(),
            connections: gauge("quire_http_connections"),
            local: LocalCounters {
                opens: counter("quire_blob_store_operations_total", label("operation", "open")),
                puts: counter("quire_blob_store_operations_total", label("operation", "put")),
            },
            tiers: TieredCounters {
                near_hits: counter("quire_near_hits_total", Vec::new()),
                fills: counter("quire_fills_total", label("outcome", "done")),
                fills_unavailable: counter("quire_fills_total", label("outcome", "unavailable")),
                fills_wrong: counter("quire_fills_total", label("outcome", "wrong_bytes")),
                fills_broken: counter("quire_fills_total", label("outcome", "failed")),
                evictions: counter("quire_near_evictions_total", Vec::new()),
                near_bytes: gauge("quire_near_bytes"),
                shipped: counter("quire_shipments_total", label("outcome", "done")),
                ship_failures: counter("quire_shipments_total", label("outcome", "failed")),
                outbox_entries: gauge("quire_outbox_blobs"),
                outbox_oldest: gauge("quire_outbox_oldest_seconds"),
            },
            sync: SyncCounters {
                fetched: counter("quire_sync_blobs_total", label("outcome", "fetched")),
                shipped: counter("quire_sync_blobs_total", label("outcome", "shipped")),
                failures: counter("quire_sync_blobs_total", label("outcome", "failed")),
                missing_hot: gauge("quire_sync_missing_hot"),
                missing_all: gauge("quire_sync_missing_all"),
                failing: gauge("quire_sync_failing"),
            },
            #[cfg(feature = "s3")]
            s3: S3Counters::new(
                |operation, outcome| {
                    let labels = [label("operation", operation.label()), label("outcome", outcome.label())];
                    counter("quire_s3_calls_total", labels.concat())
                },
                counter("quire_s3_retries_total", Vec::new()),
                gauge("quire_s3_breaker"),
            ),
            sqlite: SqliteCounters {
                reads: counter("quire_metadata_operations_total", label("kind", "read")),
                polls: counter("quire_metadata_operations_total", label("kind", "poll")),
                writes: counter("quire_metadata_operations_total", label("kind", "write")),
            },
            #[cfg(feature = "postgres")]
            postgres: PgCounters {
                reads: counter("quire_metadata_operations_total", label("kind", "read")),
                polls: counter("quire_metadata_operations_total", label("kind", "poll")),
                writes: counter("quire_metadata_operations_total", label("kind", "write")),
                retries: counter("quire_metadata_retries_total", Vec::new()),
            },
            cache: CacheCounters {
                hits: counter("quire_link_cache_lookups_total", label("outcome", "hit")),
                misses: counter("quire_link_cache_lookups_total", label("outcome", "miss")),
            },
            handle: recorder.handle(),
        }
    }

    /// Counts an answered request; `route` is an index into the routes given at the start.
    pub fn request(&self, route: usize, status: u16, duration: Duration) {
        let class = usize::from(status / 100).saturating_sub(1).min(CLASSES.len() - 1);
        if let Some(counters) = self.requests.get(route) {
            counters[class].increment(1);
        }
        if let Some(histogram) = self.durations.get(route) {
            histogram.record(duration);
        }
    }

    /// Folds durations into their buckets. Until then each takes memory of its own, so this has to be called
    /// every few seconds, also where nobody reads the metrics.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The Prometheus text.
    pub fn render(&self) -> String {
        self.upkeep();
        self.handle.render()
    }
}

fn describe(recorder: &PrometheusRecorder) {
    for (name, text) in [
        ("quire_http_requests_total", "Requests answered, by route and class of status."),
        ("quire_blob_store_operations_total", "Operations of the blob store that went to the disk."),
        ("quire_near_hits_total", "Blobs opened from the data folder, where S3 is behind it."),
        ("quire_fills_total", "Blobs fetched from S3; wrong_bytes: S3 has a damaged one."),
        ("quire_near_evictions_total", "Blobs that the data folder gave up because it was full."),
        ("quire_shipments_total", "Blobs brought to S3 after their push, or tries of it that failed."),
        ("quire_sync_blobs_total", "Blobs that the sync after a start moved, or tries of it that failed."),
        ("quire_s3_calls_total", "Calls of S3, by operation and outcome; a call may take several requests."),
        ("quire_s3_retries_total", "Requests to S3 that repeated another one."),
        ("quire_metadata_operations_total", "Transactions of the metadata store."),
        #[cfg(feature = "postgres")]
        (
            "quire_metadata_retries_total",
            "Transactions that were begun again, as others got in the way or a connection was lost.",
        ),
        ("quire_link_cache_lookups_total", "Lookups of links, manifests and tags in memory."),
    ] {
        recorder.describe_counter(name.into(), None, text.into());
    }
    for (name, text) in [
        ("quire_http_connections", "Open connections."),
        ("quire_near_bytes", "Bytes in the data folder, where near_max_bytes bounds them."),
        ("quire_outbox_blobs", "Blobs that S3 has to get yet."),
        ("quire_outbox_oldest_seconds", "How long the oldest of them has waited."),
        (
            "quire_s3_breaker",
            "Whether S3 is left alone because it did not answer: 0 no, 1 yes, 0.5 while one call tries.",
        ),
    ] {
        recorder.describe_gauge(name.into(), None, text.into());
    }
    let text = "Seconds from the request's head to the answer's head.";
    recorder.describe_histogram("quire_http_request_duration_seconds".into(), None, text.into());
}

/// Reads the filter of log lines; the error says what is wrong with it.
pub fn log_filter(config: &Config) -> Result<EnvFilter, String> {
    let filter = EnvFilter::try_new(&config.log).map_err(|error| format!("log: {error}"))?;
    // At finer levels it tells the values of parameters, and some of those are secrets.
    let open = "tokio_postgres::query=info".parse().map_err(|error| format!("log: {error}"))?;
    Ok(filter.add_directive(open))
}

/// Sends log lines to standard error.
pub fn start_logging(config: &Config) -> Result<(), String> {
    let filter = log_filter(config)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|error| error.to_string())
}
