//! Enhanced authentication (5.0 §4.12), of which the method itself is the program's.

use alloc::boxed::Box;
use core::time::Duration;

use mqway_codec::{Auth, Connect, Packet, PacketType, PropertiesBuf, Property, ReasonCode};

use super::{Client, Event, Fault};

/// How far an authentication is.
#[derive(Debug)]
pub(super) enum Authentication {
    /// CONNECT named no method: AUTH may not come. [MQTT-4.12.0-6]
    None,
    /// The server may ask for more, or accept or refuse the connection.
    Connecting(Box<str>),
    /// The connection is accepted.
    Idle(Box<str>),
    /// We have begun to authenticate again.
    Again(Box<str>),
}

/// There is no connection with a method of authentication, or nothing to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAuthentication;

impl Authentication {
    pub(super) fn begin(connect: &Connect<'_>) -> Authentication {
        connect
            .properties
            .authentication_method()
            .map_or(Authentication::None, |method| Authentication::Connecting(method.into()))
    }

    pub(super) fn accepted(&mut self) {
        self.step(Authentication::Idle);
    }

    fn step(&mut self, next: impl FnOnce(Box<str>) -> Authentication) {
        *self = match core::mem::replace(self, Authentication::None) {
            Authentication::None => Authentication::None,
            Authentication::Connecting(method)
            | Authentication::Idle(method)
            | Authentication::Again(method) => next(method),
        };
    }
}

impl Client {
    /// Answers what [`Event::Auth`] asked.
    ///
    /// # Errors
    /// If nothing was asked on this connection, or if `data` is longer than 65,535 bytes.
    pub fn continue_authentication(&mut self, now: Duration, data: &[u8]) -> Result<(), NoAuthentication> {
        self.authenticate(now, ReasonCode::ContinueAuthentication, data)
    }

    /// Begins to authenticate again, on a connection that is accepted, by the method that it has. [MQTT-4.12.1-1]
    ///
    /// # Errors
    /// If there is no connection, or it has another method or none, or an authentication is under way; or if `data` is
    /// longer than 65,535 bytes.
    pub fn reauthenticate(
        &mut self,
        now: Duration,
        method: &str,
        data: &[u8],
    ) -> Result<(), NoAuthentication> {
        let live = self.live.as_mut().ok_or(NoAuthentication)?;
        if !matches!(&live.authentication, Authentication::Idle(ours) if **ours == *method) {
            return Err(NoAuthentication);
        }
        live.authentication.step(Authentication::Again);
        let begun = self.authenticate(now, ReasonCode::ReAuthenticate, data);
        if let (Err(_), Some(live)) = (begun, &mut self.live) {
            live.authentication.accepted();
        }
        begun
    }

    /// AUTH has come.
    pub(super) fn challenged(&mut self, auth: &Auth<'_>) -> Result<(), Fault> {
        let misplaced = Fault::Misplaced(PacketType::Auth);
        let live = self.live.as_mut().ok_or(misplaced)?;
        let method = auth.properties.authentication_method();
        match (&live.authentication, auth.reason) {
            // [MQTT-4.12.0-5]: the method stays the same.
            (
                Authentication::Connecting(ours) | Authentication::Again(ours),
                ReasonCode::ContinueAuthentication,
            ) if method == Some(ours) => {}
            (Authentication::Again(ours), ReasonCode::Success)
                if method.is_none_or(|method| *method == **ours) =>
            {
                live.authentication.accepted();
            }
            _ => return Err(misplaced),
        }
        self.events.push_back(Event::Auth { reason: auth.reason, properties: auth.properties.into() });
        Ok(())
    }

    fn authenticate(
        &mut self,
        now: Duration,
        reason: ReasonCode,
        data: &[u8],
    ) -> Result<(), NoAuthentication> {
        let live = self.live.as_ref().ok_or(NoAuthentication)?;
        let (Authentication::Connecting(method) | Authentication::Again(method)) = &live.authentication
        else {
            return Err(NoAuthentication); // [MQTT-4.12.0-7]
        };
        // With no reason string and no user properties. [MQTT-3.15.2-2], [MQTT-3.15.2-3]
        let mut properties = PropertiesBuf::new();
        let named = properties.push(Property::AuthenticationMethod(method)); // [MQTT-4.12.0-5]
        let filled = named.and_then(|()| properties.push(Property::AuthenticationData(data)));
        filled.map_err(|_| NoAuthentication)?;
        let auth = Auth::new(reason, properties.as_properties());
        self.try_write(now, &Packet::Auth(auth)).ok_or(NoAuthentication)
    }
}
