//! Asking a node by ARI (HTTP). It blocks, and so runs on threads that may wait.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::Agent;

use crate::asterisk::channels::{Channel, read};
use crate::config::checked::AriConfig;

/// How long an answer may take, from the connection to its last octet. Two thousand channels take a node some 40 ms.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer that is read: some forty thousand channels.
const BODY_MAX: u64 = 16 << 20;

/// Whom to ask, and as whom.
#[derive(Clone)]
pub struct Ari {
    agent: Agent,
    at: Place,
}

/// A URL such as `http://192.0.2.11:8088/ari`, and who asks there.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    url: String,
    authorization: Arc<str>,
}

impl Place {
    /// Who asks, as HTTP says it (RFC 7617).
    pub fn authorization(config: &AriConfig) -> Arc<str> {
        let login = format!("{}:{}", config.user, config.password.reveal());
        format!("Basic {}", STANDARD.encode(login)).into()
    }

    /// That URL, for him.
    pub fn new(url: String, authorization: &Arc<str>) -> Self {
        Place { url, authorization: Arc::clone(authorization) }
    }
}

impl Ari {
    /// Asks there.
    pub fn new(at: Place) -> Self {
        let agent = Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into();
        Ari { agent, at }
    }

    /// True when it asks there.
    pub fn is_at(&self, at: &Place) -> bool {
        self.at == *at
    }

    /// The SIP channels; the reason in words when there is no telling.
    pub fn channels(&self) -> Result<Vec<Channel>, String> {
        let request =
            self.agent.get(format!("{}/channels", self.at.url)).header("Authorization", &*self.at.authorization);
        let mut answer = request.call().map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200 => {}
            401 => return Err("it answers 401: user or password is not that of its ari.conf".to_owned()),
            403 => return Err("it answers 403: is http.conf open for the edge?".to_owned()),
            404 => return Err("it answers 404: are res_ari.so and res_ari_channels.so loaded?".to_owned()),
            code => return Err(format!("it answers {code}")),
        }
        let body = answer.body_mut().with_config().limit(BODY_MAX).read_to_vec();
        let body = body.map_err(|error| error.to_string())?;
        read(&body).map_err(|error| error.to_string())
    }

    /// Hangs a channel up. One that is gone already is as good.
    pub fn hang_up(&self, id: &str) -> Result<(), String> {
        let request = self.agent.delete(format!("{}/channels/{id}", self.at.url));
        let answer =
            request.header("Authorization", &*self.at.authorization).call().map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200..300 | 404 => Ok(()),
            code => Err(format!("it answers {code}")),
        }
    }
}
