//! Where several edges meet: what is taken, and every kind of mistake.

use std::io;
use std::path::Path;

use super::checked::RedisAt;
use super::*;

const FILE: &str = "\
edge: { name: edge-1, secret: \"sixteen octets at least\" }
listen: [\"udp://127.0.0.10:5060\"]
pools: { inbound: { nodes: [{ name: ast-1, uri: \"sip:127.0.0.11\" }] } }
";

/// An environment in which there are `/etc/ca.pem` and a password.
struct Here;

impl Environment for Here {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "REDIS_PASSWORD").then(|| "a password".to_owned())
    }

    fn first_line(&self, path: &Path) -> io::Result<String> {
        let is_there = path == Path::new("/etc/ca.pem");
        if is_there { Ok("-----BEGIN CERTIFICATE-----".to_owned()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn users(&self, _: &Path) -> io::Result<Option<String>> {
        Ok(None)
    }
}

fn checked(redis: &str) -> Result<Config, ConfigProblems> {
    let store = if redis.is_empty() { String::new() } else { format!("store: {{ redis: {{ {redis} }} }}\n") };
    Ok(check(&format!("{FILE}{store}"), &Here)?.config)
}

/// The problems of such a section, with their hints.
fn problems(redis: &str) -> Vec<String> {
    let problems = checked(redis).expect_err(redis);
    let told = |p: &Problem| format!("{}: {} ({})", p.path, p.what, p.hint.as_deref().unwrap_or("no hint"));
    problems.0.iter().map(told).collect()
}

#[test]
fn redis_is_at_a_url_or_where_sentinels_say() {
    let redis =
        checked("url: \"rediss://127.0.0.1:6379/2\", user: edge, password: \"${REDIS_PASSWORD}\", ca: /etc/ca.pem");
    let redis = redis.unwrap().redis.unwrap();
    assert!(matches!(redis.at, RedisAt::Url(url) if url.reveal() == "rediss://127.0.0.1:6379/2"));
    assert_eq!((redis.user.as_deref(), redis.password.unwrap().reveal()), (Some("edge"), "a password"));
    assert_eq!(redis.ca.as_deref(), Some(Path::new("/etc/ca.pem")));

    let redis = checked("sentinels: [192.0.2.7, \"[2001:db8::7]:26380\", s3.example.com], master: farm").unwrap().redis;
    let sentinels = [("192.0.2.7", 26_379), ("2001:db8::7", 26_380), ("s3.example.com", 26_379)];
    let sentinels = sentinels.map(|(host, port)| (host.to_owned(), port)).to_vec();
    assert_eq!(redis.unwrap().at, RedisAt::Sentinels { sentinels, master: "farm".to_owned() });
}

#[test]
fn every_mistake_is_told_with_what_would_be_right() {
    let url = "(redis://[user:password@]host:port/database, or rediss:// for TLS)";
    for (section, told) in [
        ("url: \"http://127.0.0.1\"", &[format!("store.redis.url: is no URL of Redis {url}")][..]),
        ("url: \"redis://\"", &[format!("store.redis.url: is no URL of Redis {url}")]),
        ("affinity: local", &["store.redis: does not say where Redis is (url: \"redis://HOST:6379\", or sentinels: [HOST, HOST, HOST] \
                              and master: NAME)"
            .to_owned()]),
        ("url: \"redis://a\", sentinels: [b], master: c", &["store.redis.sentinels: `url` and `sentinels` both say where Redis is \
                              (leave `url` out; user, password and ca stand beside it)"
            .to_owned()]),
        ("url: \"redis://a\", master: c", &["store.redis.master: is a name that sentinels know, and there are none \
                              (sentinels: [HOST:PORT, HOST:PORT, HOST:PORT])"
            .to_owned()]),
        ("sentinels: [b]", &["store.redis.sentinels: sentinels need the name of the master \
                              (master: mymaster, the name in `sentinel monitor` of sentinel.conf)"
            .to_owned()]),
        ("sentinels: [], master: c", &["store.redis.sentinels: must be 1 to 16 sentinels \
                              (three of them on three machines agree on one master)"
            .to_owned()]),
        ("sentinels: [\"redis://b\"], master: c", &["store.redis.sentinels[0]: must be HOST or HOST:PORT, not `redis://b` \
                              (such as 192.0.2.7:26379)"
            .to_owned()]),
        ("url: \"redis://a\", user: edge", &["store.redis.user: a user needs a password (password: \"${REDIS_PASSWORD}\")".to_owned()]),
        ("url: \"redis://u:p@a\", password: word", &["store.redis.password: stands in `url` already \
                              (leave it out there: redis://HOST:PORT/DATABASE)"
            .to_owned()]),
        ("url: \"redis://a\", ca: /etc/ca.pem", &["store.redis.ca: authorities are for TLS, and `url` is without (rediss://HOST:PORT)".to_owned()]),
        ("sentinels: [b], master: c, ca: /etc/none", &["store.redis.ca: `/etc/none` cannot be read: entity not found \
                              (the edge's user must be able to read it)"
            .to_owned()]),
    ] {
        assert_eq!(problems(section), told, "{section}");
    }
}

#[test]
fn a_change_of_the_way_to_redis_is_told_without_its_secrets_and_waits_for_a_restart() {
    let changes = |old: &str, new: &str| {
        let changes = diff(&checked(old).unwrap(), &checked(new).unwrap());
        assert!(changes.iter().all(Change::needs_restart), "{changes:?}");
        changes.into_iter().map(|change| change.what).collect::<Vec<_>>()
    };
    let (url, sentinels) = ("url: \"redis://a\"", "sentinels: [b, c], master: d, user: e, password: f");
    assert_eq!(changes(url, "url: \"redis://u:p@a\""), ["store.redis.url changed"]);
    assert_eq!(
        changes(url, sentinels),
        [
            "store.redis.url removed",
            "store.redis.sentinels none -> b:26379, c:26379",
            "store.redis.master none -> d",
            "store.redis.user none -> e",
            "store.redis.password set"
        ]
    );
    let gone = changes(url, "");
    assert_eq!(gone[..2], ["store.redis.url removed", "store.redis.namespace cordboard -> none"]);
    assert_eq!(gone.len(), 5, "settings that are gone are no others' values: {gone:?}");
}
