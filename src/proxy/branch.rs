//! The branch of the edge's Via (RFC 3261 sections 8.1.1.7, 16.6 step 8, 16.11; loops: RFC 5393).
//!
//! `z9hG4bKcb` + try (1) + proof (12) + turn (6), in base32. The *proof* is a keyed hash of the caller's transaction and the
//! number of the try, so every repetition, the CANCEL and the ACK to a failure get the same branch at every edge of
//! the farm, and a response whose branch the farm did not make is recognised. The *turn* is a keyed hash of what decides
//! the route; a request that comes back with the same turn is going round in a loop.

use crate::calls::CallKey;
use crate::dispatch::farm::Listener;
use crate::keys::{Keys, fill_base32, read_base32, write_base32};
use crate::sip::HeaderName;
use crate::sip::Request;
use crate::sip::message::Message;
use crate::sip::via::Via;
use crate::transport::flow::{ConnectionId, Flow, ListenerId};

use super::route::Routing;

/// How every branch of the edge begins.
pub const MAGIC: &[u8] = b"z9hG4bKcb";
/// How the branch of a probe begins.
pub const PROBE_MAGIC: &[u8] = b"z9hG4bKcp";

const PROOF_DIGITS: usize = 12;
const TURN_DIGITS: usize = 6;
const NUMBER_DIGITS: usize = 7;

/// Number in a branch that stands for the BYE to a late answer of the try with this number.
pub const BYE_OF: u8 = 16;
/// Number in a branch that stands for the ACK to a late answer of the try with this number.
pub const ACK_OF: u8 = 24;

/// Identity of a transaction as its sender made it: the same for an INVITE, its repetitions, its CANCEL and the ACK to
/// its failure. The Call-ID stands in it as the call's key.
pub fn transaction<'a>(keys: &Keys, message: impl Message<'a>, key: CallKey, via: Via) -> u64 {
    let branch = via.branch.map_or(&[][..], |branch| message.text(branch));
    let cseq = message.cseq().map_or(0, |cseq| cseq.number);
    let numbers = u64::from(via.port.unwrap_or(0)) << 32 | u64::from(cseq);
    let hash = keys.transaction.quick_hash().wide(key.0).number(numbers);
    hash.piece(branch).piece(message.text(via.host)).piece(message.from_tag()).finish64()
}

/// Hash of what decides where a request goes (section 16.6 step 8), the edge's own leading Routes left aside.
pub fn turn(keys: &Keys, request: Request<'_>, key: CallKey, routing: &Routing<'_>) -> u64 {
    // No To tag: the ACK to a failure has one where its INVITE had none, and both must get the same branch.
    let mut hash = keys.turn.quick_hash().wide(key.0).piece(request.uri_text()).piece(request.from_tag());
    hash = hash.number(request.cseq().map_or(0, |cseq| u64::from(cseq.number)));
    if routing.has_more {
        for (_, route) in request.addresses(HeaderName::Route).skip(routing.own) {
            hash = hash.piece(request.text(route.uri));
        }
    }
    hash.finish64() & ((1 << (5 * TURN_DIGITS)) - 1)
}

fn proof(keys: &Keys, transaction: u64, number: u8) -> u64 {
    let hash = keys.branch.hash().number(transaction).number(u64::from(number));
    hash.finish64() & ((1 << (5 * PROOF_DIGITS)) - 1)
}

/// A branch of the edge's, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Number of the try, or [`BYE_OF`] plus that number.
    pub number: u8,
    proof: u64,
    /// The turn.
    pub turn: u64,
}

impl Branch {
    /// The branch for one try of a transaction.
    pub fn new(keys: &Keys, transaction: u64, number: u8, turn: u64) -> Self {
        Branch { number, proof: proof(keys, transaction, number), turn }
    }

    /// Reads a branch of the edge's form; says nothing about its truth.
    pub fn read(text: &[u8]) -> Option<Self> {
        let rest: &[u8; 1 + PROOF_DIGITS + TURN_DIGITS] = text.strip_prefix(MAGIC)?.try_into().ok()?;
        let number = read_base32(&rest[..1])? as u8;
        let proof = read_base32(&rest[1..=PROOF_DIGITS])?;
        Some(Branch { number, proof, turn: read_base32(&rest[1 + PROOF_DIGITS..])? })
    }

