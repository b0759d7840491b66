//! Header fields that may be removed from messages, in every spelling.

/// Fields that a message is routed and told apart by (RFC 3261 sections 8.1.1 and 16.6).
const ROUTING: [&str; 10] =
    ["via", "from", "to", "call-id", "cseq", "max-forwards", "route", "record-route", "contact", "content-length"];

/// Compact forms (RFC 3261 section 7.3.3 and the IANA registry of header fields).
const COMPACT: [(&str, &str); 20] = [
    ("a", "accept-contact"),
    ("b", "referred-by"),
    ("c", "content-type"),
    ("d", "request-disposition"),
    ("e", "content-encoding"),
    ("f", "from"),
    ("i", "call-id"),
    ("j", "reject-contact"),
    ("k", "supported"),
    ("l", "content-length"),
    ("m", "contact"),
    ("n", "identity-info"),
    ("o", "event"),
    ("r", "refer-to"),
    ("s", "subject"),
    ("t", "to"),
    ("u", "allow-events"),
    ("v", "via"),
    ("x", "session-expires"),
    ("y", "identity"),
];

/// The long and the compact form of a name, in lower case. None for a field that cannot be removed.
pub fn spellings(name: &str) -> Option<Vec<String>> {
    let name = name.to_ascii_lowercase();
    let pair = COMPACT.iter().find(|(compact, long)| *compact == name || *long == name);
    let long = pair.map_or(name.as_str(), |(_, long)| long);
    if ROUTING.contains(&long) {
        return None;
    }
    let compact = pair.map(|(compact, _)| (*compact).to_owned());
    Some([long.to_owned()].into_iter().chain(compact).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_known_by_both_of_its_forms() {
        assert_eq!(spellings("Subject").unwrap(), ["subject", "s"]);
        assert_eq!(spellings("S").unwrap(), ["subject", "s"]);
        assert_eq!(spellings("P-Asserted-Identity").unwrap(), ["p-asserted-identity"]);
    }

    #[test]
    fn what_routes_a_message_stays_in_either_form() {
        for name in ["Via", "v", "CSeq", "m", "L", "Record-Route", "I"] {
            assert_eq!(spellings(name), None, "{name}");
        }
    }
}
