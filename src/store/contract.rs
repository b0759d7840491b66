//! What is kept, and how it is asked for.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::transport::flow::{Flow, ListenerId, Protocol, Target};

/// A lease as it is kept. Times are milliseconds of Unix time: they mean something after a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLease<'a> {
    /// Call-ID, cut to what is shown.
    #[serde(borrow)]
    pub call_id: &'a [u8],
    /// Caller's number.
    pub caller: &'a [u8],
    /// Called number.
    pub called: &'a [u8],
    /// The node's name.
    pub node: &'a str,
    /// The pool's name; empty when it was not chosen from one.
    pub pool: &'a str,
    /// Where the INVITE came from.
    pub from: SavedFlow,
    /// Hash of the caller's From tag.
    pub caller_tag: u32,
    /// The agent who is calling, if one is.
    #[serde(borrow)]
    pub agent: Option<&'a [u8]>,
    /// The queue that sent it, for a call to an agent.
    #[serde(borrow)]
    pub queue: Option<&'a [u8]>,
    /// Whether the agent at one of its ends holds it.
    pub is_held: bool,
    /// The way to the node.
    pub to: SavedFlow,
    /// Number of the try.
    pub attempt: u8,
    /// Identity of the INVITE's transaction.
    pub transaction: u64,
    /// When the INVITE came.
    pub opened: u64,
    /// When the call was answered; none while it is not.
    pub answered: Option<u64>,
    /// When it ends by itself.
    pub deadline: u64,
    /// The session timer: its interval in seconds and when it runs out.
    pub session: Option<(u32, u64)>,
}

/// A flow as it is kept, or the way to an address through a listener. A connection does not survive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFlow {
    /// The listener.
    pub listener: u16,
    /// Whether it is TCP.
    pub is_tcp: bool,
    /// The other end.
    pub remote: SocketAddr,
}

impl SavedFlow {
    /// What is kept of an address that a listener reaches.
    pub fn of(listener: ListenerId, target: Target) -> Self {
        SavedFlow { listener: listener.0, is_tcp: target.protocol == Protocol::Tcp, remote: target.address }
    }

    /// The listener.
    pub fn listener(self) -> ListenerId {
        ListenerId(self.listener)
    }

    /// The other end.
    pub fn target(self) -> Target {
        let protocol = if self.is_tcp { Protocol::Tcp } else { Protocol::Udp };
        Target { protocol, address: self.remote }
    }

    /// The flow, without its connection.
    pub fn flow(self) -> Flow {
        let Target { protocol, address } = self.target();
        Flow { listener: self.listener(), protocol, remote: address, connection: None }
    }
}

impl From<Flow> for SavedFlow {
    fn from(flow: Flow) -> Self {
        SavedFlow::of(flow.listener, flow.target())
    }
}

/// A binding as it is kept. Times are milliseconds of Unix time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBinding<'a> {
    /// The contact's URI.
    #[serde(borrow)]
    pub contact: &'a [u8],
    /// The flow that it is reached by.
    pub flow: SavedFlow,
    /// Preference in thousandths.
    pub preference: u16,
    /// When it ends.
    pub expires: u64,
    /// When it was last refreshed.
    pub updated: u64,
    /// Hash of the registration's Call-ID.
    pub call_id: u64,
    /// Its CSeq.
    pub cseq: u32,
    /// The device.
    #[serde(borrow)]
    pub instance: Option<&'a [u8]>,
    /// Which of the device's flows.
    pub reg_id: u32,
    /// The Path.
    #[serde(borrow)]
    pub path: &'a [u8],
}

impl<'a> SavedBinding<'a> {
    /// The same by one's own clock, when it was written by one that is so many milliseconds ahead.
    pub fn by_clock(self, ahead: i64) -> Self {
        SavedBinding { expires: by_clock(self.expires, ahead), updated: by_clock(self.updated, ahead), ..self }
    }

    /// Writes all bindings of one address of record behind what is there.
    pub fn write<'b>(out: &mut Vec<u8>, bindings: impl ExactSizeIterator<Item = SavedBinding<'b>>) {
        // The form of a sequence: how many there are, and one after the other. Writing to memory cannot fail.
        out.push(BINDINGS_FORM);
        let mut octets = postcard::to_extend(&bindings.len(), std::mem::take(out)).unwrap_or_default();
        for binding in bindings {
            octets = postcard::to_extend(&binding, octets).unwrap_or_default();
        }
        *out = octets;
    }

    /// Reads them; `None` when the octets are damaged or of another form.
    pub fn read(octets: &'a [u8]) -> Option<Vec<Self>> {
        let (form, rest) = octets.split_first()?;
        (*form == BINDINGS_FORM).then(|| postcard::from_bytes(rest).ok()).flatten()
    }
}

