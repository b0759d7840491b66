//! Addresses: where the edge listens, where nodes live, where gateways send from.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use schemars::{Schema, json_schema};

use crate::dispatch::node::NodeUri;
use crate::registrar::binding::CONTACT_LEN_MAX;
use crate::sip::uri::{self, Scheme};
use crate::transport::flow::{Protocol, Target};

use super::names::is_host;
use super::words::{Complaint, FromText, quoted};

/// A place to listen at: `udp://192.0.2.1:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenUri {
    /// The protocol.
    pub protocol: Protocol,
    /// The address to bind.
    pub bind: SocketAddr,
}

impl std::fmt::Display for ListenUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.protocol.lower(), self.bind)
    }
}

impl FromText for ListenUri {
    fn legal() -> Cow<'static, str> {
        "udp://ADDRESS:PORT or tcp://ADDRESS:PORT".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let refuse = |hint: &str| Complaint::not::<Self>(text).with_hint(Some(hint.to_owned()));
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(refuse("such as udp://192.0.2.1:5060 or tcp://[2001:db8::1]:5060"));
        };
        let Some(protocol) = Protocol::from_bytes(scheme.as_bytes()) else {
            return Err(refuse("the edge listens on udp and tcp"));
        };
        match socket_address(rest, NodeUri::DEFAULT_PORT) {
            Some(bind) if bind.port() > 0 => Ok(ListenUri { protocol, bind }),
            Some(_) => Err(refuse("others have to know the port, so it cannot be any")),
            None if is_host(rest.split(':').next().unwrap_or_default()) => {
                Err(refuse("an address of this machine; the name that others use goes into `advertise`"))
            }
            None => Err(refuse("such as udp://192.0.2.1:5060 or tcp://[2001:db8::1]:5060")),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(udp|tcp)://" })
    }
}

/// An address with a port; without one the default is taken.
fn socket_address(text: &str, default_port: u16) -> Option<SocketAddr> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    text.parse().ok().or_else(|| bare().map(|ip: IpAddr| SocketAddr::new(ip, default_port)))
}

/// How others reach the edge: `203.0.113.5:5060` or `edge.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Host name or address in lower case, IPv6 with brackets.
    pub host: String,
    /// The port; none means that of the listener.
    pub port: Option<u16>,
}

