//! Comparing calls with the nodes' channels.

use crate::config::checked::{AriConfig, AriWord, NodeConfig};
use crate::config::numbers::show_time;
use crate::config::place::Path;
use crate::config::raw::{RawAri, RawConfig};

use super::policies::time;
use super::{Check, Placed};

impl Check<'_> {
    pub(super) fn ari(&mut self, raw: Option<&RawAri>) -> Option<AriConfig> {
        let raw = raw?;
        let path = Path::to("ari");
        let password = self.secret(&path.key("password"), Some(&raw.password));
        let (mut interval, mut grace) = (AriConfig::INTERVAL, AriConfig::GRACE);
        time(&mut interval, raw.interval);
        time(&mut grace, raw.grace);
        if grace > interval {
            let what = format!("must not be longer than the interval, {}", show_time(interval));
            self.refuse(&path.key("grace"), what, None);
        }
        Some(AriConfig {
            user: raw.user.as_ref().map_or_else(|| AriConfig::USER.to_owned(), |user| user.0.0.clone()),
            password: password?,
            port: raw.port.map_or(AriConfig::PORT, |port| port.0.0 as u16),
            interval,
            grace,
            surplus: raw.surplus.unwrap_or_default(),
        })
    }

    /// A node's own place of its ARI needs the section that says who asks.
    pub(super) fn ari_of_nodes(&mut self, raw: &RawConfig, nodes: &[Placed<NodeConfig>]) {
        if raw.ari.is_some() || self.tree.is_lost(&Path::to("ari")) {
            return;
        }
        for node in nodes.iter().filter(|node| matches!(node.value.ari, Some(AriWord::Url(_)))) {
            let hint = "ari: { user: edge, password: \"${ARI_PASSWORD}\" }";
            self.refuse(&node.path.key("ari"), "there is no section `ari`, which says who asks", Some(hint));
        }
    }
}
