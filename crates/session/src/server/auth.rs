use alloc::boxed::Box;

use mqway_codec::{Auth, PropertiesBuf, Property, ReasonCode};

use super::Fault;

/// An enhanced authentication (5.0 §4.12), as far as it is the same for every method: whose turn it is, and what the
/// packets must say. What the data mean is for the method to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    method: Box<str>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// CONNECT has come, and CONNACK is not sent.
    Connecting,
    /// The client is authenticated.
    Done,
    /// It does so again.
    Again,
}

/// What the client said in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// It is the first of a re-authentication.
    pub begins: bool,
    /// The data, for the method.
    pub data: Option<&'a [u8]>,
}

impl Exchange {
    /// CONNECT has named this method.
    pub fn new(method: &str) -> Exchange {
        Exchange { method: method.into(), stage: Stage::Connecting }
    }

    /// The method that CONNECT has named.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// An AUTH has come.
    ///
    /// # Errors
    /// If it is of another method, or out of turn.
    pub fn take<'a>(&mut self, auth: &Auth<'a>) -> Result<Turn<'a>, Fault> {
        // [MQTT-4.12.0-5], [MQTT-4.12.1-1]
        if auth.properties.authentication_method() != Some(&*self.method) {
            return Err(Fault::AuthenticationMethod);
        }
        let begins = match (self.stage, auth.reason) {
            (Stage::Connecting | Stage::Again, ReasonCode::ContinueAuthentication) => false, // [MQTT-4.12.0-3]
            (Stage::Done, ReasonCode::ReAuthenticate) => true,
            _ => return Err(Fault::Misplaced(mqway_codec::PacketType::Auth)),
        };
        if begins {
            self.stage = Stage::Again;
        }
        Ok(Turn { begins, data: auth.properties.authentication_data() })
    }

    /// The properties of an AUTH 0x18, or of CONNACK, that carries the method's next data.
    pub fn properties(&self, data: Option<&[u8]>) -> PropertiesBuf {
        let mut properties = PropertiesBuf::new();
        // Both came from, or are as long as, what stands in a packet; data of a method that are longer are left out.
        let _ = properties.push(Property::AuthenticationMethod(&self.method));
        if let Some(data) = data {
            let _ = properties.push(Property::AuthenticationData(data));
        }
        properties
    }

    /// The method is satisfied. Before CONNACK that is the answer; later it is an AUTH of success.
    pub fn accept(&mut self) {
        self.stage = Stage::Done;
    }

    /// Whether CONNACK waits for the end of it. Until then the client may send AUTH and DISCONNECT only.
    /// [MQTT-3.1.2-30]
    pub fn is_connecting(&self) -> bool {
        self.stage == Stage::Connecting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(reason: ReasonCode, properties: &PropertiesBuf) -> Auth<'_> {
        Auth::new(reason, properties.as_properties())
    }

    #[test]
    fn each_side_has_its_turn() {
        let mut exchange = Exchange::new("SCRAM");
        let said = exchange.properties(Some(b"first"));
        let turn = exchange.take(&auth(ReasonCode::ContinueAuthentication, &said)).unwrap();
        assert_eq!(turn, Turn { begins: false, data: Some(b"first") });
        assert!(exchange.is_connecting());
        exchange.accept();
        assert!(!exchange.is_connecting());
        assert!(exchange.take(&auth(ReasonCode::ContinueAuthentication, &said)).is_err());
        assert!(exchange.take(&auth(ReasonCode::ReAuthenticate, &said)).unwrap().begins);
        assert!(exchange.take(&auth(ReasonCode::ReAuthenticate, &said)).is_err());
        assert!(!exchange.take(&auth(ReasonCode::ContinueAuthentication, &said)).unwrap().begins);
    }

    #[test]
    fn the_method_stays_the_same() {
        // [MQTT-4.12.1-1]
        let mut exchange = Exchange::new("SCRAM");
        let other = Exchange::new("PLAIN").properties(None);
        let fault = exchange.take(&auth(ReasonCode::ContinueAuthentication, &other)).unwrap_err();
        assert_eq!(fault.reason(), ReasonCode::BadAuthenticationMethod);
    }
}
