//! What a web service is asked, as JSON.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Who it is about, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who<'a> {
    /// The client identifier.
    pub client_id: &'a str,
    /// The user name.
    pub user_name: Option<&'a str>,
    /// The verified address, without its port, which would make every question another one.
    pub address: Option<IpAddr>,
    /// `tcp`, `tls`, `ws`, `wss` or `unix`.
    pub transport: &'a str,
}

/// A question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// May it connect, and as whom?
    Connect {
        /// Who wants to.
        who: Who<'a>,
        /// The password of CONNECT, or a token found elsewhere.
        password: Option<&'a [u8]>,
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

impl Question<'_> {
    /// The JSON that is sent. Every member is always there; what isn't known is `null`.
    pub(super) fn to_json(self) -> Vec<u8> {
        let value = match self {
            Question::Connect { who, password, version, certificate } => {
                let text = password.map(std::str::from_utf8);
                json!({
                    "question": "connect", "client_id": who.client_id, "user_name": who.user_name,
                    "address": who.address, "transport": who.transport, "version": version,
                    "password": text.and_then(Result::ok),
                    // Passwords are bytes, and JSON has none.
                    "password_base64": password.filter(|_| matches!(text, Some(Err(_)))).map(|it| STANDARD.encode(it)),
                    "certificate": certificate,
                })
            }
            Question::Publish { who, topic, qos, retain } => {
                about(who, json!({ "question": "publish", "topic": topic, "qos": qos, "retain": retain }))
            }
            Question::Subscribe { who, filter, qos } => {
                about(who, json!({ "question": "subscribe", "filter": filter, "qos": qos }))
            }
        };
        value.to_string().into_bytes()
    }
}

fn about(who: Who<'_>, mut value: Value) -> Value {
    value["client_id"] = who.client_id.into();
    value["user_name"] = who.user_name.into();
    value["address"] = json!(who.address);
    value["transport"] = who.transport.into();
    value
}
