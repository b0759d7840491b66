//! What survives a restart, and what several edges share.

use std::time::Duration;

use crate::config::checked::{RedisConfig, StoreKind};
use crate::config::keys::StoreWord;
use crate::config::place::Path;
use crate::config::raw::{RawConfig, RawStore};
use crate::config::words::TextOr;

use super::Check;
use super::policies::time;

/// How long a message waits for the shared store, unless the file says otherwise.
const DEADLINE: Duration = Duration::from_millis(20);
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
        let path = Path::to("store").key("redis");
        let url = self.secret(&path.key("url"), Some(&store.redis.url))?;
        if !(url.reveal().starts_with("redis://") && url.reveal().len() > "redis://".len()) {
            self.refuse(&path.key("url"), "is no URL of Redis", Some("redis://[user:password@]host:port/database"));
        }
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
            url,
            namespace: store.redis.namespace.as_ref().map_or_else(|| "cordboard".to_owned(), |name| name.0.0.clone()),
            affinity: store.redis.affinity.unwrap_or_default(),
            deadline: DEADLINE,
            gone_after: GONE_AFTER,
        };
        time(&mut config.deadline, store.redis.deadline);
        time(&mut config.gone_after, store.redis.gone_after);
        Some(config)
    }
}