impl FromText for Advertised {
    fn legal() -> Cow<'static, str> {
        "HOST or HOST:PORT".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let split =
            uri::parse_hostport(text.as_bytes()).map(|(host, port)| (text[..host.len()].to_ascii_lowercase(), port));
        match split {
            Some((host, _)) if uri::ip(host.as_bytes()).is_some_and(|ip| ip.is_unspecified()) => {
                let hint = "the address or name that gateways and nodes reach this edge by";
                Err(Complaint::not::<Self>(text).with_hint(Some(hint.to_owned())))
            }
            Some((host, port)) if is_host(&host) => Ok(Advertised { host, port }),
            _ => Err(Complaint::not::<Self>(text).with_hint(Some("such as 203.0.113.5:5060".to_owned()))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl FromText for NodeUri {
    fn legal() -> Cow<'static, str> {
        "sip:HOST[:PORT], with ;transport=tcp for TCP".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let refuse = |hint: &str| Err(Complaint::not::<Self>(text).with_hint(Some(hint.to_owned())));
        let Some(uri) = uri::parse(text.as_bytes()).filter(|uri| uri.scheme != Scheme::Other) else {
            let looks_bare =
                !text.to_ascii_lowercase().starts_with("sip:") && uri::parse_hostport(text.as_bytes()).is_some();
            let better = format!("write sip:{text}");
            return refuse(if looks_bare {
                &better
            } else {
                "such as sip:192.0.2.10:5060 or sip:ast-1.example.com;transport=tcp"
            });
        };
        let host = String::from_utf8_lossy(uri.host).to_ascii_lowercase();
        match uri.scheme {
            Scheme::Sip => {}
            Scheme::Sips => return refuse("TLS towards nodes is not known; sip: with a transport of udp or tcp is"),
            Scheme::Tel | Scheme::Other => return refuse("such as sip:192.0.2.10:5060"),
        }
        if uri.user.is_some() {
            return refuse("the address of the node alone, without a user and `@`");
        }
        if !is_host(&host) {
            return refuse("the host is neither an address nor a name");
        }
        if let Some(why) = uri::ip(host.as_bytes()).and_then(unreachable) {
            return refuse(why);
        }
        match transport(&uri) {
            Ok(protocol) => Ok(NodeUri { host: host.trim_matches(['[', ']']).to_owned(), port: uri.port, protocol }),
            Err(hint) => refuse(&hint),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[sS][iI][pP]:" })
    }
}

/// Where a phone is that cannot register: `sip:1999@192.0.2.50:5060`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactUri {
    /// The URI as it was written.
    pub text: String,
    /// The address in it.
    pub target: Target,
}

impl FromText for ContactUri {
    fn legal() -> Cow<'static, str> {
        "sip:USER@ADDRESS[:PORT], with ;transport=tcp for TCP".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let refuse = |hint: &str| Err(Complaint::not::<Self>(text).with_hint(Some(hint.to_owned())));
        let legal =
            text.len() <= CONTACT_LEN_MAX && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
        let Some(uri) = uri::parse(text.as_bytes()).filter(|uri| legal && uri.scheme == Scheme::Sip) else {
            return refuse("such as sip:1999@192.0.2.50:5060");
        };
        let Some(ip) = uri::ip(uri.host) else {
            return refuse("an address: phones are not looked up by name");
        };
        if let Some(why) = unreachable(ip) {
            return refuse(why);
        }
        let address = SocketAddr::new(ip, uri.port.unwrap_or(NodeUri::DEFAULT_PORT));
        match transport(&uri) {
            Ok(protocol) => Ok(ContactUri { text: text.to_owned(), target: Target { protocol, address } }),
            Err(hint) => refuse(&hint),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[sS][iI][pP]:" })
    }
}

/// The protocol that the only parameter asks for.
fn transport(uri: &uri::Uri<'_>) -> Result<Protocol, String> {
    if uri.params.is_empty() && uri.headers.is_empty() {
        return Ok(Protocol::Udp);
    }
    let alone = uri.headers.is_empty() && !uri.params.contains(&b';');
    match uri.param(b"transport").filter(|_| alone) {
        Some(name) => Protocol::from_bytes(name)
            .ok_or_else(|| format!("the transport is udp or tcp, not {}", quoted(&String::from_utf8_lossy(name)))),
        None => Err("the only parameter that is known is ;transport=".to_owned()),
    }
}

fn unreachable(ip: IpAddr) -> Option<&'static str> {
    match ip {
        _ if ip.is_unspecified() => Some("this address stands for all of a machine's own; a node needs one of its own"),
        _ if ip.is_multicast() => Some("this is a multicast address"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("this is the broadcast address"),
        _ => None,
    }
}

/// A node's address as one value, however it is written: without a port an address has the default one.
pub fn canonical(uri: &NodeUri) -> NodeUri {
    match uri::ip(uri.host.as_bytes()) {
        Some(ip) => NodeUri {
            host: ip.to_string(),
            port: Some(uri.port.unwrap_or(NodeUri::DEFAULT_PORT)),
            protocol: uri.protocol,
        },
        None => uri.clone(),
    }
}

/// The address of a URI, if it is one and no name.
pub fn ip_of(uri: &NodeUri) -> Option<IpAddr> {
    uri::ip(uri.host.as_bytes())
}

/// Where a gateway sends from: `192.0.2.1`, `10.1.0.0/16`, `127.0.0.1:5070`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceNet {
    /// The network; an address alone is one of full length.
    pub network: IpNet,
    /// The only port that is the gateway's; none means any.
    pub port: Option<u16>,
}

impl std::fmt::Display for SourceNet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ip = self.network.addr();
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(ip, port)),
            None if self.network.prefix_len() == self.network.max_prefix_len() => write!(f, "{ip}"),
            None => write!(f, "{}", self.network),
        }
    }
}

impl FromText for SourceNet {
    fn legal() -> Cow<'static, str> {
        "an address, a network or ADDRESS:PORT".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let refuse = |hint: String| Err(Complaint::not::<Self>(text).with_hint(Some(hint)));
        if let Ok(network) = text.parse::<IpNet>() {
            return match network.trunc() {
                whole if whole == network => Ok(SourceNet { network, port: None }),
                whole => refuse(format!("{text} has bits behind its prefix; the network is {whole}")),
            };
        }
        match socket_address(text, 0) {
            Some(address) if text.parse::<SocketAddr>().is_ok() && address.port() == 0 => {
                refuse("without a port any port is the gateway's".to_owned())
            }
            Some(address) => {
                let port = Some(address.port()).filter(|port| *port > 0);
                Ok(SourceNet { network: IpNet::from(address.ip()), port })
            }
            None => refuse("such as 192.0.2.1, 10.1.0.0/16 or 127.0.0.1:5070; names are not looked up here".to_owned()),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 2 })
    }
}

