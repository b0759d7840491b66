//! What a REGISTER does to the bindings of its address of record (RFC 3261 section 10.3).
//!
//! Pure: the request and what is held go in, what is held afterwards comes out, or the reason why nothing changes. All or
//! nothing, as step 7 of the section asks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::keys::Keys;
use crate::moment::Moment;
use crate::sip::edit::number;
use crate::sip::message::Message;
use crate::sip::parse::Field;
use crate::sip::scan::{Cursor, Span, trim};
use crate::sip::values::option_tags;
use crate::sip::{HeaderName, Request, address, uri};
use crate::transport::flow::Flow;

use super::binding::{Binding, CONTACT_LEN_MAX, Texts, preference};
use super::digest::seconds;
use super::ended::Ended;

/// Contacts in one REGISTER.
const CONTACTS_MAX: usize = 16;
/// How long a phone repeats a REGISTER.
const REPEATS_FOR: Duration = Duration::from_secs(32);
/// Octets of all Path values.
const PATH_LEN_MAX: usize = 512;

/// How long registrations last, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Shorter ones are refused with 423.
    pub expires_min: Duration,
    /// What a phone gets that asks for nothing.
    pub expires_default: Duration,
    /// Longer ones are shortened.
    pub expires_max: Duration,
    /// Contacts of one address of record. The one that was refreshed longest ago makes room.
    pub contacts_max: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            expires_min: Duration::from_secs(60),
            expires_default: Duration::from_secs(300),
            expires_max: Duration::from_secs(3_600),
            contacts_max: 5,
        }
    }
}

/// Where and when a REGISTER came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Its flow.
    pub flow: Flow,
    /// The moment.
    pub now: Moment,
}

/// What becomes of the bindings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// All bindings afterwards.
    pub bindings: Vec<Binding>,
    /// What changed; a fetch changes nothing.
    pub changes: Changes,
}

/// Number of bindings that came, stayed and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ones.
    pub added: usize,
    /// Refreshed ones.
    pub refreshed: usize,
    /// Removed by the phone.
    pub removed: usize,
    /// Removed to make room.
    pub displaced: usize,
}

impl Changes {
    /// True when nothing is to be stored.
    pub fn is_none(self) -> bool {
        self == Changes::default()
    }

    /// How many ended, and why.
    pub fn ended(self) -> [(Ended, usize); 2] {
        [(Ended::Removed, self.removed), (Ended::Displaced, self.displaced)]
    }
}

/// Why nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// A Contact or Path that cannot be used: 400.
    Malformed,
    /// `*` with other contacts, or without `Expires: 0`: 400.
    BadWildcard,
    /// It asks for less time than the least: 423.
    TooBrief,
    /// A newer REGISTER of the same series was here before: 500.
    OutOfOrder,
    /// More contacts at once than may be held: 403.
    TooManyContacts,
}

impl Refusal {
    /// Metric label and test expectation.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Malformed => "bad_contact",
            Refusal::BadWildcard => "bad_wildcard",
            Refusal::TooBrief => "too_brief",
            Refusal::OutOfOrder => "out_of_order",
            Refusal::TooManyContacts => "too_many_contacts",
        }
    }

    /// The status code.
    pub fn code(self) -> u16 {
        match self {
            Refusal::Malformed | Refusal::BadWildcard => 400,
            Refusal::TooBrief => 423,
            Refusal::OutOfOrder => 500,
            Refusal::TooManyContacts => 403,
        }
    }
}

/// What a REGISTER takes back, wherever it is held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TakenBack {
    /// Nothing.
    #[default]
    Nothing,
    /// These contacts.
    Contacts(Vec<Box<[u8]>>),
    /// All of the user's.
    All,
}

