//! Asking a running edge.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::Response;

use crate::api::reply::Problem;
use crate::config::{self, SystemEnvironment};

use super::exit::{Exit, Failure};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one edge.
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client of the edge that the command line or the configuration file names.
    pub fn find(file: &Path, api: Option<&str>, token: Option<&str>) -> Result<Self, Failure> {
        let (mut base, mut found_token) = (api.map(str::to_owned), token.map(str::to_owned));
        if base.is_none() {
            let (url, file_token) = from_file(file)?;
            base = Some(url);
            found_token = found_token.or(file_token);
        }
        let base = base.unwrap_or_default().trim_end_matches('/').to_owned();
        let base = if base.contains("://") { base } else { format!("http://{base}") };
        let agent = Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build();
        Ok(Client { agent: agent.into(), base, token: found_token })
    }

    /// Reads something.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let (code, text) = self.get_text(path)?;
        parse(code, &text)
    }

    /// Reads something as text, with the status.
    pub fn get_text(&self, path: &str) -> Result<(u16, String), Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        self.read(request.call())
    }

    /// Reads something that has no end, line by line. No time is too long for the next line.
    pub fn follow(&self, path: &str) -> Result<Box<dyn BufRead>, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base)).config().timeout_global(None).build();
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let answer = request.call().map_err(|error| self.unreachable(&error))?;
        if answer.status().as_u16() >= 400 {
            let (code, text) = self.read(Ok(answer))?;
            return Err(refused(code, &text));
        }
        Ok(Box::new(BufReader::new(answer.into_body().into_reader())))
    }

    /// Changes something. `method` is `PUT` or `POST`.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &str) -> Result<(u16, String), Failure> {
        let url = format!("{}{path}", self.base);
        let mut request = if method == "PUT" { self.agent.put(url) } else { self.agent.post(url) };
        request = request.header("Content-Type", kind);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        self.read(request.send(body))
    }

    fn read(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> Result<(u16, String), Failure> {
        let mut answer = answer.map_err(|error| self.unreachable(&error))?;
        let text = answer.body_mut().with_config().limit(64 << 20).read_to_string();
        let text = text.map_err(|error| self.unreachable(&error))?;
        Ok((answer.status().as_u16(), text))
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::new(Exit::NoEdge, format!("no edge answers at {}: {error}", self.base))
            .hint("is `cordboard run` running? --api URL names another one")
    }
}

/// The answer, or the edge's own words why not.
pub fn parse<T: DeserializeOwned>(code: u16, text: &str) -> Result<T, Failure> {
    if code >= 400 {
        return Err(refused(code, text));
    }
    serde_json::from_str(text).map_err(|error| {
        Failure::new(Exit::Failed, format!("the edge's answer cannot be read: {error}"))
            .hint("is it an edge of another version?")
    })
}

/// The edge's own words why not.
fn refused(code: u16, text: &str) -> Failure {
    match serde_json::from_str::<Problem>(text) {
        Ok(problem) => problem.hint.into_iter().fold(Failure::new(Exit::Failed, problem.error), Failure::hint),
        Err(_) => Failure::new(Exit::Failed, format!("the edge answered {code}: {}", text.trim())),
    }
}

fn from_file(file: &Path) -> Result<(String, Option<String>), Failure> {
    let failed = |message: String| {
        Failure::new(Exit::BadConfig, message).hint("--api URL names the edge without a configuration file")
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(format!("{}: {error}", file.display())))?;
    let checked = config::check(&text, &SystemEnvironment).map_err(|problems| {
        failed(format!("{} has problems:\n{}", file.display(), problems.shown(&file.display().to_string())))
    })?;
    let api = checked.config.api.ok_or_else(|| failed(format!("{}: the API is off", file.display())))?;
    let mut address = api.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    Ok((format!("http://{address}"), api.token.map(|token| token.reveal().to_owned())))
}

/// A text as one part of a path.
pub fn path_part(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_of_any_text_is_one_part_of_a_path() {
        assert_eq!(path_part("a/b?c#d@e é%"), "a%2Fb%3Fc%23d%40e%20%C3%A9%25");
    }
}