/// A DNS server: `192.0.2.53` or `192.0.2.53:5353`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

impl FromText for DnsServer {
    fn legal() -> Cow<'static, str> {
        "ADDRESS or ADDRESS:PORT".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let usable = |address: &SocketAddr| address.port() > 0 && !address.ip().is_unspecified();
        socket_address(text, 53).filter(usable).map(DnsServer).ok_or_else(|| Complaint::not::<Self>(text))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 2 })
    }
}

/// Where the API listens: `127.0.0.1:8080`. Port 0 lets the system choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiAddress(pub SocketAddr);

impl FromText for ApiAddress {
    fn legal() -> Cow<'static, str> {
        "ADDRESS:PORT".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let hint = || Some("such as 127.0.0.1:8080".to_owned());
        text.parse().map(ApiAddress).map_err(|_| Complaint::not::<Self>(text).with_hint(hint()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 4 })
    }
}

/// Where a node's ARI is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AriWord {
    /// Nowhere.
    Off,
    /// At this URL, without a slash at its end.
    Url(String),
}

impl FromText for AriWord {
    fn legal() -> Cow<'static, str> {
        "http://HOST:PORT/PATH, or off".into()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let refuse = |hint: &str| Complaint::not::<Self>(text).with_hint(Some(hint.to_owned()));
        if matches!(text, "off" | "false") {
            return Ok(AriWord::Off);
        }
        let Some(rest) = text.strip_prefix("http://") else {
            let is_tls = text.starts_with("https://");
            return Err(refuse(if is_tls { "TLS is not spoken here" } else { "such as http://192.0.2.11:8088/ari" }));
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(refuse("user and password go into the section `ari`"));
        }
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        let at = uri::parse_hostport(host.as_bytes());
        let is_host = at.is_some_and(|(_, port)| is_host(&host[..host.len() - port_len(host, port)]));
        if !is_host || !path.bytes().all(legal) {
            return Err(refuse("such as http://192.0.2.11:8088/ari"));
        }
        Ok(AriWord::Url(text.trim_end_matches('/').to_owned()))
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "boolean"], "pattern": "^(off|http://.+)$" })
    }
}

/// Octets of `:5060` at the end of a host.
fn port_len(host: &str, port: Option<u16>) -> usize {
    port.map_or(0, |_| host.rfind(':').map_or(0, |colon| host.len() - colon))
}

