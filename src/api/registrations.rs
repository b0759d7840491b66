//! Who is registered, and where.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::edge::located::AgentView;
use crate::edge::view::Viewer;

use super::reply::Refusal;

/// Users that one answer lists at most.
const LIMIT_MAX: usize = 100_000;

/// How many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// So many at most.
    limit: Option<usize>,
}

/// Users with at least one phone, by name.
pub async fn list(State(viewer): State<Viewer>, Query(which): Query<Which>) -> Json<Vec<AgentView>> {
    Json(viewer.registrations(which.limit.unwrap_or(1_000).min(LIMIT_MAX)))
}

/// One user's phones: an empty list for one who may register and has not.
pub async fn one(State(viewer): State<Viewer>, Path(aor): Path<String>) -> Result<Json<AgentView>, Refusal> {
    let unknown = || {
        Refusal::new(StatusCode::NOT_FOUND, format!("there is no user {aor:?}"))
            .hint("users stand in dispatcher.yaml under registrar.users")
    };
    viewer.location(&aor).map(Json).ok_or_else(unknown)
}
