//! Events of the process, on standard error. The request log is the gateway's own.

mod repeats;

use std::time::Duration;

use farebox_config::build::LogSettings;
use farebox_config::file::LogFormat;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use repeats::Repeats;

/// How often it is told how many repeated lines were left out.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Sends events to standard error from now on; a second call in one process changes nothing.
pub(crate) fn start(settings: &LogSettings) {
    let (repeats, left_out) = Repeats::new();
    let layer = fmt::layer().with_writer(std::io::stderr);
    let layer = match settings.format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Text | LogFormat::Off => layer.with_ansi(false).boxed(),
    };
    let layer = layer
        .with_filter(repeats)
        .with_filter(filter(&settings.level));
    if tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .is_err()
    {
        return;
    }
    // Ends with the process. Without it, only that lines were left out is not told.
    let tells = move || loop {
        std::thread::sleep(TELL_EVERY);
        left_out.tell();
    };
    if let Err(error) = std::thread::Builder::new()
        .name("log-repeats".to_owned())
        .spawn(tells)
    {
        tracing::warn!(%error, "nobody tells how many repeated lines are left out");
    }
}

/// What is logged at a level, or by directives. A level alone is meant for our own lines: what the
/// crates below us warn of, a client can often cause.
fn filter(level: &str) -> EnvFilter {
    let is_level = level.parse::<tracing::Level>().is_ok();
    let directives = if is_level {
        format!("error,farebox={level}")
    } else {
        level.to_owned()
    };
    // The directives were checked when the configuration was built.
    EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("error,farebox=info"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_meant_for_our_own_lines_and_directives_for_what_they_name() {
        assert_eq!(filter("info").to_string(), "farebox=info,error");
        assert_eq!(filter("h2=debug").to_string(), "h2=debug");
        assert_eq!(filter("off").to_string(), "off");
    }
}
