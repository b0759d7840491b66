//! `cordboard run`

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::api::agi::AgiServer;
use crate::api::server::ApiServer;
use crate::config::SystemEnvironment;
use crate::config::checked::LogFormat;
use crate::edge::start::{Edge, Start, StartError};
use crate::store::StoreError;
use crate::telemetry::{self, Lines};

use super::exit::{CommandResult, Exit, Failure};

/// Runs the edge until it is told to stop.
pub fn run(file: &Path) -> CommandResult {
    let checked = super::files::load(file)?;
    let lines = if checked.config.log.format == LogFormat::Json { Lines::Json } else { Lines::Text };
    let log = telemetry::start(checked.config.log.level.as_str(), lines);
    for warning in &checked.warnings {
        tracing::warn!("{}:{warning}", file.display());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::NoStart, format!("no runtime: {error}")))?;
    let start = Start { checked, path: file.to_path_buf(), environment: Arc::new(SystemEnvironment), log };
    let result = runtime.block_on(serve(start));
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

async fn serve(start: Start) -> CommandResult {
    let config = start.checked.config.clone();
    let no_start = |message: String| Failure::new(Exit::NoStart, message);
    let edge = Edge::start(start).await.map_err(|error| with_hint(&error))?;
    if let Some(api) = &config.api {
        let token = api.token.as_ref().map(|token| token.reveal().to_owned());
        let server = ApiServer::bind(api.listen, token, edge.viewer()).await.map_err(no_start)?;
        tracing::info!("API at http://{}", api.listen);
        tokio::spawn(server.serve());
    }
    if let Some(listen) = config.registrar.as_ref().and_then(|registrar| registrar.agi) {
        let server = AgiServer::bind(listen, edge.viewer()).await.map_err(no_start)?;
        tracing::info!("FastAGI at agi://{listen}");
        tokio::spawn(server.serve());
    }
    let signals = || signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut term, mut interrupt) = signals().map_err(|error| no_start(error.to_string()))?;
    tell_systemd(&[sd_notify::NotifyState::Ready]);
    let watchdog = tokio::spawn(feed_watchdog());
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    watchdog.abort();
    tell_systemd(&[sd_notify::NotifyState::Stopping]);
    let calls = edge.viewer().call_counts().open();
    tracing::info!(
        "stopping: no new calls, {calls} go on, for {:?} at most; a second signal ends it now",
        config.stop_wait
    );
    let hurry = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let left = edge.drain(hurry).await;
    edge.end().await.map_err(|error| Failure::new(Exit::Failed, format!("the store was not written: {error}")))?;
    tracing::info!("ended; {left} calls go on without the edge and are known again when it is back");
    Ok(Exit::Done)
}

fn with_hint(error: &StartError) -> Failure {
    let failure = Failure::new(Exit::NoStart, error.to_string());
    match error {
        StartError::Store(StoreError::InUse(_)) => {
            failure.hint("end that one first, or give this edge another edge.state_dir")
        }
        StartError::Store(_) => failure.hint("edge.state_dir must be a folder that this user can write"),
        StartError::Listen(_) => failure.hint("see `listen` in the configuration"),
        StartError::Resolve(_) => failure.hint("see `dns` in the configuration, and /etc/resolv.conf"),
    }
}

fn tell_systemd(states: &[sd_notify::NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}

/// Tells systemd's watchdog that the runtime still turns.
async fn feed_watchdog() {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    loop {
        tell_systemd(&[sd_notify::NotifyState::Watchdog]);
        tokio::time::sleep(period / 2).await;
    }
}
