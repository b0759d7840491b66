//! What a REGISTER at this edge means for the user's phones at other edges: he has one list of bindings (RFC 3261 section 10.3).

use super::Binding;
use super::binding::same_uri;
use super::register::{Plan, TakenBack, Terms};

/// The user's phones at other edges, after a REGISTER that was obeyed here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Those that stay.
    pub bindings: Vec<Binding>,
    /// What is taken back of them: by the phone, or to make room.
    pub taken_back: TakenBack,
}

impl Elsewhere {
    /// What becomes of them. Too many make room, the one first that was refreshed longest ago, wherever it is.
    pub fn after(plan: &mut Plan, bindings: Vec<Binding>, taken_back: TakenBack, terms: &Terms) -> Self {
        let mut elsewhere = Elsewhere { bindings, taken_back };
        elsewhere.leave_out(&plan.bindings);
        if !plan.changes.is_none() {
            elsewhere.make_room(plan, terms);
        }
        elsewhere
    }

    /// Those that are not among the phones here, for an answer that changes nothing.
    pub fn beside(bindings: Vec<Binding>, here: &[Binding]) -> Self {
        let mut elsewhere = Elsewhere { bindings, taken_back: TakenBack::Nothing };
        elsewhere.leave_out(here);
        elsewhere
    }

    /// A phone that has come here is there no more, and neither is one that was taken back.
    fn leave_out(&mut self, here: &[Binding]) {
        let is_over = |binding: &Binding| match &self.taken_back {
            TakenBack::Nothing => false,
            TakenBack::Contacts(list) => list.iter().any(|uri| same_uri(uri, binding.contact())),
            TakenBack::All => true,
        };
        self.bindings.retain(|there| !is_over(there) && !here.iter().any(|here| here.replaces(there)));
    }

    fn make_room(&mut self, plan: &mut Plan, terms: &Terms) {
        let oldest = |list: &[Binding]| (0..list.len()).min_by_key(|at| list[*at].updated);
        while plan.bindings.len() + self.bindings.len() > terms.contacts_max {
            match (oldest(&plan.bindings), oldest(&self.bindings)) {
                (Some(here), there) if there.is_none_or(|there| self.is_younger(there, &plan.bindings[here])) => {
                    plan.bindings.remove(here);
                    plan.changes.displaced += 1;
                }
                (_, Some(there)) => {
                    let contact = self.bindings.remove(there).contact().into();
                    self.take_back(contact);
                }
                (_, None) => return,
            }
        }
    }

    fn is_younger(&self, there: usize, here: &Binding) -> bool {
        self.bindings[there].updated > here.updated
    }

    fn take_back(&mut self, contact: Box<[u8]>) {
        match &mut self.taken_back {
            TakenBack::All => {}
            TakenBack::Contacts(list) => list.push(contact),
            nothing => *nothing = TakenBack::Contacts(vec![contact]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Moment;
    use crate::registrar::binding::Texts;
    use crate::registrar::register::Changes;
    use crate::transport::flow::{Flow, ListenerId, Protocol};

    fn binding(contact: &str, updated_secs: u64) -> Binding {
        Binding {
            texts: Texts::new(contact.as_bytes(), None, b""),
            flow: Flow {
                listener: ListenerId(0),
                protocol: Protocol::Udp,
                remote: "192.0.2.7:5060".parse().unwrap(),
                connection: None,
            },
            preference: 1_000,
            expires: Moment::from_micros(1_000_000_000),
            updated: Moment::from_micros(updated_secs * 1_000_000),
            call_id: 0,
            cseq: 0,
            reg_id: 0,
        }
    }

    fn plan(contacts: &[(&str, u64)], added: usize) -> Plan {
        let bindings = contacts.iter().map(|(contact, secs)| binding(contact, *secs)).collect();
        Plan { bindings, changes: Changes { added, ..Changes::default() } }
    }

    fn contacts(list: &[Binding]) -> Vec<String> {
        list.iter().map(|one| String::from_utf8_lossy(one.contact()).into_owned()).collect()
    }

    fn terms(contacts_max: usize) -> Terms {
        Terms { contacts_max, ..Terms::default() }
    }

    fn taken(list: &[&str]) -> TakenBack {
        TakenBack::Contacts(list.iter().map(|uri| uri.as_bytes().into()).collect())
    }

    #[test]
    fn a_phone_that_has_come_here_and_one_that_was_taken_back_are_there_no_more() {
        let there = || ["sip:a@192.0.2.1", "sip:b@192.0.2.2", "sip:c@192.0.2.3"].map(|uri| binding(uri, 10)).to_vec();
        let mut plan = plan(&[("sip:a@192.0.2.1", 20)], 1);
        let after = Elsewhere::after(&mut plan, there(), taken(&["sip:b@192.0.2.2"]), &terms(5));
        assert_eq!(contacts(&after.bindings), ["sip:c@192.0.2.3"]);
        assert_eq!((after.taken_back, plan.bindings.len()), (taken(&["sip:b@192.0.2.2"]), 1));
        let after = Elsewhere::after(&mut self::plan(&[], 0), there(), TakenBack::All, &terms(5));
        assert_eq!((after.bindings.len(), after.taken_back), (0, TakenBack::All));
    }

    #[test]
    fn who_was_refreshed_longest_ago_makes_room_wherever_he_is() {
        let there = vec![binding("sip:old@192.0.2.1", 10), binding("sip:new@192.0.2.2", 40)];
        let mut plan = plan(&[("sip:here@192.0.2.3", 50), ("sip:mid@192.0.2.4", 20)], 1);
        let after = Elsewhere::after(&mut plan, there.clone(), TakenBack::Nothing, &terms(2));
        assert_eq!(contacts(&after.bindings), ["sip:new@192.0.2.2"]);
        assert_eq!(after.taken_back, taken(&["sip:old@192.0.2.1"]));
        assert_eq!((contacts(&plan.bindings), plan.changes.displaced), (vec!["sip:here@192.0.2.3".to_owned()], 1));
        let after = Elsewhere::after(&mut plan, there, TakenBack::Nothing, &terms(1));
        assert_eq!((after.bindings.len(), plan.bindings.len()), (0, 1), "the one that has just come stays");
    }

    #[test]
    fn who_asks_only_displaces_nobody() {
        let there = vec![binding("sip:a@192.0.2.1", 10), binding("sip:b@192.0.2.2", 10)];
        let after = Elsewhere::after(&mut plan(&[], 0), there, TakenBack::Nothing, &terms(1));
        assert_eq!((after.bindings.len(), after.taken_back), (2, TakenBack::Nothing));
    }
}
