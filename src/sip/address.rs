//! `name-addr` and `addr-spec` values: From, To, Contact, Route and their like (RFC 3261 section 20.10).

use super::scan::{Cursor, Malformed, Span};

/// One address with its header parameters. Spans point into the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// All of this value, without the comma that may follow.
    pub whole: Span,
    /// The URI, without angle brackets.
    pub uri: Span,
    /// The header parameters, from the first `;` on.
    pub params: Span,
    /// The `tag` parameter.
    pub tag: Option<Span>,
}

/// Reads one address and stops at the comma behind it or at the end.
pub fn parse(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<Address, Malformed> {
    cursor.skip_lws();
    let start = cursor.at();
    let uri = uri(bytes, cursor)?;
    let params_start = cursor.at();
    let mut address = Address { uri, ..Address::default() };
    let mut end = params_start;
    // All that most addresses have.
    if let Some(tag) = cursor.plain_value(b";tag=") {
        address.tag = Some(tag);
        end = cursor.at();
    }
    while let Some(param) = cursor.param()? {
        if param.name.len() == 3 && param.name.of(bytes).eq_ignore_ascii_case(b"tag") {
            // With two tags it has no clear identity, and two readers may see two dialogs.
            if address.tag.is_some() {
                return Err(Malformed);
            }
            address.tag = param.value;
        }
        end = cursor.at();
    }
    cursor.skip_lws();
    if !matches!(cursor.peek(), None | Some(b',')) {
        return Err(Malformed);
    }
    address.params = Span::new(params_start, end.max(params_start));
    address.whole = Span::new(start, end.max(params_start));
    Ok(address)
}

/// The URI, whichever of the two forms it is written in. Without brackets every `;` belongs to the
/// header and not to the URI (RFC 3261 section 20).
fn uri(bytes: &[u8], cursor: &mut Cursor<'_>) -> Result<Span, Malformed> {
    if cursor.peek() == Some(b'"') {
        cursor.quoted().ok_or(Malformed)?;
        cursor.skip_lws();
        return bracketed(cursor);
    }
    let bare = cursor.bare();
    if cursor.peek() == Some(b'<') {
        return bracketed(cursor);
    }
    let text = super::scan::trim(bare.of(bytes));
    let uri = Span::new(bare.start as usize, bare.start as usize + text.len());
    if text.is_empty() || !text.contains(&b':') || text.iter().any(|b| super::scan::is_lws(*b)) {
        return Err(Malformed);
    }
    Ok(uri)
}

fn bracketed(cursor: &mut Cursor<'_>) -> Result<Span, Malformed> {
    if !cursor.eat(b'<') {
        return Err(Malformed);
    }
    let uri = cursor.bracketed();
    if uri.is_empty() || !cursor.eat(b'>') {
        return Err(Malformed);
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, Option<String>), Malformed> {
        let bytes = text.as_bytes();
        let address = parse(bytes, &mut Cursor::new(bytes, Span::new(0, bytes.len())))?;
        let show = |span: Span| String::from_utf8(span.of(bytes).to_vec()).unwrap();
        Ok((show(address.uri), address.tag.map(show)))
    }

    #[test]
    fn every_everyday_form_gives_its_uri_and_tag() {
        let some = |uri: &str, tag: &str| Ok((uri.to_owned(), Some(tag.to_owned())));
        assert_eq!(read("sip:a@b;tag=1"), some("sip:a@b", "1"));
        assert_eq!(read("<sip:a@b;x=y>;tag=1"), some("sip:a@b;x=y", "1"));
        assert_eq!(read("\"J Rosenberg \\\\\\\"\" <sip:j@b> ; tag = 98asjd8"), some("sip:j@b", "98asjd8"));
        assert_eq!(read("\"a, b; <c>\" <sip:j@b>;tag=9"), some("sip:j@b", "9"));
        assert_eq!(read("Caller one two<tel:+123>;tag=9, <sip:x>"), some("tel:+123", "9"));
        assert_eq!(read("<sip:a@b>"), Ok(("sip:a@b".to_owned(), None)));
    }

    #[test]
    fn open_quotes_open_brackets_and_empty_uris_are_refused() {
        for text in [
            "<sip:a>;tag=1;tag=2",
            "< sip:a@b>",
            "<sip:a@b >",
            "\"Mr J <sip:a@b>",
            "<sip:a@b",
            "<>",
            "",
            ";tag=1",
            "sip:a b;tag=1",
            "<sip:a@b>x",
            "name",
        ] {
            assert_eq!(read(text), Err(Malformed), "{text}");
        }
    }
}