/// Bindings that are to be kept or forgotten together: one record for each address of record.
#[derive(Debug, Default)]
pub struct BindingBatch {
    octets: Vec<u8>,
    ends: Vec<usize>,
}

impl BindingBatch {
    /// Adds an address of record, and what is to be kept of it: nothing where nothing is written.
    pub fn push(&mut self, aor: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
        // No address of record is longer than this.
        let aor = &aor[..aor.len().min(255)];
        self.octets.push(aor.len() as u8);
        self.octets.extend_from_slice(aor);
        write(&mut self.octets);
        self.ends.push(self.octets.len());
    }

    /// The records.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.octets[begin..*end])
    }

    /// Reads a record: the address of record, and what is kept of it.
    pub fn read(record: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
        let (len, rest) = record.split_first()?;
        let (aor, kept) = rest.split_at_checked(usize::from(*len))?;
        Some((aor, (!kept.is_empty()).then_some(kept)))
    }

    /// Number of addresses of record.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without one.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.octets.clear();
        self.ends.clear();
    }
}

/// What an operator wants of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAdmin {
    /// The state's word.
    pub state: String,
    /// When it was said, in milliseconds of Unix time.
    pub since: u64,
}

/// Octets that will not grow.
pub type Octets = Box<[u8]>;

/// Everything that was kept, as octets; [`SavedLease::read`] makes leases of them.
#[derive(Debug, Default)]
pub struct Saved {
    /// Leases by the key of their call.
    pub leases: Vec<(u128, Vec<u8>)>,
    /// Operators' words by node.
    pub admin: Vec<(String, SavedAdmin)>,
    /// Agents who are not ready, and why.
    pub not_ready: Vec<(Vec<u8>, String)>,
    /// Bindings by address of record; [`SavedBinding::read`] reads them.
    pub bindings: Vec<(Octets, Octets)>,
}

/// Octets of the longest lease: its texts are cut long before this.
pub const LEASE_LEN_MAX: usize = 1_024;

/// The form that leases are written in, and the hash of a Call-ID that is their key. One of another form is not read.
const LEASE_FORM: u8 = 4;
/// The form that bindings are written in.
const BINDINGS_FORM: u8 = 3;

/// A time by one's own clock that was told by one which is so many milliseconds ahead.
pub fn by_clock(millis: u64, ahead: i64) -> u64 {
    millis.saturating_add_signed(ahead.saturating_neg())
}

impl<'a> SavedLease<'a> {
    /// The same by one's own clock, when it was written by one that is so many milliseconds ahead.
    pub fn by_clock(self, ahead: i64) -> Self {
        SavedLease {
            opened: by_clock(self.opened, ahead),
            answered: self.answered.map(|at| by_clock(at, ahead)),
            deadline: by_clock(self.deadline, ahead),
            session: self.session.map(|(interval, ends)| (interval, by_clock(ends, ahead))),
            ..self
        }
    }

    /// Writes it; `None` when it does not fit, which no lease does.
    pub fn write<'b>(&self, buffer: &'b mut [u8; LEASE_LEN_MAX]) -> Option<&'b [u8]> {
        buffer[0] = LEASE_FORM;
        let written = postcard::to_slice(self, &mut buffer[1..]).ok()?.len();
        Some(&buffer[..=written])
    }

    /// Reads it; `None` when the octets are damaged or of another form.
    pub fn read(octets: &'a [u8]) -> Option<Self> {
        let (form, rest) = octets.split_first()?;
        (*form == LEASE_FORM).then(|| postcard::from_bytes(rest).ok()).flatten()
    }
}

/// Why something was not kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or a file in it cannot be used.
    #[error("{path}: {source}")]
    Unusable {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process uses it.
    #[error("{0}: in use by another process; is a cordboard running with this state_dir?")]
    InUse(String),
    /// The database could not write.
    #[error("cannot write: {0}")]
    Write(String),
}

/// A place where things are kept.
pub trait Store: Send + Sync {
    /// Keeps a lease, or forgets it. Never waits; called under the short lock of a shard.
    fn lease(&self, key: u128, lease: Option<&SavedLease<'_>>);
    /// Keeps an operator's word, or forgets it. On disk when this returns.
    fn admin(&self, node: &str, admin: Option<&SavedAdmin>) -> Result<(), StoreError>;
    /// Keeps the bindings of these addresses of record, or forgets them. On disk when this returns.
    fn bindings(&self, batch: &BindingBatch) -> Result<(), StoreError>;
    /// Keeps that an agent is not ready, and why, or forgets it. On disk when this returns.
    fn not_ready(&self, user: &[u8], reason: Option<&str>) -> Result<(), StoreError>;
    /// Brings everything to disk.
    fn flush(&self) -> Result<(), StoreError>;
    /// What can be counted.
    fn counts(&self) -> StoreCounts;
}

/// What can be counted of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Changes of leases that were taken.
    pub leases_taken: u64,
    /// Changes of leases that were lost because the writer did not keep up.
    pub leases_lost: u64,
    /// Commits that failed.
    pub failures: u64,
    /// True while the last commit failed.
    pub is_failing: bool,
}

