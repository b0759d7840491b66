//! Keeps the ways to phones behind NAT open (RFC 5626 section 4.4, by OPTIONS in place of STUN), and notices phones that are gone.
//!
//! A NAT forgets a way in that nothing passes, over UDP often within half a minute. A phone whose contact names another address than the one it
//! was heard from is asked again and again; several times without an answer end its binding, and its user is unavailable at
//! once and not when the registration runs out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;

use crate::calls::lease::Way;
use crate::dispatch::Farm;
use crate::moment::Moment;
use crate::proxy::branch::ProbeBranch;
use crate::registrar::{Aor, Binding, Ended};
use crate::sip::originate::{Probe, options};
use crate::transport::flow::Flow;

use super::ended::end_bindings;
use super::engine::Engine;
use super::hands::send_to;
use super::registrations::KEEPER;

/// Pauses without an answer until a phone counts as gone.
const MISSES_MAX: u32 = 3;
/// Phones that are looked after at a time. The registrar's own bound is the configuration's.
const PHONES_MAX: usize = 1_000_000;
/// How often the list of phones is made anew.
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// How often the task looks whom it has to ask.
const TICK: Duration = Duration::from_millis(200);

/// A user, and the contact of one of his phones.
type PhoneId = (Aor, Box<[u8]>);

/// The task.
pub struct Keeper {
    engine: Arc<Engine>,
    phones: HashMap<PhoneId, Phone>,
    /// Numbers of the questions on their way.
    asked: HashMap<u32, PhoneId>,
    /// Whom to ask when.
    due: BTreeMap<(Moment, u32), PhoneId>,
    next: u32,
    run: u64,
    looked: Moment,
}

/// One phone.
struct Phone {
    flow: Flow,
    misses: u32,
    question: Option<u32>,
    is_seen: bool,
}

impl Keeper {
    /// A task for this edge.
    pub fn new(engine: Arc<Engine>) -> Self {
        let (next, run) = (rand::rng().random(), rand::rng().random());
        let looked = Moment::ZERO;
        Keeper { engine, phones: HashMap::new(), asked: HashMap::new(), due: BTreeMap::new(), next, run, looked }
    }

    /// Runs until it is aborted.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(TICK).await;
            let farm = self.engine.farm.load_full();
            let pause = farm.registrar.as_ref().map(|service| service.keep_alive).filter(|pause| !pause.is_zero());
            match pause {
                Some(pause) => self.turn(&farm, pause),
                None => {
                    self.phones.clear();
                    self.asked.clear();
                    self.due.clear();
                }
            }
        }
    }

    fn turn(&mut self, farm: &Farm, pause: Duration) {
        let now = self.engine.clock.now();
        for number in self.engine.registrations.take_kept() {
            if let Some(phone) = self.asked.remove(&number).and_then(|key| self.phones.get_mut(&key)) {
                (phone.misses, phone.question) = (0, None);
            }
        }
        if now.since(self.looked) >= LOOK_AROUND.min(pause) {
            self.looked = now;
            self.look_around(now, pause);
        }
        while let Some(entry) = self.due.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.ask(farm, key, now, pause);
        }
    }

    /// Takes up new phones and forgets those that are registered no more.
    fn look_around(&mut self, now: Moment, pause: Duration) {
        let engine = Arc::clone(&self.engine);
        self.phones.values_mut().for_each(|phone| phone.is_seen = false);
        engine.registrations.each(|aor, bindings| {
            for binding in bindings.iter().filter(|binding| binding.expires > now && binding.is_behind_nat()) {
                let key = (aor.clone(), binding.contact().into());
                let room = self.phones.len() < PHONES_MAX;
                match self.phones.get_mut(&key) {
                    Some(phone) => (phone.is_seen, phone.flow) = (true, binding.flow),
                    None if room => {
                        let phone = Phone { flow: binding.flow, misses: 0, question: None, is_seen: true };
                        self.phones.insert(key.clone(), phone);
                        self.next = self.next.wrapping_add(1);
                        self.due.insert((now + pause.mul_f64(rand::rng().random()), self.next), key);
                    }
                    None => {}
                }
            }
        });
        let asked = &mut self.asked;
        self.phones.retain(|_, phone| {
            if let (false, Some(question)) = (phone.is_seen, phone.question) {
                asked.remove(&question);
            }
            phone.is_seen
        });
    }

    fn ask(&mut self, farm: &Farm, key: PhoneId, now: Moment, pause: Duration) {
        let Some(phone) = self.phones.get_mut(&key) else { return };
        if let Some(unanswered) = phone.question.take() {
            self.asked.remove(&unanswered);
            phone.misses += 1;
        }
        if phone.misses >= MISSES_MAX {
            self.phones.remove(&key);
            return self.give_up(&key, now);
        }
        self.next = self.next.wrapping_add(1);
        phone.question = Some(self.next);
        let way = Way::Flow(phone.flow);
        if let Some(bytes) = question(farm, self.run, self.next, way, &key.1) {
            send_to(&self.engine, way, bytes);
        }
        self.asked.insert(self.next, key.clone());
        // Spread by a tenth, so that the phones of a floor do not answer all at once for ever after.
        let pause = pause.mul_f64(0.9 + 0.2 * rand::rng().random::<f64>());
        self.due.insert((now + pause, self.next), key);
    }

    fn give_up(&self, key: &PhoneId, now: Moment) {
        let (aor, contact) = key;
        let gone = |binding: &Binding| binding.contact() == &**contact;
        end_bindings(&self.engine, aor, Ended::Unreachable, now, gone);
    }
}

fn question(farm: &Farm, run: u64, number: u32, way: Way, contact: &[u8]) -> Option<Vec<u8>> {
    let listener = farm.listener_for(way.target(), way.listener())?;
    let sent_by = String::from_utf8_lossy(&listener.sent_by);
    Some(options(Probe {
        uri: std::str::from_utf8(contact).ok()?,
        via: &ProbeBranch { node: KEEPER.0, probe: number }.via(&farm.keys, listener),
        from: &format!("<sip:{}@{sent_by}>;tag=k{:x}", farm.edge, run ^ u64::from(number)),
        call_id: &format!("keep-{run:x}-{number}@{sent_by}"),
        cseq: 1,
    }))
}
