//! How Redis is reached: at an address, or at the one that sentinels name; in the clear or by TLS; as a user of its list, with the one
//! password that there is, or as anybody.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisError, RedisResult, TlsCertificates,
};
use tokio::task::JoinSet;

/// How long a sentinel may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How Redis is reached.
#[derive(Clone)]
pub struct Way {
    /// Where it is, or who knows.
    pub at: At,
    /// The user, if it is not the one of the URL or the default one.
    pub user: Option<String>,
    /// The password, if it does not stand in the URL.
    pub password: Option<String>,
    /// Authorities whose certificates are believed, in PEM. Without them, for TLS, those of the machine.
    pub authorities: Option<Vec<u8>>,
}

/// Where Redis is.
#[derive(Clone)]
pub enum At {
    /// At `redis://[user:password@]host:port/database`, or `rediss://` for TLS.
    Url(String),
    /// Where most of these say that the master is. With [`Way::authorities`] all of them are reached by TLS.
    Sentinels {
        /// Hosts and ports.
        sentinels: Vec<(String, u16)>,
        /// The name that they know the master by.
        master: String,
    },
}

/// True when Redis can be at this URL.
pub fn is_url(url: &str) -> bool {
    (url.starts_with("redis://") || url.starts_with("rediss://")) && url.into_connection_info().is_ok()
}

impl Way {
    /// By a URL and nothing else.
    pub fn by_url(url: &str) -> Self {
        Way { at: At::Url(url.to_owned()), user: None, password: None, authorities: None }
    }

    /// The client for an address that does not change.
    ///
    /// # Errors
    /// When the URL is none, or the authorities cannot be read.
    pub fn client(&self) -> RedisResult<Option<Client>> {
        match &self.at {
            At::Url(url) => self.client_of(url.as_str().into_connection_info()?, true).map(Some),
            // Nobody is asked yet, but a file that says nothing is told at once.
            At::Sentinels { .. } => self.client_at("localhost", 1, true).map(|_| None),
        }
    }

    /// Where the master is by now, as most of the sentinels say; `None` when none of them answers.
    pub async fn master(&self) -> Option<(String, u16)> {
        let At::Sentinels { sentinels, master } = &self.at else { return None };
        let mut asked = JoinSet::new();
        for (host, port) in sentinels {
            // One that cannot be asked has no vote.
            let Ok(client) = self.client_at(host, *port, false) else { continue };
            asked.spawn(ask(client, master.clone()));
        }
        let mut votes: BTreeMap<(String, u16), usize> = BTreeMap::new();
        while let Some(answer) = asked.join_next().await {
            if let Ok(Ok(Some(address))) = answer {
                *votes.entry(address).or_default() += 1;
            }
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(address, _)| address)
    }

    /// The client for a server that sentinels named, or for one of them: those are asked as anybody.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn client_at(&self, host: &str, port: u16, is_server: bool) -> RedisResult<Client> {
        let (host, tls) = (host.to_owned(), self.authorities.is_some());
        let address = if tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        self.client_of(address.into_connection_info()?, is_server)
    }

    fn client_of(&self, mut info: redis::ConnectionInfo, is_server: bool) -> RedisResult<Client> {
        if is_server {
            let mut settings = info.redis_settings().clone();
            if let Some(user) = &self.user {
                settings = settings.set_username(user);
            }
            if let Some(password) = &self.password {
                settings = settings.set_password(password);
            }
            info = info.set_redis_settings(settings);
        }
        match &self.authorities {
            Some(pem) => {
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) })
            }
            None => Client::open(info),
        }
    }
}

async fn ask(client: Client, master: String) -> Result<Option<(String, u16)>, RedisError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).query_async(&mut connection).await
}