/// What a REGISTER that is obeyed takes back (section 10.2.2).
pub fn taken_back(request: Request<'_>) -> TakenBack {
    match contacts(request) {
        Ok(Said::Wildcard) => TakenBack::All,
        Ok(Said::Contacts(list)) => {
            let over = list.iter().filter(|contact| contact.expires_secs == Some(0));
            let over: Vec<Box<[u8]>> = over.map(|contact| contact.uri.into()).collect();
            if over.is_empty() { TakenBack::Nothing } else { TakenBack::Contacts(over) }
        }
        Ok(Said::Nothing) | Err(_) => TakenBack::Nothing,
    }
}

/// Makes the plan.
pub fn plan(
    request: Request<'_>,
    arrival: Arrival,
    terms: &Terms,
    keys: &Keys,
    held: &[Binding],
) -> Result<Plan, Refusal> {
    let live = || held.iter().filter(|binding| binding.expires > arrival.now);
    let said = contacts(request)?;
    let series = Series::of(request, keys);
    let mut plan = Plan { bindings: live().cloned().collect(), changes: Changes::default() };
    if let Said::Wildcard = said {
        if live().any(|binding| series.is_older_than(binding)) {
            return Err(Refusal::OutOfOrder);
        }
        plan.changes.removed = plan.bindings.len();
        plan.bindings.clear();
        return Ok(plan);
    }
    let Said::Contacts(list) = said else { return Ok(plan) };
    let path = path(request)?;
    for contact in &list {
        let span = granted(contact.expires_secs, terms, series.draw)?;
        let binding = contact.binding(arrival, series, span.unwrap_or_default(), &path);
        plan.take(binding, span.is_some(), series)?;
    }
    plan.make_room(terms, list.len())?;
    // The most wanted first, then the newest: the order in which they are called (section 16.6).
    plan.bindings.sort_by(|a, b| b.preference.cmp(&a.preference).then(b.updated.cmp(&a.updated)));
    Ok(plan)
}

/// When a REGISTER was obeyed that this one repeats, because its answer is on its way or was lost: the same series and number, by the
/// same flow, as long as a phone repeats itself (timer F, section 17.1.2.2).
pub fn repeated(request: Request<'_>, arrival: Arrival, keys: &Keys, held: &[Binding]) -> Option<Moment> {
    let series = Series::of(request, keys);
    let is_same = |binding: &&Binding| {
        binding.flow == arrival.flow
            && (binding.call_id, binding.cseq) == (series.call_id, series.cseq)
            && arrival.now.since(binding.updated) <= REPEATS_FOR
    };
    held.iter().find(is_same).map(|binding| binding.updated)
}

impl Plan {
    fn take(&mut self, binding: Binding, stays: bool, series: Series) -> Result<(), Refusal> {
        let known = self.bindings.iter().position(|older| binding.replaces(older));
        if known.is_some_and(|at| series.is_older_than(&self.bindings[at])) {
            return Err(Refusal::OutOfOrder);
        }
        match (known, stays) {
            (Some(at), true) => {
                self.bindings[at] = binding;
                self.changes.refreshed += 1;
            }
            (Some(at), false) => {
                self.bindings.remove(at);
                self.changes.removed += 1;
            }
            (None, true) => {
                self.bindings.push(binding);
                self.changes.added += 1;
            }
            (None, false) => {}
        }
        Ok(())
    }

    /// A phone that starts again with another port must not be locked out by what it left behind.
    fn make_room(&mut self, terms: &Terms, just_said: usize) -> Result<(), Refusal> {
        if just_said > terms.contacts_max {
            return Err(Refusal::TooManyContacts);
        }
        while self.bindings.len() > terms.contacts_max {
            let oldest = (0..self.bindings.len()).min_by_key(|at| self.bindings[*at].updated);
            oldest.map(|at| self.bindings.remove(at));
            self.changes.displaced += 1;
        }
        Ok(())
    }
}

/// Which REGISTER of which series this is.
#[derive(Clone, Copy, Debug)]
struct Series {
    call_id: u64,
    cseq: u32,
    /// For the jitter of what is granted; the same for repetitions.
    draw: u64,
}

