//! Who is asking: judging credentials, and asking for them (RFC 3261 section 22, RFC 8760).

use std::net::IpAddr;

use crate::keys::Keys;
use crate::sip::message::Message;
use crate::sip::uri::{self, Uri};
use crate::sip::{HeaderName, Method, Request};
use crate::transport::flow::Flow;

use super::aor::Aor;
use super::digest::{Algorithm, Credentials, Hex};
use super::nonce::{self, Verdict};
use super::users::Users;

/// What a user has to prove himself by.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The realm.
    pub realm: Box<str>,
    /// What is offered, in this order.
    pub algorithms: Vec<Algorithm>,
    /// The users.
    pub users: Users,
}

/// Why somebody is asked to prove who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// Nothing was said that could be judged.
    Unproven,
    /// The proof is wrong, or the user is not known: nobody is told which.
    Wrong,
    /// The proof is right, and its nonce is used up or too old.
    Stale,
}

impl Doubt {
    /// Metric label and test expectation.
    pub fn as_str(self) -> &'static str {
        match self {
            Doubt::Unproven => "challenged",
            Doubt::Wrong => "wrong",
            Doubt::Stale => "stale",
        }
    }
}

/// A proof that may have been used before: its nonce, when that was made, and its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Hash of the nonce.
    pub nonce: u64,
    /// When it was made.
    pub made_secs: u64,
    /// The count.
    pub count: u32,
}

impl Authority {
    /// The user that a request comes from, and the use of his proof, which must be a first one.
    pub fn judge(
        &self,
        request: Request<'_>,
        header: HeaderName,
        keys: &Keys,
        unix_secs: u64,
        is_own: impl Fn(&Uri<'_>) -> bool,
    ) -> Result<(Aor, Use), Doubt> {
        let own = |credentials: &Credentials<'_>| *credentials.realm == *self.realm.as_bytes();
        let said = request.values(header).filter_map(Credentials::read).find(own).ok_or(Doubt::Unproven)?;
        if !self.algorithms.contains(&said.algorithm) {
            return Err(Doubt::Unproven);
        }
        let user = Aor::from_user(&said.username).ok_or(Doubt::Wrong)?;
        let known = self.users.secrets(user.as_bytes()).and_then(|secrets| secrets.get(said.algorithm));
        // Somebody unknown costs as much as somebody known.
        let nobody = Hex::of_nobody(said.algorithm);
        let method = request.method_name();
        let proven = said.proves(known.unwrap_or(&nobody), method) && known.is_some();
        if !proven || !names_target(&said, request, is_own) {
            return Err(Doubt::Wrong);
        }
        let Verdict::Fresh { age } = nonce::judge(&keys.nonce, unix_secs, &said.nonce) else {
            return Err(Doubt::Stale);
        };
        let count = said.auth.as_ref().map_or(1, |auth| auth.count);
        let nonce = keys.nonce.hash().piece(&said.nonce).piece(b"use").finish64();
        Ok((user, Use { nonce, made_secs: unix_secs.saturating_sub(age), count }))
    }

    /// Asks for proof: one header line for each algorithm.
    pub fn write_challenge(
        &self,
        out: &mut Vec<u8>,
        request: Request<'_>,
        flow: Flow,
        doubt: Doubt,
        keys: &Keys,
        unix_secs: u64,
    ) {
        let header: &[u8] = if request.method() == Method::Register { b"WWW" } else { b"Proxy" };
        let nonce = nonce::make(&keys.nonce, unix_secs, salt(request, flow, keys));
        for algorithm in &self.algorithms {
            let stale: &[u8] = if doubt == Doubt::Stale { b", stale=true" } else { b"" };
            let parts: [&[u8]; 10] = [
                header,
                b"-Authenticate: Digest realm=\"",
                self.realm.as_bytes(),
                b"\", nonce=\"",
                &nonce,
                b"\", algorithm=",
                algorithm.as_str().as_bytes(),
                b", qop=\"auth\"",
                stale,
                b"\r\n",
            ];
            parts.iter().for_each(|part| out.extend_from_slice(part));
        }
    }
}

/// The digest must be over this request's target, or it may have been made for another (RFC 7616 section 3.4.6). Phones spell the
/// farm in many ways, by its name or its address, so what is compared is whom of the farm's it names (RFC 3261 section 22.4).
fn names_target(said: &Credentials<'_>, request: Request<'_>, is_own: impl Fn(&Uri<'_>) -> bool) -> bool {
    if *said.uri == *request.uri_text() {
        return true;
    }
    let (Some(said), Some(asked)) = (uri::parse(&said.uri), request.uri()) else { return false };
    said.user == asked.user && is_own(&said) && is_own(&asked)
}

/// Different for each request and flow, the same for repetitions.
fn salt(request: Request<'_>, flow: Flow, keys: &Keys) -> u64 {
    let branch = request.via().and_then(|via| via.branch).map_or(&[][..], |branch| request.text(branch));
    let address = match flow.remote.ip() {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let hash = keys.nonce.hash().piece(request.call_id()).piece(branch);
    let hash = hash.wide(address).number(u64::from(flow.remote.port()));
    hash.number(u64::from(request.cseq().map_or(0, |cseq| cseq.number))).finish64()
}
