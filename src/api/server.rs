//! Taking connections, with bounds on everything, and checking the token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::edge::view::Viewer;

use super::reply::Refusal;
use super::routes;

/// Connections at once; who polls keeps one.
const CONNECTIONS_MAX: usize = 256;
/// How long a request's head may take: whoever hangs is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of a body: a configuration file is the largest.
const BODY_MAX: usize = 4 << 20;

/// The API, bound and not served yet.
pub struct ApiServer {
    listener: TcpListener,
    router: Router,
}

impl ApiServer {
    /// Binds it. Without a token everybody who reaches the address may do everything.
    ///
    /// # Errors
    /// When the address cannot be bound; the text says why.
    pub async fn bind(listen: SocketAddr, token: Option<String>, viewer: Viewer) -> Result<Self, String> {
        let listener = TcpListener::bind(listen).await.map_err(|error| format!("api.listen {listen}: {error}"))?;
        let token: Option<Arc<str>> = token.map(Into::into);
        let router = routes::router(viewer)
            .layer(middleware::from_fn(move |request: Request, next: Next| guard(token.clone(), request, next)))
            .layer(DefaultBodyLimit::max(BODY_MAX));
        Ok(ApiServer { listener, router })
    }

    /// The address that it is bound to.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until the task is aborted.
    pub async fn serve(self) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of descriptors: a pause instead of a busy loop.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let service = TowerToHyperService::new(self.router.clone());
            tokio::spawn(async move {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                // Whatever ends a connection early is the client's affair.
                let _ = connection.await;
                drop(permit);
            });
        }
    }
}

/// Lets in who shows the token. A browser page of another site shows neither the token nor, without a preflight that
/// nobody answers, a JSON content type.
async fn guard(token: Option<Arc<str>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/healthz" || path == "/readyz" {
        return next.run(request).await;
    }
    match &token {
        // What stands in the body of a refusal would be a row to a node.
        Some(token) if !may(path, request.headers(), token) && path.starts_with(routes::REALTIME) => {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        Some(token) if !may(path, request.headers(), token) => {
            let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
            return refusal.hint("send `Authorization: Bearer TOKEN`, or use --token").into_response();
        }
        None if request.method() != Method::GET && !is_deliberate(path, request.headers()) => {
            let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "changes need a content type");
            return refusal.hint("send `Content-Type: application/json`").into_response();
        }
        _ => {}
    }
    next.run(request).await
}

fn may(path: &str, headers: &HeaderMap, token: &str) -> bool {
    let Some(shown) = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes) else { return false };
    let bearer = shown.strip_prefix(b"Bearer ").is_some_and(|shown| is_the_same(shown, token));
    bearer || (routes::is_for_nodes(path) && password(shown).is_some_and(|shown| is_the_same(&shown, token)))
}

fn is_the_same(shown: &[u8], token: &str) -> bool {
    bool::from(shown.ct_eq(token.as_bytes()))
}

/// The password of `Basic` (RFC 7617), which is all that a URL like `http://edge:TOKEN@ADDRESS/` can show. The user says nothing.
fn password(shown: &[u8]) -> Option<Vec<u8>> {
    let both = BASE64_STANDARD.decode(shown.strip_prefix(b"Basic ")?).ok()?;
    let colon = both.iter().position(|octet| *octet == b':')?;
    Some(both[colon + 1..].to_vec())
}

/// What nodes send are forms and nothing else. A browser that sends one from a page of another site says from where.
fn is_deliberate(path: &str, headers: &HeaderMap) -> bool {
    if routes::is_for_nodes(path) && !headers.contains_key(header::ORIGIN) {
        return true;
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/json") || kind.starts_with("application/yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
    }

    #[test]
    fn nodes_may_show_the_token_as_a_password_and_operators_may_not() {
        // edge:secret, edge:other, :secret and a text without a colon
        let basic = ["ZWRnZTpzZWNyZXQ=", "ZWRnZTpvdGhlcg==", "OnNlY3JldA==", "c2VjcmV0", "%%%"];
        let paths = ["/rt/queues/single", "/api/v1/location/1001/dial", "/api/v1/agents/reserve/dial"];
        for path in paths {
            let found = basic.map(|word| may(path, &headers(&format!("Basic {word}")), "secret"));
            assert_eq!(found, [true, false, true, false, false], "{path}");
            assert!(may(path, &headers("Bearer secret"), "secret") && !may(path, &headers("Bearer other"), "secret"));
            assert!(!may(path, &HeaderMap::new(), "secret"));
        }
        for path in ["/api/v1/config", "/api/v1/agents/1001/state", "/metrics", "/rt"] {
            assert!(!may(path, &headers("Basic ZWRnZTpzZWNyZXQ="), "secret"), "{path}");
            assert!(may(path, &headers("Bearer secret"), "secret"));
        }
    }

    #[test]
    fn a_form_from_a_page_of_another_site_is_nothing_that_a_node_sent() {
        let mut form = HeaderMap::new();
        form.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        assert!(is_deliberate("/rt/queues/single", &form) && is_deliberate(routes::RESERVE_DIAL, &form));
        assert!(!is_deliberate("/api/v1/config/reload", &form));
        form.insert(header::ORIGIN, HeaderValue::from_static("http://elsewhere.example"));
        assert!(!is_deliberate("/rt/queues/single", &form) && !is_deliberate(routes::RESERVE_DIAL, &form));
    }
}
