//! Contacts that stand in the configuration: phones that cannot register, such as door phones and analogue gateways.

use std::collections::HashMap;
use std::sync::Arc;

use crate::calls::lease::Way;

use super::aor::Aor;

/// Where a phone that cannot register is reached. It is never stored, asked or ended: it holds for as long as it is
/// configured, and no REGISTER changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permanent {
    /// Its URI: what it is called by.
    pub contact: Box<[u8]>,
    /// Where it is called at.
    pub way: Way,
    /// Preference (`q`) in thousandths.
    pub preference: u16,
}

/// All of them by address of record, the most wanted first. Copies share one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permanents {
    list: Arc<HashMap<Aor, Vec<Permanent>>>,
}

impl Permanents {
    /// From a list in the order of the file, which decides among equals.
    pub fn new(list: impl IntoIterator<Item = (Aor, Permanent)>) -> Self {
        let mut by_aor: HashMap<Aor, Vec<Permanent>> = HashMap::new();
        for (aor, contact) in list {
            by_aor.entry(aor).or_default().push(contact);
        }
        by_aor.values_mut().for_each(|contacts| contacts.sort_by_key(|contact| std::cmp::Reverse(contact.preference)));
        Permanents { list: Arc::new(by_aor) }
    }

    /// Those of a user.
    pub fn of(&self, aor: &[u8]) -> &[Permanent] {
        self.list.get(aor).map_or(&[], Vec::as_slice)
    }

    /// Users who have one, in no order.
    pub fn names(&self) -> impl Iterator<Item = &Aor> {
        self.list.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::flow::{ListenerId, Protocol, Target};

    #[test]
    fn a_users_contacts_are_in_the_order_in_which_they_are_called() {
        let aor = |user: &str| Aor::from_user(user.as_bytes()).unwrap();
        let contact = |uri: &str, preference| {
            let target = Target { protocol: Protocol::Udp, address: "192.0.2.50:5060".parse().unwrap() };
            let way = Way::Target { listener: ListenerId(1), target };
            Permanent { contact: uri.as_bytes().into(), way, preference }
        };
        let list = [("1", "sip:a@h", 500), ("1", "sip:b@h", 900), ("2", "sip:c@h", 1_000), ("1", "sip:d@h", 500)];
        let permanents = Permanents::new(list.map(|(user, uri, q)| (aor(user), contact(uri, q))));
        let uris = |user: &str| -> Vec<String> {
            let of = permanents.of(user.as_bytes()).iter();
            of.map(|contact| String::from_utf8_lossy(&contact.contact).into_owned()).collect()
        };
        assert_eq!(uris("1"), ["sip:b@h", "sip:a@h", "sip:d@h"]);
        assert_eq!(uris("2"), ["sip:c@h"]);
        assert!(uris("3").is_empty());
        assert_eq!(permanents.names().count(), 2);
    }
}
