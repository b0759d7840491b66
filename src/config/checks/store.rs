//! What survives a restart, and what several edges share.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::checked::{RedisAt, RedisConfig, Secret, StoreKind};
use crate::config::keys::StoreWord;
use crate::config::names::SentinelAt;
use crate::config::place::Path;
use crate::config::raw::{RawConfig, RawRedis, RawStore};
use crate::config::words::{Given, TextOr, quoted};
use crate::store::way::is_url;

use super::Check;
use super::policies::time;

/// How long a message waits for the shared store, unless the file says otherwise.
const DEADLINE: Duration = Duration::from_millis(20);
/// Sentinels that are asked at most.
const SENTINELS_MAX: usize = 16;
/// How long an edge may be silent, unless the file says otherwise.
const GONE_AFTER: Duration = Duration::from_secs(3);

/// What keeps leases on this machine.
pub(super) fn kept(raw: Option<&TextOr<StoreWord, RawStore>>) -> StoreKind {
    match raw {
        Some(TextOr::Text(word)) => word.0,
        Some(TextOr::Map(_)) | None => StoreKind::Embedded,
    }
}

impl Check<'_> {
    pub(super) fn redis(&mut self, raw: &RawConfig) -> Option<RedisConfig> {
        let Some(TextOr::Map(store)) = &raw.store else { return None };
        let at = self.redis_at(&store.redis);
        let password = self.redis_user(&store.redis, at.as_ref());
        let ca = self.redis_ca(&store.redis, at.as_ref());
        let edge = raw.edge.as_ref();
        if edge.is_none_or(|edge| edge.secret.is_none()) {
            let hint = "secret: \"${CORDBOARD_SECRET}\"";
            self.refuse(&Path::to("edge").key("secret"), "edges that share a store need the same secret", Some(hint));
        }
        if edge.is_none_or(|edge| edge.name.is_none()) {
            let what = "edges that share a store need names of their own";
            self.refuse(&Path::to("edge").key("name"), what, Some("name: edge-1"));
        }
        let mut config = RedisConfig {
            at: at?,
            user: store.redis.user.as_ref().map(|user| user.0.0.clone()),
            password,
            ca,
            namespace: store.redis.namespace.as_ref().map_or_else(|| "cordboard".to_owned(), |name| name.0.0.clone()),
            affinity: store.redis.affinity.unwrap_or_default(),
            deadline: DEADLINE,
            gone_after: GONE_AFTER,
        };
        time(&mut config.deadline, store.redis.deadline);
        time(&mut config.gone_after, store.redis.gone_after);
        Some(config)
    }

    /// Where Redis is: at a URL, or where sentinels say.
    fn redis_at(&mut self, raw: &RawRedis) -> Option<RedisAt> {
        let path = Path::to("store").key("redis");
        match (&raw.url, &raw.sentinels) {
            (Some(url), None) => {
                if raw.master.is_some() {
                    let hint = "sentinels: [HOST:PORT, HOST:PORT, HOST:PORT]";
                    self.refuse(&path.key("master"), "is a name that sentinels know, and there are none", Some(hint));
                }
                let url = self.secret(&path.key("url"), Some(url))?;
                if !is_url(url.reveal()) {
                    let hint = "redis://[user:password@]host:port/database, or rediss:// for TLS";
                    self.refuse(&path.key("url"), "is no URL of Redis", Some(hint));
                    return None;
                }
                Some(RedisAt::Url(url))
            }
            (None, Some(sentinels)) => self.sentinels(raw, sentinels),
            (Some(_), Some(_)) => {
                let hint = "leave `url` out; user, password and ca stand beside it";
                self.refuse(&path.key("sentinels"), "`url` and `sentinels` both say where Redis is", Some(hint));
                None
            }
            (None, None) => {
                if !self.tree.is_lost(&path.key("url")) && !self.has_lost_items(&path.key("sentinels")) {
                    let hint = "url: \"redis://HOST:6379\", or sentinels: [HOST, HOST, HOST] and master: NAME";
                    self.refuse(&path, "does not say where Redis is", Some(hint));
                }
                None
            }
        }
    }

    fn sentinels(&mut self, raw: &RawRedis, sentinels: &[Given<SentinelAt>]) -> Option<RedisAt> {
        let path = Path::to("store").key("redis");
        if !(1..=SENTINELS_MAX).contains(&sentinels.len()) && !self.has_lost_items(&path.key("sentinels")) {
            let what = format!("must be 1 to {SENTINELS_MAX} sentinels");
            self.refuse(&path.key("sentinels"), what, Some("three of them on three machines agree on one master"));
        }
        let Some(master) = &raw.master else {
            if !self.tree.is_lost(&path.key("master")) {
                let hint = "master: mymaster, the name in `sentinel monitor` of sentinel.conf";
                self.refuse(&path.key("sentinels"), "sentinels need the name of the master", Some(hint));
            }
            return None;
        };
        let sentinels = sentinels.iter().map(|given| (given.0.0.clone(), given.0.1)).collect();
        Some(RedisAt::Sentinels { sentinels, master: master.0.0.clone() })
    }

    /// The password that stands beside the URL, and whether it may.
    fn redis_user(&mut self, raw: &RawRedis, at: Option<&RedisAt>) -> Option<Secret> {
        let path = Path::to("store").key("redis");
        let password = self.secret(&path.key("password"), raw.password.as_ref());
        if raw.user.is_some() && raw.password.is_none() && !self.tree.is_lost(&path.key("password")) {
            self.refuse(&path.key("user"), "a user needs a password", Some("password: \"${REDIS_PASSWORD}\""));
        }
        let has_user = matches!(at, Some(RedisAt::Url(url)) if url.reveal().contains('@'));
        if has_user && (raw.user.is_some() || raw.password.is_some()) {
            let key = if raw.password.is_some() { "password" } else { "user" };
            let hint = "leave it out there: redis://HOST:PORT/DATABASE";
            self.refuse(&path.key(key), "stands in `url` already", Some(hint));
        }
        password
    }

    /// The file of authorities, which can be read and is of use.
    fn redis_ca(&mut self, raw: &RawRedis, at: Option<&RedisAt>) -> Option<PathBuf> {
        let path = Path::to("store").key("redis").key("ca");
        let ca = raw.ca.as_ref()?.0.0.clone();
        if matches!(at, Some(RedisAt::Url(url)) if !url.reveal().starts_with("rediss://")) {
            self.refuse(&path, "authorities are for TLS, and `url` is without", Some("rediss://HOST:PORT"));
        }
        if let Err(error) = self.environment.first_line(&ca) {
            let what = format!("{} cannot be read: {error}", quoted(&ca.display().to_string()));
            self.refuse(&path, what, Some("the edge's user must be able to read it"));
        }
        Some(ca)
    }
}
