//! Realtime: nodes ask for their queues by `res_config_curl`.
//!
//! Answered from memory. What is no answer has a code of its own and no body: to a node everything in a body is a row.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::asterisk::realtime::{self, Answer};
use crate::edge::view::Viewer;

/// What a node asks of a table.
pub async fn answer(
    State(viewer): State<Viewer>,
    Path((table, operation)): Path<(String, String)>,
    form: Bytes,
) -> Response {
    match viewer.with_policy(|policy| realtime::answer(policy, &table, &operation, &form)) {
        Some(Answer::Found(rows)) => ([(header::CONTENT_TYPE, "text/plain")], rows).into_response(),
        Some(Answer::Unknown) => StatusCode::NOT_FOUND.into_response(),
        Some(Answer::Bad) => StatusCode::BAD_REQUEST.into_response(),
        // Without a registrar there are no agents: that is no word about queues.
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
