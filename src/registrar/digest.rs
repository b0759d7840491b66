//! Digest authentication (RFC 7616, in SIP: RFC 8760 and RFC 3261 section 22).

use std::borrow::Cow;

use md5::Md5;
use sha2::{Sha256, Sha512_256};
use subtle::ConstantTimeEq;

use crate::sip::scan::{Cursor, Span, decimal};

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-512/256.
    Sha512Of256,
    /// SHA-256.
    Sha256,
    /// MD5: what most phones know.
    Md5,
}

impl Algorithm {
    /// Every algorithm, the strongest first: the order in which they are offered (RFC 8760 section 2.4).
    pub const ALL: [Algorithm; 3] = [Algorithm::Sha512Of256, Algorithm::Sha256, Algorithm::Md5];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Sha512Of256 => "SHA-512-256",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Md5 => "MD5",
        }
    }

    /// Hexadecimal digits of a digest.
    fn digits(self) -> u8 {
        if self == Algorithm::Md5 { 32 } else { 64 }
    }

    /// The algorithm of this name, in any case.
    pub fn from_bytes(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The digest of pieces that are joined by colons.
    pub fn of(self, pieces: &[&[u8]]) -> Hex {
        fn joined<D: sha2::Digest>(pieces: &[&[u8]]) -> Hex {
            let mut digest = D::new();
            for (position, piece) in pieces.iter().enumerate() {
                if position > 0 {
                    digest.update(b":");
                }
                digest.update(piece);
            }
            Hex::new(&digest.finalize())
        }
        match self {
            Algorithm::Sha512Of256 => joined::<Sha512_256>(pieces),
            Algorithm::Sha256 => joined::<Sha256>(pieces),
            Algorithm::Md5 => joined::<Md5>(pieces),
        }
    }
}

/// A digest in lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hex {
    digits: [u8; 64],
    len: u8,
}

impl Hex {
    fn new(octets: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (pair, octet) in digits.chunks_exact_mut(2).zip(octets) {
            pair[0] = DIGITS[usize::from(octet >> 4)];
            pair[1] = DIGITS[usize::from(octet & 15)];
        }
        Hex { digits, len: (octets.len() * 2) as u8 }
    }

    /// Stands for the secret of somebody who has none. That it was not proven is said elsewhere.
    pub fn of_nobody(algorithm: Algorithm) -> Self {
        Hex { digits: [b'0'; 64], len: algorithm.digits() }
    }

    /// Reads digits in either case; `None` unless there are as many as the algorithm gives.
    pub fn read(algorithm: Algorithm, digits: &[u8]) -> Option<Self> {
        let wanted = usize::from(algorithm.digits());
        if digits.len() != wanted || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut own = [0; 64];
        own[..wanted].copy_from_slice(&digits.to_ascii_lowercase());
        Some(Hex { digits: own, len: wanted as u8 })
    }

    /// The digits.
    pub fn digits(&self) -> &[u8] {
        &self.digits[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may be a user's secret.
        f.write_str("Hex(..)")
    }
}

/// `H(user:realm:password)`: all that has to be known of a password.
pub fn ha1(algorithm: Algorithm, user: &[u8], realm: &[u8], password: &[u8]) -> Hex {
    algorithm.of(&[user, realm, password])
}

/// What a client says in Authorization or Proxy-Authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The user.
    pub username: Cow<'a, [u8]>,
    /// The realm that the user answers for.
    pub realm: Cow<'a, [u8]>,
    /// The nonce that is answered.
    pub nonce: Cow<'a, [u8]>,
    /// The URI that the digest was made over.
    pub uri: Cow<'a, [u8]>,
    /// The digest.
    pub response: Cow<'a, [u8]>,
    /// The algorithm; MD5 when none is said.
    pub algorithm: Algorithm,
    /// Protection `auth`: the client's nonce and its count.
    pub auth: Option<Auth<'a>>,
}

/// What `qop=auth` adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// The client's nonce.
    pub cnonce: Cow<'a, [u8]>,
    /// The count, as eight digits.
    pub nc: Cow<'a, [u8]>,
    /// The same as a number.
    pub count: u32,
}