impl std::fmt::Display for AriWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AriWord::Off => f.write_str("off"),
            AriWord::Url(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint<T: FromText>(text: &str) -> String {
        T::from_text(text).err().unwrap().hint.unwrap_or_default()
    }

    #[test]
    fn listeners_are_a_protocol_and_an_address() {
        for (text, shown) in [
            ("udp://127.0.0.10:5060", "udp://127.0.0.10:5060"),
            ("TCP://[::1]:5070", "tcp://[::1]:5070"),
            ("udp://192.0.2.1", "udp://192.0.2.1:5060"),
            ("udp://[2001:DB8::1]", "udp://[2001:db8::1]:5060"),
        ] {
            assert_eq!(ListenUri::from_text(text).unwrap().to_string(), shown);
        }
        assert!(hint::<ListenUri>("tls://1.2.3.4:5061").contains("udp and tcp"));
        assert!(hint::<ListenUri>("udp://edge.example.com:5060").contains("`advertise`"));
        assert!(hint::<ListenUri>("udp://127.0.0.1:0").contains("cannot be any"));
        assert!(hint::<ListenUri>("127.0.0.1:5060").contains("such as"));
    }

    #[test]
    fn a_node_is_an_address_or_a_name_with_a_transport() {
        for (text, shown) in [
            ("sip:127.0.0.11:5060", "sip:127.0.0.11:5060"),
            ("SIP:Ast-1.Example.com;transport=TCP", "sip:ast-1.example.com;transport=tcp"),
            ("sip:[2001:DB8::10]:5070;transport=udp", "sip:[2001:db8::10]:5070"),
            ("sip:ast", "sip:ast"),
        ] {
            assert_eq!(NodeUri::from_text(text).unwrap().to_string(), shown);
        }
        for (text, because) in [
            ("127.0.0.11:5060", "write sip:127.0.0.11:5060"),
            ("ast-1.example.com", "write sip:ast-1.example.com"),
            ("sip:100@127.0.0.11", "without a user"),
            ("sips:ast-1", "TLS"),
            ("sip:ast-1;transport=tls", "not `tls`"),
            ("sip:ast-1;lr", "only parameter"),
            ("sip:ast-1;transport=tcp;lr", "only parameter"),
            ("sip:ast-1?a=b", "only parameter"),
            ("sip:0.0.0.0", "all of a machine's own"),
            ("sip:224.0.0.1", "multicast"),
            ("sip:1.2.3", "neither"),
            ("sip:127.0.0.1:99999", "such as"),
            ("tel:+123", "such as"),
            ("http://ast-1", "such as"),
        ] {
            assert!(hint::<NodeUri>(text).contains(because), "{text}: {}", hint::<NodeUri>(text));
        }
    }

    #[test]
    fn one_address_is_one_value_however_it_is_written() {
        let read = |text| canonical(&NodeUri::from_text(text).unwrap());
        assert_eq!(read("sip:127.0.0.1"), read("sip:127.0.0.1:5060;transport=udp"));
        assert_eq!(read("sip:[::0001]"), read("sip:[::1]:5060"));
        assert_ne!(read("sip:ast"), read("sip:ast:5060"), "a name without a port is looked up by SRV");
    }

    #[test]
    fn a_phone_that_cannot_register_has_an_address() {
        let read = |text| ContactUri::from_text(text).map(|contact| contact.target.to_string());
        for (text, target) in [
            ("sip:1999@192.0.2.50", "udp:192.0.2.50:5060"),
            ("sip:192.0.2.50:5070;transport=tcp", "tcp:192.0.2.50:5070"),
            ("sip:1999@[2001:db8::5]:5062", "udp:[2001:db8::5]:5062"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(target));
        }
        for (text, hint) in [
            ("sip:1999@door.example.com", "an address: phones are not looked up by name"),
            ("sips:1999@192.0.2.50", "such as sip:1999@192.0.2.50:5060"),
            ("1999", "such as sip:1999@192.0.2.50:5060"),
            ("<sip:1999@192.0.2.50>", "such as sip:1999@192.0.2.50:5060"),
            ("sip:1999@192.0.2.50?Route=x", "the only parameter that is known is ;transport="),
            ("sip:1999@192.0.2.50;transport=ws", "the transport is udp or tcp, not `ws`"),
        ] {
            assert_eq!(read(text).unwrap_err().hint.as_deref(), Some(hint), "{text}");
        }
    }

    #[test]
    fn sources_are_addresses_networks_and_ports() {
        for text in ["127.0.0.2", "10.1.0.0/16", "127.0.0.1:5070", "2001:db8::/32", "[2001:db8::1]:5060", "2001:db8::1"]
        {
            assert_eq!(SourceNet::from_text(text).unwrap().to_string(), text);
        }
        assert_eq!(SourceNet::from_text("[::1]").unwrap().to_string(), "::1");
        assert!(hint::<SourceNet>("10.1.2.3/16").contains("the network is 10.1.0.0/16"));
        assert!(hint::<SourceNet>("pri.example.com").contains("not looked up"));
        assert!(hint::<SourceNet>("127.0.0.1:0").contains("any port"));
    }

    #[test]
    fn an_ari_is_a_url_or_off() {
        for text in ["http://192.0.2.11:8088/ari", "http://ast-1.example.com/ari", "http://[2001:db8::1]:80/a/b", "off"]
        {
            assert_eq!(AriWord::from_text(text).unwrap().to_string(), text);
        }
        assert_eq!(AriWord::from_text("http://a:1/ari/").unwrap().to_string(), "http://a:1/ari");
        for (text, because) in [
            ("https://a:8089/ari", "TLS"),
            ("http://edge:secret@a:8088/ari", "section `ari`"),
            ("192.0.2.11:8088", "such as"),
            ("http://a b/ari", "such as"),
            ("http://a:8088/ari?x=y", "such as"),
            ("http://", "such as"),
        ] {
            assert!(hint::<AriWord>(text).contains(because), "{text}: {}", hint::<AriWord>(text));
        }
    }

    #[test]
    fn what_others_reach_the_edge_by_is_a_host_with_or_without_port() {
        let read = |text| Advertised::from_text(text).map(|a| (a.host, a.port)).ok();
        assert_eq!(read("203.0.113.5:5060"), Some(("203.0.113.5".into(), Some(5060))));
        assert_eq!(read("Edge.example.com"), Some(("edge.example.com".into(), None)));
        assert_eq!(read("[2001:db8::1]"), Some(("[2001:db8::1]".into(), None)));
        assert_eq!(read("0.0.0.0:5060").or(read("sip:a")).or(read("a b")).or(read("a:0")), None);
    }
}
