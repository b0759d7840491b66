//! The token in the edge's Record-Route: both ends of a call, authenticated (RFC 3261 section 16.6 step 4).
//!
//! With it a request inside a dialog finds its way from the message alone, at every edge and after every restart, and
//! nobody can use the edge as an open relay: the addresses in it were written by the farm, for this Call-ID.

use std::net::{IpAddr, SocketAddr};

use crate::calls::CallKey;
use crate::calls::lease::Way;
use crate::keys::{Keys, fill_base32, read_base32, write_base32};
use crate::transport::flow::{ConnectionId, Flow, ListenerId, Protocol, Target};

/// Name of the URI parameter.
pub const PARAM: &[u8] = b"cb";

/// Both ends of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Where the INVITE came from.
    pub caller: Flow,
    /// How requests to the caller are sent.
    pub to_caller: ToCaller,
    /// Hash of the caller's From tag: it tells the two directions apart.
    pub caller_tag: u32,
    /// The listener toward the node.
    pub node_listener: ListenerId,
    /// The node's address.
    pub node: Target,
}

/// How a request inside a dialog reaches the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToCaller {
    /// By its route set and Contact, as RFC 3261 section 12.2.1.1 says: gateways.
    Contact,
    /// Back along the flow that the INVITE came by: phones behind NAT.
    Flow,
    /// The same, to the edge that has the call: this one only passes its messages on to a phone that registered here.
    Edge,
}

const CALLER_V6: u8 = 1;
const NODE_V6: u8 = 2;
const CALLER_TCP: u8 = 4;
const NODE_TCP: u8 = 8;
const CONNECTION: u8 = 16;
const BY_FLOW: u8 = 32;
const BY_EDGE: u8 = 64;

/// Octets of the longest token.
const LEN_MAX: usize = 1 + 4 + 4 + 18 + 18 + 4 + PROOF_LEN;
const PROOF_LEN: usize = 8;

/// Hash of a From tag as tokens and leases keep it.
pub fn tag_hash(keys: &Keys, tag: &[u8]) -> u32 {
    keys.tag.hash().piece(tag).finish64() as u32
}

impl Token {
    /// The way to the node.
    pub fn way_to_node(&self) -> Way {
        Way::Target { listener: self.node_listener, target: self.node }
    }

    /// Writes it as the value of the `cb` parameter.
    pub fn write(&self, keys: &Keys, key: CallKey, out: &mut Vec<u8>) {
        let mut octets = Octets { list: [0; LEN_MAX], len: 0 };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        octets.push(&[flag(self.caller.remote.is_ipv6(), CALLER_V6)
            | flag(self.node.address.is_ipv6(), NODE_V6)
            | flag(self.caller.protocol == Protocol::Tcp, CALLER_TCP)
            | flag(self.node.protocol == Protocol::Tcp, NODE_TCP)
            | flag(self.caller.connection.is_some(), CONNECTION)
            | flag(self.to_caller == ToCaller::Flow, BY_FLOW)
            | flag(self.to_caller == ToCaller::Edge, BY_EDGE)]);
        octets.push(&self.caller.listener.0.to_be_bytes());
        octets.push(&self.node_listener.0.to_be_bytes());
        octets.push(&self.caller_tag.to_be_bytes());
        octets.push_address(self.caller.remote);
        octets.push_address(self.node.address);
        if let Some(connection) = self.caller.connection {
            octets.push(&connection.0.get().to_be_bytes());
        }
        let proof = proof(keys, key, octets.filled());
        octets.push(&proof.to_be_bytes());
        write_octets(octets.filled(), out);
    }

    /// Reads it; `None` unless the farm made it for this call.
    pub fn read(keys: &Keys, key: CallKey, text: &[u8]) -> Option<Token> {
        let mut buffer = [0; LEN_MAX];
        let octets = read_octets(text, &mut buffer)?;
        let (said, stated_proof) = octets.split_at_checked(octets.len().checked_sub(PROOF_LEN)?)?;
        if proof(keys, key, said).to_be_bytes() != stated_proof {
            return None;
        }
        Self::decode(said)
    }

    fn decode(mut octets: &[u8]) -> Option<Token> {
        let flags = take::<1>(&mut octets)?[0];
        let protocol = |bit| if flags & bit != 0 { Protocol::Tcp } else { Protocol::Udp };
        let caller_listener = ListenerId(u16::from_be_bytes(take(&mut octets)?));
        let node_listener = ListenerId(u16::from_be_bytes(take(&mut octets)?));
        let caller_tag = u32::from_be_bytes(take(&mut octets)?);
        let remote = take_address(&mut octets, flags & CALLER_V6 != 0)?;
        let address = take_address(&mut octets, flags & NODE_V6 != 0)?;
        let mut connection = None;
        if flags & CONNECTION != 0 {
            connection = std::num::NonZeroU32::new(u32::from_be_bytes(take(&mut octets)?)).map(ConnectionId);
        }
        let caller = Flow { listener: caller_listener, protocol: protocol(CALLER_TCP), remote, connection };
        let to_caller = match flags & (BY_FLOW | BY_EDGE) {
            0 => ToCaller::Contact,
            BY_FLOW => ToCaller::Flow,
            _ => ToCaller::Edge,
        };
        Some(Token {
            caller,
            to_caller,
            caller_tag,
            node_listener,
            node: Target { protocol: protocol(NODE_TCP), address },
        })
    }
}

