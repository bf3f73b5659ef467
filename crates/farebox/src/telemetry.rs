//! Events of the process, on standard error. The request log is the gateway's own.

use farebox_config::build::LogSettings;
use farebox_config::file::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Sends events to standard error from now on; a second call in one process changes nothing.
pub(crate) fn start(settings: &LogSettings) {
    // The filter was checked when the configuration was built.
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
        LogFormat::Text | LogFormat::Off => builder.with_ansi(false).finish().try_init(),
    };
    drop(started);
}
