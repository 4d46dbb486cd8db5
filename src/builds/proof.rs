//! How a request proves who sent it: secrets and signatures, each compared in constant time.
//!
//! Every secret is tried, even after one fitted, so that neither the time nor the answer tells which of them it was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::Sha256;

use super::{Rejection, Webhook};
use crate::secret::Secret;

/// How far a signature's time may be from ours, in seconds. Clocks differ; a replay within it meets the same delivery id.
const WINDOW: i64 = 5 * 60;

/// A service may sign with a few keys while it changes them; a request with more signatures than this is an attack.
const MOST_SIGNATURES: usize = 8;

/// The secrets of one source, never empty. More than one lets a secret be changed without losing a build.
#[derive(Debug, Clone)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// `None` for an empty list: it would let nobody in, or everybody.
    pub fn new(secrets: Vec<Secret>) -> Option<Secrets> {
        (!secrets.is_empty()).then_some(Secrets(secrets))
    }

    /// Whether `given` is one of the secrets.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.iter().fold(false, |found, secret| secret.matches(given) | found)
    }

    /// Whether `signature` is the HMAC-SHA256 of the joined `parts` with one of the secrets.
    pub fn signed(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        self.0.iter().fold(false, |found, secret| is_signature(secret, parts, signature) | found)
    }

    /// Whether `signature` is the hexadecimal HMAC-SHA256 of the body.
    pub fn signed_hex(&self, body: &[u8], signature: &str) -> bool {
        hex::decode(signature).is_ok_and(|signature| self.signed(&[body], &signature))
    }
}

fn is_signature(secret: &Secret, parts: &[&[u8]], signature: &[u8]) -> bool {
    // Standard Webhooks hands keys out as `whsec_` and base64; the key is what that encodes.
    let encoded = secret.expose().strip_prefix("whsec_");
    let decoded = encoded.and_then(|text| STANDARD.decode(text).ok()).filter(|key| !key.is_empty());
    let key = decoded.as_deref().unwrap_or(secret.expose().as_bytes());
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(signature).is_ok()
}

/// A header's value as text; `None` if it is missing, empty or not ASCII.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
}

/// What follows `Authorization: <scheme>`.
pub fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (given, value) = header(headers, "authorization")?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then_some(value.trim())
}

/// The password of `Authorization: Basic`, which is what a `https://name:password@host/` becomes.
pub fn basic_password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let decoded = STANDARD.decode(authorization(headers, "basic")?).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

/// The value of `?token=`, for services that can only be given an address. A `+` stays a `+`: secrets are often base64.
pub fn query_token(query: Option<&str>) -> Option<Vec<u8>> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    Some(percent_encoding::percent_decode_str(value).collect()).filter(|token: &Vec<u8>| !token.is_empty())
}

/// Checks the three headers of <https://www.standardwebhooks.com> and returns the delivery's id.
pub fn standard_webhook<'a>(secrets: &Secrets, webhook: &Webhook<'a>) -> Result<&'a str, Rejection> {
    let part = |name, missing| header(webhook.headers, name).ok_or(Rejection::Unauthorized(missing));
    let id = part("webhook-id", "the header webhook-id is missing")?;
    let time = part("webhook-timestamp", "the header webhook-timestamp is missing")?;
    let signatures = part("webhook-signature", "the header webhook-signature is missing")?;

    let sent: i64 = time.parse().map_err(|_| Rejection::Unauthorized("webhook-timestamp is no number of seconds"))?;
    if webhook.now.as_second().abs_diff(sent) > WINDOW.unsigned_abs() {
        return Err(Rejection::Unauthorized("webhook-timestamp is more than 5 minutes from this machine's clock"));
    }
    let parts: [&[u8]; 5] = [id.as_bytes(), b".", time.as_bytes(), b".", webhook.body];
    let fits = signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .take(MOST_SIGNATURES)
        .fold(false, |found, signature| secrets.signed(&parts, &signature) | found);
    if fits { Ok(id) } else { Err(Rejection::Unauthorized("webhook-signature fits no secret")) }
}

