//! Logs: one line a change, in text or JSON, and never a line a packet above debug.

use std::fmt;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

/// Changes the level while the edge runs.
#[derive(Clone)]
pub struct LogHandle {
    filter: Option<reload::Handle<EnvFilter, Registry>>,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Starts logging to standard error. `CORDBOARD_LOG` outweighs the level of the configuration.
pub fn start(level: &str, lines: Lines) -> LogHandle {
    let (filter, handle) = reload::Layer::new(filter(level));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let text = || tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    let layer = match lines {
        Lines::Text => text().boxed(),
        Lines::Json => text().json().flatten_event(true).boxed(),
    };
    let started = tracing_subscriber::registry().with(filter).with(layer).try_init();
    // Tests start several edges in one process; the first one has the log.
    LogHandle { filter: started.is_ok().then_some(handle) }
}

impl LogHandle {
    /// A handle that changes nothing.
    pub fn none() -> Self {
        LogHandle { filter: None }
    }

    /// Sets the level.
    pub fn set_level(&self, level: &str) {
        if let Some(handle) = &self.filter {
            let _ = handle.reload(filter(level));
        }
    }
}

fn filter(level: &str) -> EnvFilter {
    let own = std::env::var("CORDBOARD_LOG").unwrap_or_else(|_| format!("warn,cordboard={level}"));
    EnvFilter::try_new(own).unwrap_or_else(|_| EnvFilter::new("warn,cordboard=info"))
}

/// Something personal - a number, an address - that a log may have to leave out.
#[derive(Clone, Copy, Debug)]
pub struct Redacted<T> {
    value: T,
    hidden: bool,
}

impl<T> Redacted<T> {
    /// Marks a value; `hidden` is what the configuration says.
    pub fn new(value: T, hidden: bool) -> Self {
        Redacted { value, hidden }
    }
}

impl<T: fmt::Display> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hidden { f.write_str("***") } else { self.value.fmt(f) }
    }
}
