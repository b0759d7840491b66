//! Server-Sent Events: what happens, as it happens.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::edge::events::{News, WATCHERS_MAX};
use crate::edge::view::Viewer;

use super::reply::Refusal;

/// After so long without news a comment is sent, so that proxies and watchers know that the connection is alive.
const QUIET: Duration = Duration::from_secs(15);

/// What is watched.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Kinds of news with commas between them; all of them if not given.
    kind: Option<String>,
}

/// News from here on, each with its kind as the event's name and JSON as its data. `lost` tells that a watcher was too slow, and how many
/// news it missed: time to ask for the state again.
pub async fn stream(
    State(viewer): State<Viewer>,
    Query(which): Query<Which>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let wanted = wanted(which.kind.as_deref())?;
    let Some(watcher) = viewer.engine.events.watch() else {
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("{WATCHERS_MAX} watch already"));
        return Err(refusal.hint("end some of them; one watcher can serve many pages"));
    };
    let news = unfold((watcher, wanted), |(mut watcher, wanted)| async move {
        let event = next(&mut watcher, &wanted).await?;
        Some((Ok(event), (watcher, wanted)))
    });
    Ok(Sse::new(news).keep_alive(KeepAlive::new().interval(QUIET)))
}

fn wanted(kinds: Option<&str>) -> Result<BTreeSet<&'static str>, Refusal> {
    let Some(kinds) = kinds else { return Ok(News::KINDS.into()) };
    let known = |word: &str| News::KINDS.into_iter().find(|kind| *kind == word);
    kinds.split(',').map(|word| known(word).ok_or_else(|| unknown(word))).collect()
}

fn unknown(word: &str) -> Refusal {
    let refusal = Refusal::new(StatusCode::BAD_REQUEST, format!("there are no events of the kind {word:?}"));
    refusal.hint(format!("there are {}", News::KINDS.join(", ")))
}

/// The next event that is wanted; none when the edge ends.
async fn next(watcher: &mut Receiver<News>, wanted: &BTreeSet<&str>) -> Option<Event> {
    loop {
        match watcher.recv().await {
            Ok(news) if wanted.contains(news.kind()) => {
                return Event::default().event(news.kind()).json_data(news).ok();
            }
            Ok(_) => {}
            Err(RecvError::Lagged(count)) => {
                return Some(Event::default().event("lost").data(format!("{{\"event\":\"lost\",\"news\":{count}}}")));
            }
            Err(RecvError::Closed) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_chosen_by_their_words() {
        assert_eq!(wanted(None).unwrap().len(), News::KINDS.len());
        assert_eq!(wanted(Some("call,agent")).unwrap(), BTreeSet::from(["agent", "call"]));
        assert!(wanted(Some("agents")).is_err());
    }
}