/// What tests of the sources need to sign a request as the services do.
#[cfg(test)]
pub mod tests {
    use http::{HeaderName, HeaderValue};
    use jiff::Timestamp;

    use super::*;

    /// The time at which the tests' requests come in.
    pub const NOW: i64 = 1_763_647_408;

    pub fn secrets() -> Secrets {
        Secrets::new(vec![Secret::new("old").unwrap(), Secret::new("s3cret").unwrap()]).unwrap()
    }

    pub fn hmac(key: &[u8], content: &[u8]) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(content);
        mac.finalize().into_bytes().to_vec()
    }

    pub fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    pub fn webhook<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Webhook<'a> {
        Webhook { headers, query: None, body, now: Timestamp::from_second(NOW).unwrap() }
    }

    pub fn standard_headers(key: &[u8], id: &str, time: i64, body: &[u8]) -> HeaderMap {
        let content = [format!("{id}.{time}.").as_bytes(), body].concat();
        let signature = format!("v1,{}", STANDARD.encode(hmac(key, &content)));
        headers(&[("webhook-id", id), ("webhook-timestamp", &time.to_string()), ("webhook-signature", &signature)])
    }

    #[test]
    fn the_vector_of_rfc_4231_holds() {
        let secrets = Secrets::new(vec![Secret::new("Jefe").unwrap()]).unwrap();
        let hex = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(secrets.signed_hex(b"what do ya want for nothing?", hex));
        assert!(!secrets.signed_hex(b"what do ya want for nothing!", hex));
        for refused in ["", "5b", "zz", &hex[2..]] {
            assert!(!secrets.signed_hex(b"what do ya want for nothing?", refused), "{refused}");
        }
    }

    #[test]
    fn a_whsec_secret_is_the_key_that_it_encodes() {
        let secrets = Secrets::new(vec![Secret::new(format!("whsec_{}", STANDARD.encode([7; 32]))).unwrap()]).unwrap();
        let given = standard_headers(&[7; 32], "msg_1", NOW, b"{}");
        assert_eq!(standard_webhook(&secrets, &webhook(&given, b"{}")), Ok("msg_1"));
        assert!(standard_webhook(&secrets, &webhook(&given, b"{ }")).is_err());
    }

    #[test]
    fn a_signature_holds_for_five_minutes_and_among_others() {
        for (offset, good) in [(0, true), (300, true), (-300, true), (301, false), (-301, false), (i64::MIN / 2, false)] {
            let given = standard_headers(b"old", "msg_1", NOW + offset, b"{}");
            assert_eq!(standard_webhook(&secrets(), &webhook(&given, b"{}")).is_ok(), good, "{offset}");
        }
        let mut given = standard_headers(b"s3cret", "msg_1", NOW, b"{}");
        let good = given["webhook-signature"].to_str().unwrap().to_owned();
        given.insert("webhook-signature", HeaderValue::from_str(&format!("v1a,AAAA v1,AAAA {good}")).unwrap());
        assert!(standard_webhook(&secrets(), &webhook(&given, b"{}")).is_ok());
        for refused in ["v1,", "", "v1", &good[3..]] {
            given.insert("webhook-signature", HeaderValue::from_str(refused).unwrap());
            assert!(standard_webhook(&secrets(), &webhook(&given, b"{}")).is_err(), "{refused}");
        }
    }

    #[test]
    fn tokens_are_found_in_headers_and_addresses() {
        assert_eq!(authorization(&headers(&[("authorization", "bearer  x y ")]), "Bearer"), Some("x y"));
        assert_eq!(authorization(&headers(&[("authorization", "Bearer")]), "Bearer"), None);
        let basic = headers(&[("authorization", &format!("Basic {}", STANDARD.encode("shipmate:a:b")))]);
        assert_eq!(basic_password(&basic).as_deref(), Some(b"a:b".as_slice()));
        assert_eq!(query_token(Some("x=1&token=a%2Bb+c")).as_deref(), Some(b"a+b+c".as_slice()));
        assert_eq!(query_token(Some("token=")), None);
        assert_eq!(query_token(Some("mytoken=x")), None);
    }
}