impl<'a> Credentials<'a> {
    /// Reads one header value. `None` when it is not Digest, lacks something, or uses what was not offered.
    pub fn read(value: &'a [u8]) -> Option<Self> {
        let mut params = Params::digest(value)?;
        let mut found: [Option<Cow<'a, [u8]>>; 9] = Default::default();
        const NAMES: [&[u8]; 9] =
            [b"username", b"realm", b"nonce", b"uri", b"response", b"algorithm", b"qop", b"cnonce", b"nc"];
        while let Some((name, value)) = params.next()? {
            if let Some(at) = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name))
                && found[at].replace(value).is_some()
            {
                // Two of a kind: two readers could see two users.
                return None;
            }
        }
        let [username, realm, nonce, uri, response, algorithm, qop, cnonce, nc] = found;
        let auth = match qop.as_deref() {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case(b"auth") => {
                let (cnonce, nc) = (cnonce?, nc?);
                let count = (nc.len() == 8).then(|| std::str::from_utf8(&nc).ok()).flatten()?;
                let count = u32::from_str_radix(count, 16).ok().filter(|count| *count > 0)?;
                Some(Auth { cnonce, nc, count })
            }
            Some(_) => return None,
        };
        let algorithm = match algorithm {
            None => Algorithm::Md5,
            Some(name) => Algorithm::from_bytes(&name)?,
        };
        Some(Credentials {
            username: username?,
            realm: realm?,
            nonce: nonce?,
            uri: uri?,
            response: response?,
            algorithm,
            auth,
        })
    }

    /// True when the digest was made with this secret. Takes the same time whether it was or not.
    pub fn proves(&self, ha1: &Hex, method: &[u8]) -> bool {
        let expected = self.expected(ha1, method);
        let same_length = expected.digits().len() == self.response.len();
        let said = self.response.to_ascii_lowercase();
        same_length && bool::from(expected.digits().ct_eq(&said))
    }

    fn expected(&self, ha1: &Hex, method: &[u8]) -> Hex {
        let ha2 = self.algorithm.of(&[method, &self.uri]);
        match &self.auth {
            Some(auth) => {
                let pieces = [ha1.digits(), &self.nonce, &auth.nc, &auth.cnonce, b"auth", ha2.digits()];
                self.algorithm.of(&pieces)
            }
            // RFC 2069, for phones that never learned more.
            None => self.algorithm.of(&[ha1.digits(), &self.nonce, ha2.digits()]),
        }
    }
}

/// The parameters behind `Digest`.
struct Params<'a> {
    bytes: &'a [u8],
    cursor: Cursor<'a>,
    is_first: bool,
}

impl<'a> Params<'a> {
    fn digest(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes, Span::new(0, bytes.len()));
        cursor.skip_lws();
        let scheme = cursor.token()?;
        scheme.of(bytes).eq_ignore_ascii_case(b"Digest").then_some(Params { bytes, cursor, is_first: true })
    }

    /// The next parameter; the outer `None` when the grammar is broken.
    #[allow(clippy::type_complexity)]
    fn next(&mut self) -> Option<Option<(&'a [u8], Cow<'a, [u8]>)>> {
        let (bytes, cursor) = (self.bytes, &mut self.cursor);
        cursor.skip_lws();
        if cursor.is_done() {
            return Some(None);
        }
        if !self.is_first && !cursor.eat_separator(b',') {
            return None;
        }
        self.is_first = false;
        let name = cursor.token()?;
        if !cursor.eat_separator(b'=') {
            return None;
        }
        let value = if cursor.peek() == Some(b'"') {
            unescaped(cursor.quoted()?.of(bytes))
        } else {
            Cow::Borrowed(cursor.token()?.of(bytes))
        };
        Some(Some((name.of(bytes), value)))
    }
}

/// A quoted string without its backslashes (RFC 7616 section 3.4: digests are made over the bare text).
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut bare = Vec::with_capacity(text.len());
    let mut octets = text.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => bare.extend(octets.next()),
            other => bare.push(*other),
        }
    }
    Cow::Owned(bare)
}