fn proof(keys: &Keys, key: CallKey, said: &[u8]) -> u64 {
    keys.token.hash().wide(key.0).piece(said).finish64()
}

struct Octets {
    list: [u8; LEN_MAX],
    len: usize,
}

impl Octets {
    fn push(&mut self, bytes: &[u8]) {
        self.list[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_address(&mut self, address: SocketAddr) {
        match address.ip() {
            IpAddr::V4(ip) => self.push(&ip.octets()),
            IpAddr::V6(ip) => self.push(&ip.octets()),
        }
        self.push(&address.port().to_be_bytes());
    }

    fn filled(&self) -> &[u8] {
        &self.list[..self.len]
    }
}

fn take<const N: usize>(octets: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = octets.split_first_chunk::<N>()?;
    *octets = rest;
    Some(*first)
}

fn take_address(octets: &mut &[u8], is_v6: bool) -> Option<SocketAddr> {
    let ip = if is_v6 { IpAddr::from(take::<16>(octets)?) } else { IpAddr::from(take::<4>(octets)?) };
    Some(SocketAddr::new(ip, u16::from_be_bytes(take(octets)?)))
}

/// Five octets are eight digits; a last group is padded with zero bits.
fn write_octets(octets: &[u8], out: &mut Vec<u8>) {
    let (groups, rest) = octets.as_chunks::<5>();
    for [a, b, c, d, e] in groups {
        let mut digits = [0; 8];
        fill_base32(&mut digits, u64::from(u32::from_be_bytes([*a, *b, *c, *d])) << 8 | u64::from(*e));
        out.extend_from_slice(&digits);
    }
    let bits = rest.iter().fold(0u64, |bits, octet| bits << 8 | u64::from(*octet));
    let digits = (rest.len() * 8).div_ceil(5);
    write_base32(out, bits << (digits * 5 - rest.len() * 8), digits);
}

fn read_octets<'b>(text: &[u8], buffer: &'b mut [u8; LEN_MAX]) -> Option<&'b [u8]> {
    let mut len = 0;
    let (groups, last) = text.as_chunks::<8>();
    for group in groups {
        let bits = read_base32(group)?;
        buffer.get_mut(len..len + 5)?.copy_from_slice(&bits.to_be_bytes()[3..]);
        len += 5;
    }
    let octets = last.len() * 5 / 8;
    let bits = read_base32(last)? >> (last.len() * 5 - octets * 8);
    buffer.get_mut(len..len + octets)?.copy_from_slice(&bits.to_be_bytes()[8 - octets..]);
    len += octets;
    Some(&buffer[..len])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(caller: &str, node: &str, connection: u32, to_caller: ToCaller) -> Token {
        let connection = std::num::NonZeroU32::new(connection).map(ConnectionId);
        let protocol = if connection.is_some() { Protocol::Tcp } else { Protocol::Udp };
        Token {
            caller: Flow { listener: ListenerId(1), protocol, remote: caller.parse().unwrap(), connection },
            to_caller,
            caller_tag: 0xdead_beef,
            node_listener: ListenerId(60_000),
            node: Target { protocol: Protocol::Udp, address: node.parse().unwrap() },
        }
    }

    fn call(call_id: &[u8]) -> CallKey {
        CallKey::of(&Keys::derive(b"farm"), call_id)
    }

    fn written(token: &Token) -> Vec<u8> {
        let mut text = Vec::new();
        token.write(&Keys::derive(b"farm"), call(b"call-1"), &mut text);
        text
    }

    #[test]
    fn both_ends_come_back_for_every_kind_of_call() {
        for token in [
            token("127.0.0.2:5060", "127.0.0.11:5060", 0, ToCaller::Contact),
            token("[2001:db8::1]:5060", "127.0.0.11:5060", 9, ToCaller::Flow),
            token("127.0.0.9:5060", "192.0.2.7:40000", 0, ToCaller::Edge),
            token("[2001:db8::1]:1", "[::1]:65535", u32::MAX, ToCaller::Contact),
        ] {
            let text = written(&token);
            assert!(text.iter().all(u8::is_ascii_alphanumeric));
            assert_eq!(Token::read(&Keys::derive(b"farm"), call(b"call-1"), &text), Some(token));
            assert_eq!(Token::read(&Keys::derive(b"farm"), call(b"call-1"), &text.to_ascii_uppercase()), Some(token));
        }
    }

    #[test]
    fn a_token_serves_no_other_call_and_no_other_farm() {
        let text = written(&token("127.0.0.2:5060", "127.0.0.11:5060", 0, ToCaller::Contact));
        assert_eq!(Token::read(&Keys::derive(b"farm"), call(b"call-2"), &text), None);
        assert_eq!(Token::read(&Keys::derive(b"other"), call(b"call-1"), &text), None);
    }

    proptest! {
        #[test]
        fn a_changed_token_is_no_token(at in 0usize..46, digit in "[0-9a-v]") {
            let text = written(&token("127.0.0.2:5060", "127.0.0.11:5060", 0, ToCaller::Contact));
            let mut changed = text.clone();
            changed[at] = digit.as_bytes()[0];
            if changed != text {
                prop_assert_eq!(Token::read(&Keys::derive(b"farm"), call(b"call-1"), &changed), None);
            }
        }

        #[test]
        fn any_text_is_read_without_harm(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Token::read(&Keys::derive(b"farm"), call(b"call-1"), &text), None);
        }
    }
}