    /// True when the farm made it for this transaction.
    pub fn proves(self, keys: &Keys, transaction: u64) -> bool {
        self.proof == proof(keys, transaction, self.number)
    }

    /// Writes it.
    pub fn write(self, out: &mut Vec<u8>) {
        let mut digits = [0; 1 + PROOF_DIGITS + TURN_DIGITS];
        fill_base32(&mut digits[..1], u64::from(self.number));
        fill_base32(&mut digits[1..=PROOF_DIGITS], self.proof);
        fill_base32(&mut digits[1 + PROOF_DIGITS..], self.turn);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&digits);
    }
}

/// The branch of a probe: which node, which probe, and a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeBranch {
    /// The node's number.
    pub node: u32,
    /// The probe's number.
    pub probe: u32,
}

impl ProbeBranch {
    /// Writes it.
    pub fn write(self, keys: &Keys, out: &mut Vec<u8>) {
        out.extend_from_slice(PROBE_MAGIC);
        write_base32(out, u64::from(self.node), NUMBER_DIGITS);
        write_base32(out, u64::from(self.probe), NUMBER_DIGITS);
        write_base32(out, self.proof(keys), PROOF_DIGITS);
    }

    /// The Via value of a request of the edge's own that leaves by this listener.
    pub fn via(self, keys: &Keys, listener: &Listener) -> String {
        let mut via = listener.via.to_vec();
        self.write(keys, &mut via);
        via.extend_from_slice(b";rport");
        String::from_utf8_lossy(&via).into_owned()
    }

    /// Reads it, if the farm made it.
    pub fn read(keys: &Keys, text: &[u8]) -> Option<Self> {
        let rest = text.strip_prefix(PROBE_MAGIC)?;
        if rest.len() != 2 * NUMBER_DIGITS + PROOF_DIGITS {
            return None;
        }
        let number = |from: usize| read_base32(&rest[from..from + NUMBER_DIGITS]).and_then(|n| u32::try_from(n).ok());
        let branch = ProbeBranch { node: number(0)?, probe: number(NUMBER_DIGITS)? };
        (read_base32(&rest[2 * NUMBER_DIGITS..])? == branch.proof(keys)).then_some(branch)
    }

    fn proof(self, keys: &Keys) -> u64 {
        let hash = keys.probe.hash().number(u64::from(self.node)).number(u64::from(self.probe));
        hash.finish64() & ((1 << (5 * PROOF_DIGITS)) - 1)
    }
}

/// Writes the `flow` parameter of the edge's Via: the listener, and the connection of a stream, that the answer leaves by.
pub fn write_flow(keys: &Keys, flow: Flow, out: &mut Vec<u8>) {
    let connection = flow.connection.map_or(0, |id| id.0.get());
    out.extend_from_slice(b";flow=");
    write_base32(out, u64::from(flow.listener.0), 4);
    write_base32(out, u64::from(connection), NUMBER_DIGITS);
    write_base32(out, flow_proof(keys, flow.listener, connection), TURN_DIGITS);
}

/// Reads it, if the farm made it.
pub fn read_flow(keys: &Keys, text: &[u8]) -> Option<(ListenerId, Option<ConnectionId>)> {
    if text.len() != 4 + NUMBER_DIGITS + TURN_DIGITS {
        return None;
    }
    let listener = ListenerId(u16::try_from(read_base32(&text[..4])?).ok()?);
    let connection = u32::try_from(read_base32(&text[4..4 + NUMBER_DIGITS])?).ok()?;
    let proof = read_base32(&text[4 + NUMBER_DIGITS..])?;
    let known = proof == flow_proof(keys, listener, connection);
    known.then_some((listener, std::num::NonZeroU32::new(connection).map(ConnectionId)))
}

