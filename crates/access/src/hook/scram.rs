use std::sync::Arc;

use mqway_hooks::{Client, Denial, Exchange, Method, Step};

use crate::scram::{self, METHOD, ScramError, ScramUsers};

/// Random bytes of a nonce.
const NONCE: usize = 18;

/// SCRAM-SHA-256 as an enhanced method of 5.0, with the users of a file.
pub struct Scram(Arc<ScramUsers>);

impl Scram {
    /// With these users.
    pub fn new(users: ScramUsers) -> Scram {
        Scram(Arc::new(users))
    }
}

impl Method for Scram {
    fn name(&self) -> &str {
        METHOD
    }

    fn begin(&self, _client: &mut Client) -> Box<dyn Exchange> {
        Box::new(ScramExchange { users: self.0.clone(), begun: None })
    }
}

struct ScramExchange {
    users: Arc<ScramUsers>,
    /// Once the client's first message has come.
    begun: Option<scram::Exchange>,
}

impl Exchange for ScramExchange {
    fn take(&mut self, client: &mut Client, data: Option<&[u8]>) -> Step {
        let data = data.unwrap_or_default();
        match self.begun.take() {
            None => {
                let mut nonce = [0; NONCE];
                if getrandom::fill(&mut nonce).is_err() {
                    return Step::Deny(Denial::not_authorized("scram: the system has no random numbers"));
                }
                match scram::Exchange::begin(data, &self.users, &nonce) {
                    Ok((exchange, challenge)) => {
                        self.begun = Some(exchange);
                        Step::Continue(challenge)
                    }
                    Err(error) => refused(error),
                }
            }
            Some(exchange) => match exchange.finish(data) {
                Ok((user, proof)) => match super::shown(client, "scram", Some(&user)) {
                    Ok(()) => {
                        client.user_name = Some(user.into());
                        Step::Done(Some(proof))
                    }
                    Err(denial) => Step::Deny(denial),
                },
                Err(error) => refused(error),
            },
        }
    }
}

/// The client hears no more than that.
fn refused(error: ScramError) -> Step {
    Step::Deny(Denial::not_authorized(format!("scram: {error}")))
}

#[cfg(test)]
mod tests {
    use mqway_transport::facts::Facts;

    use super::*;
    use crate::scram::{Decoy, Verifier};

    /// Exchanges themselves are tried beside their code; here it counts that each message goes its way.
    #[test]
    fn messages_go_to_an_exchange_one_after_the_other() {
        let line = format!("ann:{}", Verifier::derive("secret", 4_096, b"some salt").unwrap());
        let method = Scram::new(ScramUsers::parse(&line, Decoy([7; 32])).unwrap());
        assert_eq!(method.name(), "SCRAM-SHA-256");
        let mut client = Client::new(1, "mqtt://:1883".into(), Facts::default());
        let mut exchange = method.begin(&mut client);
        let Step::Continue(challenge) = exchange.take(&mut client, Some(b"n,,n=ann,r=abc")) else {
            panic!("a challenge")
        };
        let challenge = String::from_utf8(challenge).unwrap();
        assert!(challenge.starts_with("r=abc") && challenge.ends_with(",i=4096"), "{challenge}");
        let nonce = challenge.split(',').next().unwrap();
        let last = format!("c=biws,{nonce},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let Step::Deny(denial) = exchange.take(&mut client, Some(last.as_bytes())) else { panic!("refused") };
        assert_eq!((denial.rule.as_ref(), denial.say), ("scram: the password is wrong", None));
        assert!(matches!(method.begin(&mut client).take(&mut client, None), Step::Deny(_)));
        assert_eq!(client.user_name, None);
    }
}