impl Series {
    fn of(request: Request<'_>, keys: &Keys) -> Self {
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        let call_id = keys.call.hash().piece(request.call_id()).finish64();
        let draw = keys.tag.hash().piece(request.call_id()).number(u64::from(cseq)).finish64();
        Series { call_id, cseq, draw }
    }

    /// Equal numbers are a repetition, which gets the same answer again.
    fn is_older_than(self, binding: &Binding) -> bool {
        self.call_id == binding.call_id && self.cseq < binding.cseq
    }
}

enum Said<'a> {
    Nothing,
    Wildcard,
    Contacts(Vec<Contact<'a>>),
}

struct Contact<'a> {
    uri: &'a [u8],
    preference: u16,
    expires_secs: Option<u32>,
    instance: Option<&'a [u8]>,
    reg_id: u32,
}

impl Contact<'_> {
    fn binding(&self, arrival: Arrival, series: Series, span: Duration, path: &[u8]) -> Binding {
        Binding {
            texts: Texts::new(self.uri, self.instance, path),
            flow: arrival.flow,
            preference: self.preference,
            expires: arrival.now + span,
            updated: arrival.now,
            call_id: series.call_id,
            cseq: series.cseq,
            reg_id: self.reg_id,
        }
    }
}

fn contacts(request: Request<'_>) -> Result<Said<'_>, Refusal> {
    let expires = request.values(HeaderName::Expires).next();
    // A value that is no number counts as the default (section 20.19).
    let header_secs = expires.and_then(|value| seconds(trim(value)));
    let fields = || request.fields().iter().filter(|field| field.name == HeaderName::Contact);
    if fields().any(|field| trim(request.text(field.value)) == b"*") {
        let alone = fields().count() == 1 && header_secs == Some(0);
        return if alone { Ok(Said::Wildcard) } else { Err(Refusal::BadWildcard) };
    }
    let mut list = Vec::new();
    for field in fields() {
        read_line(request, field, header_secs, &mut list)?;
    }
    Ok(if list.is_empty() { Said::Nothing } else { Said::Contacts(list) })
}

fn read_line<'a>(
    request: Request<'a>,
    field: &Field,
    header_secs: Option<u32>,
    list: &mut Vec<Contact<'a>>,
) -> Result<(), Refusal> {
    let mut cursor = Cursor::new(request.bytes(), field.value);
    loop {
        let address = address::parse(request.bytes(), &mut cursor).map_err(|_| Refusal::Malformed)?;
        if list.len() >= CONTACTS_MAX {
            return Err(Refusal::TooManyContacts);
        }
        list.push(contact(request, address, header_secs)?);
        if !cursor.eat_separator(b',') {
            return if cursor.is_done() { Ok(()) } else { Err(Refusal::Malformed) };
        }
    }
}

fn contact<'a>(
    request: Request<'a>,
    address: address::Address,
    header_secs: Option<u32>,
) -> Result<Contact<'a>, Refusal> {
    let text = request.text(address.uri);
    // Headers in a contact would be put into every request that goes there (section 19.1.5).
    let usable = uri::parse(text).is_some_and(|uri| uri.is_sip() && uri.headers.is_empty());
    if !usable || text.contains(&b'?') || text.len() > CONTACT_LEN_MAX {
        return Err(Refusal::Malformed);
    }
    let mut contact = Contact { uri: text, preference: 1_000, expires_secs: header_secs, instance: None, reg_id: 0 };
    let mut params = Cursor::new(request.bytes(), address.params);
    while let Ok(Some(param)) = params.param() {
        let value = param.value.map(|value| request.text(value));
        let name = request.text(param.name);
        if name.eq_ignore_ascii_case(b"expires") {
            contact.expires_secs = value.and_then(seconds).or(contact.expires_secs);
        } else if name.eq_ignore_ascii_case(b"q") {
            contact.preference = preference(value).ok_or(Refusal::Malformed)?;
        } else if name.eq_ignore_ascii_case(b"+sip.instance") {
            contact.instance = value.filter(|value| !value.is_empty() && value.len() <= CONTACT_LEN_MAX);
        } else if name.eq_ignore_ascii_case(b"reg-id") {
            contact.reg_id = value.and_then(seconds).unwrap_or(0);
        }
    }
    Ok(contact)
}