/// Seconds in a header such as Expires; `None` when it is no number.
pub fn seconds(value: &[u8]) -> Option<u32> {
    decimal(value, u64::MAX).map(|secs| u32::try_from(secs).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7616 section 3.9.1, and the MD5 answer to the same.
    #[test]
    fn the_vectors_of_rfc_7616_hold() {
        for (algorithm, response) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                 algorithm={}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
                algorithm.as_str()
            );
            let credentials = Credentials::read(value.as_bytes()).unwrap();
            let secret = ha1(algorithm, b"Mufasa", b"http-auth@example.org", b"Circle of Life");
            assert!(credentials.proves(&secret, b"GET"), "{algorithm:?}");
            assert!(!credentials.proves(&secret, b"REGISTER"));
            assert!(!credentials.proves(&ha1(algorithm, b"Mufasa", b"http-auth@example.org", b"circle"), b"GET"));
        }
    }

    /// RFC 7616 section 3.9.2 as its erratum 4897 corrects it: the printed one is of a SHA-512 that was cut.
    #[test]
    fn the_vector_of_sha_512_256_holds() {
        let value = "Digest username=\"J\u{e4}s\u{f8}n Doe\", realm=\"api@example.org\", uri=\"/doe.json\", algorithm=SHA-512-256, \
             nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", nc=00000001, \
             cnonce=\"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v\", qop=auth, \
             response=\"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5\"";
        let credentials = Credentials::read(value.as_bytes()).unwrap();
        let user = "J\u{e4}s\u{f8}n Doe".as_bytes();
        let secret = ha1(Algorithm::Sha512Of256, user, b"api@example.org", b"Secret, or not?");
        assert!(credentials.proves(&secret, b"GET"));
        let other = ha1(Algorithm::Sha512Of256, b"Jason Doe", b"api@example.org", b"Secret, or not?");
        assert!(!credentials.proves(&other, b"GET"));
    }

    /// RFC 2617 section 3.5: what most phones still send.
    #[test]
    fn the_vector_of_rfc_2617_holds() {
        let value = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", uri=\"/dir/index.html\", qop=auth, \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", nc=00000001, cnonce=\"0a4f113b\", \
             response=\"6629fae49393a05397450978507c4ef1\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let secret = ha1(Algorithm::Md5, b"Mufasa", b"testrealm@host.com", b"Circle Of Life");
        assert_eq!(secret.digits(), b"939e7578ed9e3c518a452acee763bce9");
        assert!(Credentials::read(value.as_bytes()).unwrap().proves(&secret, b"GET"));
    }

    /// RFC 8760 names SHA-512/256; the digest is checked against that of FIPS 180-4's example text.
    #[test]
    fn sha_512_256_is_not_a_cut_sha_512() {
        let digest = Algorithm::Sha512Of256.of(&[b"abc"]);
        assert_eq!(digest.digits(), b"53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23");
    }

    /// RFC 2617 section 3.5 without its qop: the form of RFC 2069.
    #[test]
    fn a_phone_that_knows_no_qop_is_understood() {
        let secret = ha1(Algorithm::Md5, b"1001", b"pbx", b"pw");
        let ha2 = Algorithm::Md5.of(&[b"REGISTER", b"sip:pbx"]);
        let response = Algorithm::Md5.of(&[secret.digits(), b"n", ha2.digits()]);
        let response = String::from_utf8(response.digits().to_ascii_uppercase()).unwrap();
        let value =
            format!("digest username=1001,realm=\"pbx\",nonce=\"n\",uri=\"sip:pbx\",\r\n response=\"{response}\"");
        assert!(Credentials::read(value.as_bytes()).unwrap().proves(&secret, b"REGISTER"));
    }

    #[test]
    fn escapes_in_a_user_name_are_no_part_of_it() {
        let value = br#"Digest username="a\"b\\c", realm="r", nonce="n", uri="u", response="x""#;
        assert_eq!(&*Credentials::read(value).unwrap().username, br#"a"b\c"#);
    }

    #[test]
    fn what_is_broken_doubled_or_was_not_offered_is_no_answer() {
        const WHOLE: &str = "Digest username=\"a\", realm=\"r\", nonce=\"n\", uri=\"u\", response=\"x\"";
        assert!(Credentials::read(WHOLE.as_bytes()).is_some());
        for broken in [
            WHOLE.replace("Digest", "Basic"),
            WHOLE.replace("username=\"a\", ", ""),
            format!("{WHOLE}, username=\"b\""),
            format!("{WHOLE}, algorithm=MD5-sess"),
            format!("{WHOLE}, qop=auth-int, nc=00000001, cnonce=\"c\""),
            format!("{WHOLE}, qop=auth, cnonce=\"c\""),
            format!("{WHOLE}, qop=auth, nc=00000000, cnonce=\"c\""),
            format!("{WHOLE}, qop=auth, nc=+0000001, cnonce=\"c\"").replace("+0000001", "zzzzzzzz"),
            WHOLE.replace("\"x\"", "\"x"),
            WHOLE.replace(", realm", " realm"),
            String::new(),
        ] {
            assert_eq!(Credentials::read(broken.as_bytes()), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "(Digest )?[ -~\\r\\n\\t\"\\\\=,]{0,120}") {
            let _ = Credentials::read(text.as_bytes());
        }
    }
}
