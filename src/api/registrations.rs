//! Who is registered, and where; who is free, and who is not.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agents::Intent;
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
    viewer.location(&aor).map(Json).ok_or_else(|| unknown(&aor))
}

/// The same for a dialplan: his state, a comma, and what to dial; nothing behind the comma while he is registered nowhere. Who is no
/// user is `unknown`, in words that can be taken apart like the others: CURL() hands on whatever body comes with a 404.
/// `CUT(answer,\,,2)` takes it apart.
pub async fn dial(State(viewer): State<Viewer>, Path(aor): Path<String>) -> (StatusCode, String) {
    let Some(agent) = viewer.location(&aor) else { return (StatusCode::NOT_FOUND, "unknown,".to_owned()) };
    let dial = if agent.contacts.is_empty() { String::new() } else { format!("PJSIP/{}@edge", agent.user) };
    (StatusCode::OK, format!("{},{dial}", agent.state))
}

/// What is wanted of an agent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentState {
    /// `ready`, which also ends a wrap-up, or `not_ready`.
    pub state: String,
    /// Why he is not ready; shown to supervisors.
    pub reason: Option<String>,
}

/// Characters of a reason.
const REASON_MAX: usize = 64;

/// All users, and what they are doing.
pub async fn agents(State(viewer): State<Viewer>, Query(which): Query<Which>) -> Json<Vec<AgentView>> {
    Json(viewer.agents(which.limit.unwrap_or(1_000).min(LIMIT_MAX)))
}

/// Makes an agent ready or not. It is on disk when this is answered.
pub async fn set_state(
    State(viewer): State<Viewer>,
    Path(user): Path<String>,
    Json(wanted): Json<AgentState>,
) -> Result<Json<AgentView>, Refusal> {
    let reason = wanted.reason.unwrap_or_default();
    let intent = match wanted.state.as_str() {
        "ready" => Intent::Ready,
        "not_ready" if reason.chars().count() <= REASON_MAX && !reason.chars().any(char::is_control) => {
            Intent::NotReady(reason.into())
        }
        "not_ready" => {
            let error = format!("a reason has at most {REASON_MAX} characters, none of them control characters");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, error));
        }
        other => {
            let error = format!("{other:?} is nothing that can be said of an agent");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, error).hint("ready or not_ready; the rest is seen"));
        }
    };
    match viewer.set_intent(&user, intent) {
        Some(Ok(view)) => Ok(Json(view)),
        Some(Err(error)) => Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string())),
        None => Err(unknown(&user)),
    }
}

fn unknown(user: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("there is no user {user:?}"))
        .hint("users stand in dispatcher.yaml under registrar.users")
}