/// Keeps nothing.
#[derive(Debug, Default)]
pub struct Memory;

impl Store for Memory {
    fn lease(&self, _: u128, _: Option<&SavedLease<'_>>) {}

    fn admin(&self, _: &str, _: Option<&SavedAdmin>) -> Result<(), StoreError> {
        Ok(())
    }

    fn bindings(&self, _: &BindingBatch) -> Result<(), StoreError> {
        Ok(())
    }

    fn not_ready(&self, _: &[u8], _: Option<&str>) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn counts(&self) -> StoreCounts {
        StoreCounts::default()
    }
}

#[cfg(test)]
impl<'a> SavedLease<'a> {
    /// A lease of a call with this Call-ID, for tests.
    pub fn of_tests(call_id: &'a [u8]) -> Self {
        let flow = SavedFlow { listener: 1, is_tcp: false, remote: ([127, 0, 0, 1], 5060).into() };
        SavedLease {
            call_id,
            caller: b"",
            called: b"",
            node: "ast-1",
            pool: "inbound",
            from: flow,
            caller_tag: 0,
            agent: None,
            queue: None,
            is_held: false,
            to: flow,
            attempt: 0,
            transaction: 0,
            opened: 0,
            answered: None,
            deadline: 0,
            session: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::flow::ConnectionId;

    #[test]
    fn a_flow_comes_back_without_its_connection() {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let remote = "[2001:db8::1]:5060".parse().unwrap();
            let flow = Flow { listener: ListenerId(7), protocol, remote, connection: None };
            let connection = Some(ConnectionId(std::num::NonZeroU32::MIN));
            assert_eq!(SavedFlow::from(Flow { connection, ..flow }).flow(), flow);
        }
    }

    #[test]
    fn a_batch_comes_back_record_by_record() {
        let binding = |contact| SavedBinding {
            contact,
            flow: SavedFlow { listener: 1, is_tcp: false, remote: "192.0.2.1:5060".parse().unwrap() },
            preference: 1_000,
            expires: u64::MAX,
            updated: 1,
            call_id: 2,
            cseq: 3,
            instance: Some(b"<urn:x>"),
            reg_id: 1,
            path: b"",
        };
        let mut batch = BindingBatch::default();
        batch.push(b"1001", |out| SavedBinding::write(out, [binding(b"sip:a"), binding(b"sip:b")].into_iter()));
        batch.push(b"1002", |_| ());
        let records: Vec<_> = batch.records().map(|record| BindingBatch::read(record).unwrap()).collect();
        assert_eq!((records.len(), batch.len(), records[1]), (2, 2, (&b"1002"[..], None)));
        assert_eq!(records[0].0, b"1001");
        let kept = SavedBinding::read(records[0].1.unwrap());
        assert_eq!(kept, Some(vec![binding(b"sip:a"), binding(b"sip:b")]));
        assert_eq!(BindingBatch::read(&[9, b'x']), None);
        batch.clear();
        assert!(batch.is_empty() && batch.records().next().is_none());
    }

    #[test]
    fn a_lease_comes_back_as_it_was_and_damage_is_seen() {
        let lease = SavedLease {
            call_id: b"c\xff@x",
            caller: b"+1",
            called: b"100",
            node: "ast-1",
            pool: "inbound",
            from: SavedFlow { listener: 1, is_tcp: true, remote: "[2001:db8::1]:5060".parse().unwrap() },
            caller_tag: 7,
            agent: Some(b"1001"),
            queue: Some(b"q700"),
            is_held: true,
            to: SavedFlow { listener: 2, is_tcp: false, remote: "127.0.0.11:5060".parse().unwrap() },
            attempt: 1,
            transaction: u64::MAX,
            opened: 1_795_000_000_000,
            answered: Some(1),
            deadline: 2,
            session: Some((1_800, 3)),
        };
        let mut buffer = [0; LEASE_LEN_MAX];
        let octets = lease.write(&mut buffer).unwrap().to_vec();
        assert_eq!(SavedLease::read(&octets), Some(lease));
        assert_eq!(SavedLease::read(&octets[..octets.len() - 1]), None);
        assert_eq!(SavedLease::read(&[]), None);
        assert_eq!(SavedLease::read(&[&[9], &octets[1..]].concat()), None);
    }
}
