//! The configuration: which one serves, loading it again, and what another one would change.

use std::io;
use std::path::Path;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checked::AuthConfig;
use crate::config::{self, Checked, Config, Environment, SystemEnvironment};
use crate::edge::view::{ConfigView, Viewer};
use crate::registrar::users::Secrets;
use crate::registrar::{User, Users};

use super::reply::Refusal;

/// What came of a reload.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReloadView {
    /// True when the file serves now, changed or not.
    pub ok: bool,
    /// What changed.
    pub changes: Vec<String>,
    /// What is wrong with the file.
    pub problems: Vec<String>,
    /// The generation that serves.
    pub generation: String,
}

/// What another file would change.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DiffView {
    /// What would change.
    pub changes: Vec<String>,
    /// What is wrong with the file; then it would not be taken.
    pub problems: Vec<String>,
    /// What is legal and looks wrong.
    pub warnings: Vec<String>,
}

/// The configuration that serves.
pub async fn show(State(viewer): State<Viewer>) -> Json<ConfigView> {
    Json(viewer.status().config)
}

/// Loads the file again. 422 when it was refused; the edge goes on with what it had.
pub async fn reload(State(viewer): State<Viewer>) -> Result<(StatusCode, Json<ReloadView>), Refusal> {
    let Some(report) = viewer.writer.reload("API").await else {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the edge is ending"));
    };
    let mut problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    problems.extend(report.error.clone());
    let status = if report.is_ok { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let changes = report.changes.iter().map(ToString::to_string).collect();
    Ok((status, Json(ReloadView { ok: report.is_ok, changes, problems, generation: report.generation.to_string() })))
}

/// Stands in for variables and files that a posted text names: nobody learns over the API what this machine has. The file of
/// users that serves is the exception, since the edge tells of it anyway.
struct NothingRead<'a> {
    users_file: Option<&'a Path>,
}

impl Environment for NothingRead<'_> {
    fn variable(&self, _: &str) -> Option<String> {
        Some(STAND_IN.to_owned())
    }

    fn first_line(&self, _: &Path) -> io::Result<String> {
        Ok(STAND_IN.to_owned())
    }

    fn users(&self, path: &Path) -> io::Result<Option<String>> {
        if self.users_file == Some(path) { SystemEnvironment.users(path) } else { Ok(None) }
    }
}

/// Long enough for any secret.
const STAND_IN: &str = "a stand-in for a secret that is not read";

/// What the file in the body would change. Secrets are not compared.
pub async fn diff(State(viewer): State<Viewer>, body: Bytes) -> Result<Json<DiffView>, Refusal> {
    let text =
        std::str::from_utf8(&body).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the file is not UTF-8"))?;
    let serving = viewer.writer.status.load().config.clone();
    let lines = |list: &[config::Problem]| list.iter().map(ToString::to_string).collect();
    let environment = NothingRead { users_file: auth_of(&serving).and_then(|auth| auth.users_file.as_deref()) };
    Ok(Json(match config::check(text, &environment) {
        Ok(Checked { mut config, warnings }) => {
            config.edge.secret.clone_from(&serving.edge.secret);
            if let (Some(new), Some(old)) = (&mut config.api, &serving.api) {
                new.token.clone_from(&old.token);
            }
            if let (Some(new), Some(old)) =
                (config.registrar.as_mut().and_then(|own| own.auth.as_mut()), auth_of(&serving))
            {
                new.users = comparable(new, old);
            }
            let changes = config::diff(&serving, &config).iter().map(ToString::to_string).collect();
            DiffView { changes, problems: vec![], warnings: lines(&warnings) }
        }
        Err(problems) => DiffView { changes: vec![], problems: lines(&problems.0), warnings: vec![] },
    }))
}

fn auth_of(config: &Config) -> Option<&AuthConfig> {
    config.registrar.as_ref()?.auth.as_ref()
}

/// The users of a posted text, with the serving ones' secrets where only a stand-in is known; of a file that was not read, the
/// serving users.
fn comparable(new: &AuthConfig, old: &AuthConfig) -> Users {
    if new.users_file.is_some() && new.users_file != old.users_file {
        return old.users.clone();
    }
    Users::new(new.users.iter().map(|(aor, user)| {
        let before = old.users.secrets(aor.as_bytes()).filter(|before| **before != user.secrets);
        let is_stand_in =
            || Secrets::of_password(aor.as_bytes(), new.realm.as_bytes(), STAND_IN.as_bytes()) == user.secrets;
        match before.filter(|_| is_stand_in()) {
            Some(before) => (aor.clone(), User { secrets: before.clone(), ..user.clone() }),
            None => (aor.clone(), user.clone()),
        }
    }))
}