/// How long the contact is held; `None` when it goes. Shortened at random by up to a tenth, so that the phones of a floor that had
/// no power do not come back all at once for ever after.
fn granted(asked_secs: Option<u32>, terms: &Terms, draw: u64) -> Result<Option<Duration>, Refusal> {
    let (min, max) = (terms.expires_min.as_secs(), terms.expires_max.as_secs());
    let asked = asked_secs.map_or(terms.expires_default.as_secs(), u64::from);
    if asked == 0 {
        return Ok(None);
    }
    if asked < min {
        return Err(Refusal::TooBrief);
    }
    let most = asked.min(max);
    let room = (most / 10).min(most - min.min(most));
    Ok(Some(Duration::from_secs(most - draw % (room + 1))))
}

/// The Path values, joined (RFC 3327 section 5.3).
fn path(request: Request<'_>) -> Result<Vec<u8>, Refusal> {
    let mut path = Vec::new();
    for value in request.values(HeaderName::Path) {
        if !path.is_empty() {
            path.extend_from_slice(b", ");
        }
        path.extend(trim(value).iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }));
    }
    let mut cursor = Cursor::new(&path, Span::new(0, path.len()));
    let mut is_list = path.is_empty();
    while !is_list {
        address::parse(&path, &mut cursor).map_err(|_| Refusal::Malformed)?;
        is_list = !cursor.eat_separator(b',');
    }
    if !cursor.is_done() || path.len() > PATH_LEN_MAX {
        return Err(Refusal::Malformed);
    }
    Ok(path)
}

/// The headers of the 200: every binding that is held (step 8), and what the phone has to know of its own.
pub fn write_answer(
    out: &mut Vec<u8>,
    request: Request<'_>,
    bindings: &[Binding],
    now: Moment,
    gruu_domain: Option<&[u8]>,
) {
    let wants = |tag: &[u8]| option_tags(request, HeaderName::Supported).any(|own| own.eq_ignore_ascii_case(tag));
    let gruu = gruu_domain.filter(|_| wants(b"gruu"));
    let user = request.to_uri().and_then(|uri| uri.user).unwrap_or_default();
    for binding in bindings {
        out.extend_from_slice(b"Contact: <");
        out.extend_from_slice(binding.contact());
        out.extend_from_slice(b">;expires=");
        // Rounded up, or a phone would refresh later than it is held.
        number(out, binding.expires.since(now).as_millis().div_ceil(1_000) as u64);
        if binding.preference != 1_000 {
            out.extend_from_slice(format!(";q=0.{:03}", binding.preference).as_bytes());
        }
        if let Some(instance) = binding.instance() {
            out.extend_from_slice(b";+sip.instance=\"");
            out.extend_from_slice(instance);
            out.push(b'"');
            if binding.reg_id != 0 {
                out.extend_from_slice(b";reg-id=");
                number(out, binding.reg_id);
            }
            if let (Some(domain), [b'<', urn @ .., b'>']) = (gruu, instance) {
                let parts: [&[u8]; 6] = [b";pub-gruu=\"sip:", user, b"@", domain, b";gr=", urn];
                parts.iter().for_each(|part| out.extend_from_slice(part));
                out.push(b'"');
            }
        }
        out.extend_from_slice(b"\r\n");
    }
    let own = bindings.iter().find(|binding| binding.updated == now && !binding.path().is_empty());
    if let Some(own) = own {
        out.extend_from_slice(b"Path: ");
        out.extend_from_slice(own.path());
        out.extend_from_slice(b"\r\n");
    }
    if wants(b"outbound") && bindings.iter().any(|binding| binding.updated == now && binding.reg_id != 0) {
        out.extend_from_slice(b"Require: outbound\r\n");
    }
    out.extend_from_slice(b"Supported: path, outbound, gruu\r\n");
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
