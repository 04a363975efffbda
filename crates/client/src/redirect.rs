//! A server may say that another one is to be used (5.0 §4.11).

use mqway_codec::{PropertiesBuf, ReasonCode};

use crate::endpoint::Endpoint;
use crate::error::ConnectError;

/// Servers that may send us on, one to the next, before we wait as after any failure.
const MOST_HOPS: u32 = 5;

/// Where we were sent.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    present: Option<Redirect>,
    /// How often in a row we were sent on without being accepted.
    hops: u32,
}

#[derive(Debug)]
struct Redirect {
    reference: String,
    /// 0x9D, not 0x9C: it holds beyond the next connection.
    moved: bool,
}

impl Redirects {
    /// The server to use in place of this one.
    pub fn apply(&self, endpoint: Endpoint) -> Endpoint {
        match &self.present {
            Some(redirect) => endpoint.elsewhere(&redirect.reference),
            None => endpoint,
        }
    }

    /// A server has accepted us.
    pub fn accepted(&mut self) {
        self.hops = 0;
    }

    /// A connection that was accepted is lost, or an attempt has failed. True if we were sent elsewhere, where it is
    /// worth trying at once.
    pub fn lost(&mut self, error: &ConnectError, accepted: bool) -> bool {
        if let Some(redirect) = reference(error) {
            self.present = Some(redirect);
            self.hops = self.hops.saturating_add(1);
            return self.hops <= MOST_HOPS;
        }
        // A server that cannot be reached is none to hold on to, whoever named it.
        if !accepted || self.present.as_ref().is_some_and(|redirect| !redirect.moved) {
            self.present = None;
        }
        false
    }
}

fn reference(error: &ConnectError) -> Option<Redirect> {
    let (ConnectError::Refused(notice) | ConnectError::Disconnected(notice)) = error else {
        return None;
    };
    let moved = match notice.reason {
        ReasonCode::UseAnotherServer => false,
        ReasonCode::ServerMoved => true,
        _ => return None,
    };
    Some(Redirect { reference: first(&notice.properties)?, moved })
}

/// The first of the references, which are separated by blanks (5.0 §4.11).
fn first(properties: &PropertiesBuf) -> Option<String> {
    let references = properties.as_properties().server_reference()?;
    references.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use mqway_codec::Property;
    use mqway_session::client::Notice;

    use super::*;

    fn refused(reason: ReasonCode, references: &str) -> ConnectError {
        let mut properties = PropertiesBuf::new();
        properties.push(Property::ServerReference(references)).unwrap();
        ConnectError::Refused(Notice { reason, properties })
    }

    fn used(redirects: &Redirects) -> String {
        redirects.apply(Endpoint::new("ws://user@old/mqtt")).reach().unwrap().url.to_string()
    }

    #[test]
    fn a_reference_changes_the_server_and_nothing_else() {
        let mut redirects = Redirects::default();
        assert!(redirects.lost(&refused(ReasonCode::UseAnotherServer, "new:99 other"), false));
        assert_eq!(used(&redirects), "ws://new:99/mqtt");
        assert!(redirects.lost(&refused(ReasonCode::ServerMoved, "[::1]"), false));
        assert_eq!(used(&redirects), "ws://[::1]:80/mqtt");
    }

    #[test]
    fn another_server_is_for_once_and_a_moved_one_for_as_long_as_it_is_there() {
        for (reason, after) in [(ReasonCode::UseAnotherServer, "old"), (ReasonCode::ServerMoved, "new")] {
            let mut redirects = Redirects::default();
            redirects.lost(&refused(reason, "new"), false);
            redirects.accepted();
            assert!(!redirects.lost(&ConnectError::Closed, true));
            assert_eq!(used(&redirects), format!("ws://{after}:80/mqtt"));
            redirects.lost(&ConnectError::Closed, false);
            assert_eq!(used(&redirects), "ws://old:80/mqtt");
        }
    }

    #[test]
    fn a_circle_of_servers_is_not_followed_without_end() {
        let mut redirects = Redirects::default();
        let hops = (0..100).filter(|_| redirects.lost(&refused(ReasonCode::UseAnotherServer, "b"), false));
        assert_eq!(hops.count(), 5);
    }

    #[test]
    fn encryption_is_never_given_up_for_a_reference() {
        let endpoint = Endpoint::new("wss://old").insecure();
        assert!(endpoint.clone().elsewhere("tcp://new").reach().is_err());
        assert!(endpoint.elsewhere("tls://new").reach().is_ok());
    }
}
