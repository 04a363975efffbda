//! What a web service is asked, as JSON.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use serde::Serialize;

/// Who it is about, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Who<'a> {
    /// The client identifier.
    pub client_id: &'a str,
    /// The user name.
    pub user_name: Option<&'a str>,
    /// The verified address, without its port, which would make every question another one.
    pub address: Option<IpAddr>,
    /// `tcp`, `tls`, `ws`, `wss` or `unix`.
    pub transport: &'a str,
    /// The URL of the listener that it came by, as configured.
    pub listener: &'a str,
}

/// A question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// May it connect, and as whom?
    Connect {
        /// Who wants to, as it says itself.
        who: Who<'a>,
        /// The password of CONNECT, or of the upgrade request.
        password: Option<&'a [u8]>,
        /// A token found elsewhere.
        token: Option<&'a str>,
        /// `3.1`, `3.1.1` or `5.0`.
        version: &'a str,
        /// The SHA-256 of the client's verified certificate, in hexadecimal.
        certificate: Option<&'a str>,
    },
    /// May it publish this?
    Publish {
        /// Who wants to.
        who: Who<'a>,
        /// To which topic.
        topic: &'a str,
        /// At which quality of service.
        qos: u8,
        /// Whether it is to be retained.
        retain: bool,
        /// Whether it is the will of a client that connects.
        will: bool,
    },
    /// May it subscribe to this?
    Subscribe {
        /// Who wants to.
        who: Who<'a>,
        /// Which topics.
        filter: &'a str,
        /// At which quality of service at most.
        qos: u8,
    },
}

/// Which question it is: its SHA-256, so that no password is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; digest::SHA256_OUTPUT_LEN]);

/// The JSON of a question. Every member is always there; what isn't known is `null`.
#[derive(Serialize)]
#[serde(tag = "question", rename_all = "lowercase")]
enum Json<'a> {
    Connect {
        #[serde(flatten)]
        who: Who<'a>,
        version: &'a str,
        password: Option<&'a str>,
        /// Passwords are bytes, and JSON has none.
        password_base64: Option<String>,
        token: Option<&'a str>,
        certificate: Option<&'a str>,
    },
    Publish {
        #[serde(flatten)]
        who: Who<'a>,
        topic: &'a str,
        qos: u8,
        retain: bool,
        will: bool,
    },
    Subscribe {
        #[serde(flatten)]
        who: Who<'a>,
        filter: &'a str,
        qos: u8,
    },
}

impl Question<'_> {
    /// The JSON that is sent.
    pub(super) fn to_json(self) -> Vec<u8> {
        let json = match self {
            Question::Connect { who, password, token, version, certificate } => {
                let text = password.map(str::from_utf8);
                Json::Connect {
                    who,
                    version,
                    password: text.and_then(Result::ok),
                    password_base64: password
                        .filter(|_| matches!(text, Some(Err(_))))
                        .map(|bytes| STANDARD.encode(bytes)),
                    token,
                    certificate,
                }
            }
            Question::Publish { who, topic, qos, retain, will } => {
                Json::Publish { who, topic, qos, retain, will }
            }
            Question::Subscribe { who, filter, qos } => Json::Subscribe { who, filter, qos },
        };
        serde_json::to_vec(&json).expect("it has neither maps nor anything else that JSON cannot say")
    }

    /// Which question it is, without the cost of writing it down.
    pub(super) fn key(self) -> Key {
        let mut hash = Hash(digest::Context::new(&digest::SHA256));
        let who = match self {
            Question::Connect { who, password, token, version, certificate } => {
                hash.number(0);
                hash.optional(password);
                hash.optional(token.map(str::as_bytes));
                hash.bytes(version.as_bytes());
                hash.optional(certificate.map(str::as_bytes));
                who
            }
            Question::Publish { who, topic, qos, retain, will } => {
                hash.number(1);
                hash.bytes(topic.as_bytes());
                hash.0.update(&[qos, u8::from(retain), u8::from(will)]);
                who
            }
            Question::Subscribe { who, filter, qos } => {
                hash.number(2);
                hash.bytes(filter.as_bytes());
                hash.0.update(&[qos]);
                who
            }
        };
        hash.who(&who);
        hash.finish()
    }
}

/// Takes in values one after the other, each with its length in front, so that none runs into the next.
struct Hash(digest::Context);

impl Hash {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn optional(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.number(u64::MAX), // Nothing is that long.
        }
    }

    fn who(&mut self, who: &Who<'_>) {
        self.bytes(who.client_id.as_bytes());
        self.optional(who.user_name.map(str::as_bytes));
        match who.address {
            Some(IpAddr::V4(address)) => self.bytes(&address.octets()),
            Some(IpAddr::V6(address)) => self.bytes(&address.octets()),
            None => self.optional(None),
        }
        self.bytes(who.transport.as_bytes());
        self.bytes(who.listener.as_bytes());
    }

    fn finish(self) -> Key {
        let mut key = Key([0; digest::SHA256_OUTPUT_LEN]);
        key.0.copy_from_slice(self.0.finish().as_ref());
        key
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_question_is_another_one() {
        let who = Who { client_id: "c", user_name: Some("u"), ..Who::default() };
        let connect = |who, password, token| Question::Connect {
            who,
            password,
            token,
            version: "5.0",
            certificate: None,
        };
        let publish = |who, topic, qos, retain, will| Question::Publish { who, topic, qos, retain, will };
        let questions = [
            connect(who, None, None),
            connect(who, Some(&b""[..]), None),
            connect(who, Some(b"x"), None),
            connect(who, None, Some("x")),
            connect(Who { user_name: None, ..who }, None, None),
            connect(Who { user_name: Some(""), ..who }, None, None),
            connect(Who { client_id: "cu", user_name: Some(""), ..who }, None, None),
            connect(Who { listener: "l", ..who }, None, None),
            connect(Who { transport: "l", ..who }, None, None),
            connect(Who { address: Some(IpAddr::from([1, 2, 3, 4])), ..who }, None, None),
            connect(Who { address: Some(IpAddr::from([0; 16])), ..who }, None, None),
            publish(who, "a", 0, false, false),
            publish(who, "a", 1, false, false),
            publish(who, "a", 0, true, false),
            publish(who, "a", 0, false, true),
            publish(who, "b", 0, false, false),
            Question::Subscribe { who, filter: "a", qos: 0 },
            Question::Subscribe { who, filter: "a", qos: 1 },
        ];
        let keys: HashSet<_> = questions.iter().map(|question| question.key()).collect();
        assert_eq!(keys.len(), questions.len());
        assert_eq!(publish(who, "a", 0, false, false).key(), publish(who, "a", 0, false, false).key());
    }
}
