//! Who is registered, and where; who is free, and who is not.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Form, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agents::reservation::{HOLD, HOLD_MAX};
use crate::agents::{Cause, Intent};
use crate::edge::located::{self, AgentView, ChangeView, ReservedView, Unsaid};
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
    let dial = if agent.contacts.is_empty() { String::new() } else { located::dial(&agent.user) };
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
    viewer.set_intent(&user, intent, Cause::SupervisorsWord).map(Json).map_err(|why| match why {
        Unsaid::Unknown => unknown(&user),
        Unsaid::Reason(allowed) => Refusal::new(StatusCode::BAD_REQUEST, "that reason is not allowed")
            .hint(format!("one of agents.reasons: {}", allowed.join(", "))),
        Unsaid::Store(error) => Refusal::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()),
    })
}

/// What one agent is doing.
pub async fn agent(state: State<Viewer>, user: Path<String>) -> Result<Json<AgentView>, Refusal> {
    one(state, user).await
}

/// What he did last, the oldest first.
pub async fn history(State(viewer): State<Viewer>, Path(user): Path<String>) -> Result<Json<Vec<ChangeView>>, Refusal> {
    viewer.history(&user).map(Json).ok_or_else(|| unknown(&user))
}

/// Who is wanted for a call.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentWanted {
    /// Skills, all of which he has; none for anybody who is free.
    pub skills: Vec<String>,
    /// The queue that his wrap-up goes by.
    pub queue: Option<String>,
    /// Seconds for which he is held, 1 to 60. Default: 10.
    pub hold_secs: Option<u64>,
}

/// Holds the longest idle agent with the wanted skills.
pub async fn reserve(
    State(viewer): State<Viewer>,
    Json(wanted): Json<AgentWanted>,
) -> Result<Json<ReservedView>, Refusal> {
    hold(&viewer, &wanted).await.map(Json)
}

/// The same as a form sends it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WantedForm {
    /// Skills with commas or blanks between them; `+` is a blank in a form.
    skills: String,
    queue: Option<String>,
    hold_secs: Option<u64>,
}

/// The same for a dialplan, `CURL(URL,skills=sales)`: agent, what to dial, and what the call shows in `X-Edge-Reservation`, with commas
/// between them, and nothing but these when nobody is free.
pub async fn reserve_dial(State(viewer): State<Viewer>, Form(form): Form<WantedForm>) -> Result<String, Refusal> {
    let skills = form.skills.split([',', ' ']).filter(|skill| !skill.is_empty()).map(str::to_owned).collect();
    let view = hold(&viewer, &AgentWanted { skills, queue: form.queue, hold_secs: form.hold_secs }).await?;
    Ok([view.agent, view.dial, view.token].map(Option::unwrap_or_default).join(","))
}

async fn hold(viewer: &Viewer, wanted: &AgentWanted) -> Result<ReservedView, Refusal> {
    let hold = wanted.hold_secs.map_or(HOLD, Duration::from_secs);
    if hold.is_zero() || hold > HOLD_MAX {
        let error = format!("an agent is held for 1 to {} seconds", HOLD_MAX.as_secs());
        return Err(Refusal::new(StatusCode::BAD_REQUEST, error));
    }
    let skills: Vec<&str> = wanted.skills.iter().map(String::as_str).collect();
    viewer.reserve(&skills, wanted.queue.as_deref(), hold).await.map_err(|known| {
        let known = if known.is_empty() { "no user has any".to_owned() } else { known.join(", ") };
        Refusal::new(StatusCode::BAD_REQUEST, format!("no user has all of these skills: {}", skills.join(", ")))
            .hint(format!("skills stand in dispatcher.yaml with the users; known are: {known}"))
    })
}

fn unknown(user: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("there is no user {user:?}"))
        .hint("users stand in dispatcher.yaml under registrar.users, and in registrar.users_file")
}