fn flow_proof(keys: &Keys, listener: ListenerId, connection: u32) -> u64 {
    let hash = keys.flow.hash().number(u64::from(listener.0)).number(u64::from(connection));
    hash.finish64() & ((1 << (5 * TURN_DIGITS)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse::{Framing, Index, Outcome, parse};
    use crate::transport::flow::Protocol;

    fn keys() -> Keys {
        Keys::derive(b"farm")
    }

    fn of(text: &str) -> (u64, u64) {
        let mut index = Index::new();
        match parse(text.as_bytes(), Framing::Datagram, &mut index) {
            Outcome::Request(r) => {
                let key = CallKey::of(&keys(), r.call_id());
                (transaction(&keys(), r, key, r.via().unwrap()), turn(&keys(), r, key, &Routing::default()))
            }
            Outcome::Response(r) => {
                let key = CallKey::of(&keys(), r.call_id());
                (transaction(&keys(), r, key, r.next_via().unwrap()), 0)
            }
            other => panic!("{other:?}"),
        }
    }

    const REST: &str = "From: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: c\r\n";

    #[test]
    fn invite_cancel_failure_ack_and_response_share_one_transaction() {
        let via = "Via: SIP/2.0/UDP gw:5070;branch=z9hG4bKx\r\n";
        let invite = of(&format!("INVITE sip:b SIP/2.0\r\n{via}{REST}CSeq: 1 INVITE\r\n\r\n")).0;
        let cancel = of(&format!("CANCEL sip:b SIP/2.0\r\n{via}{REST}CSeq: 1 CANCEL\r\n\r\n")).0;
        let ack =
            of(&format!("ACK sip:b SIP/2.0\r\n{via}{}CSeq: 1 ACK\r\n\r\n", REST.replace("<sip:b>", "<sip:b>;tag=2"))).0;
        let response = of(&format!(
            "SIP/2.0 486 x\r\nVia: SIP/2.0/UDP edge;branch=z\r\nVia: SIP/2.0/UDP gw:5070;received=1.2.3.4;branch=z9hG4bKx;rport=9\r\n{REST}CSeq: 1 INVITE\r\n\r\n"
        )).0;
        assert!(invite == cancel && invite == ack && invite == response);
        let other =
            of(&format!("INVITE sip:b SIP/2.0\r\n{}{REST}CSeq: 1 INVITE\r\n\r\n", via.replace("z9hG4bKx", "z9hG4bKy")))
                .0;
        assert_ne!(invite, other);
    }

    #[test]
    fn a_branch_proves_itself_and_nothing_else() {
        let branch = Branch::new(&keys(), 77, 2, 5);
        let mut text = Vec::new();
        branch.write(&mut text);
        let read = Branch::read(&text).unwrap();
        assert_eq!(read, branch);
        assert!(read.proves(&keys(), 77) && !read.proves(&keys(), 78));
        assert!(!read.proves(&Keys::derive(b"other farm"), 77));
        assert!(!Branch { number: 1, ..read }.proves(&keys(), 77), "the number of the try is part of the proof");
        for broken in [&b"z9hG4bKcb"[..], b"z9hG4bKxx0000000000000000000", &text[..text.len() - 1], b""] {
            assert_eq!(Branch::read(broken), None);
        }
    }

    #[test]
    fn a_request_that_changed_its_target_has_another_turn() {
        let via = "Via: SIP/2.0/UDP gw;branch=z9hG4bKx\r\n";
        let turn = |uri: &str, via: &str| of(&format!("INVITE {uri} SIP/2.0\r\n{via}{REST}CSeq: 1 INVITE\r\n\r\n")).1;
        assert_eq!(turn("sip:b", via), turn("sip:b", "Via: SIP/2.0/UDP other;branch=z9hG4bKy\r\n"));
        assert_ne!(turn("sip:b", via), turn("sip:c", via));
    }

    #[test]
    fn probes_and_flows_are_recognised_and_forgeries_are_not() {
        let mut text = Vec::new();
        let probe = ProbeBranch { node: 3, probe: u32::MAX };
        probe.write(&keys(), &mut text);
        assert_eq!(ProbeBranch::read(&keys(), &text), Some(probe));
        assert_eq!(ProbeBranch::read(&Keys::derive(b"x"), &text), None);
        let connection = std::num::NonZeroU32::new(70_000).map(ConnectionId);
        let flow = Flow {
            listener: ListenerId(65_535),
            protocol: Protocol::Tcp,
            remote: "[::1]:1".parse().unwrap(),
            connection,
        };
        let mut text = Vec::new();
        write_flow(&keys(), flow, &mut text);
        assert_eq!(read_flow(&keys(), &text[6..]), Some((ListenerId(65_535), connection)));
        text[8] ^= 1;
        assert_eq!(read_flow(&keys(), &text[6..]), None);
    }
}
