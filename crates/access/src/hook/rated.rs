use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqway_codec::ReasonCode;
use mqway_hooks::{Accept, Admit, Authorize, Client, Denial, Later, Message, Phase, Phases, Verdict};
use mqway_transport::cidr::CidrList;
use mqway_transport::facts::Facts;

use crate::rates::{Address, Addresses, Excess, Flow, Limits, Pace, Rate};

/// Holds clients and addresses to the rates at which they may connect and publish.
///
/// To be added as [`Accept`], as [`Admit`], and in front of the others as [`Authorize`]. Who connects too fast is told so
/// in CONNACK or, where excess ends a connection, closed before it has said anything. Wills are not counted.
pub struct Rated {
    client: Limits,
    addresses: Addresses,
    each_address: bool,
    closes: bool,
    spared: CidrList,
    /// Times are since then.
    began: Instant,
}

/// What is left for a connection.
struct Own {
    flow: Flow,
    /// None where addresses do not count, or this one does not.
    address: Option<Arc<Address>>,
}

impl Rated {
    /// A client may publish within `client`; all of one address may connect at `connects`, and publish within `address`.
    /// Nothing is counted for the addresses that are `spared`, where many clients are behind one.
    pub fn new(client: Limits, connects: Option<Rate>, address: Limits, spared: CidrList) -> Rated {
        Rated {
            each_address: connects.is_some() || address.messages.is_some() || address.bytes.is_some(),
            closes: address.excess == Excess::Close,
            client,
            addresses: Addresses::new(connects, address),
            spared,
            began: Instant::now(),
        }
    }

    /// With what is left for addresses by another, whose settings were read before.
    #[must_use]
    pub fn after(self, before: &Rated) -> Rated {
        Rated { addresses: self.addresses.after(&before.addresses), began: before.began, ..self }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The verified address, if it counts.
    fn counted(&self, facts: &Facts) -> Option<IpAddr> {
        let address = facts.peer.map(|peer| peer.ip()).filter(|_| self.each_address)?;
        (!self.spared.contains(address)).then_some(address)
    }

    /// Counts a connection; what is left for its address.
    fn connect(&self, facts: &Facts) -> Result<Option<Arc<Address>>, Denial> {
        let Some(address) = self.counted(facts) else { return Ok(None) };
        self.addresses.connect(address, self.now()).map(Some).map_err(|_| {
            let rule = format!("rates: too many connections from {address}");
            Denial::new(ReasonCode::ConnectionRateExceeded, rule)
                .say("too many connections from this address")
        })
    }

    fn find(&self, facts: &Facts) -> Option<Arc<Address>> {
        self.counted(facts).map(|address| self.addresses.find(address, self.now()))
    }
}

impl Accept for Rated {
    fn name(&self) -> &str {
        "rates"
    }

    fn accept(&self, _: &str, facts: &Facts) -> Result<(), Denial> {
        if self.closes { self.connect(facts).map(drop) } else { Ok(()) }
    }
}

impl Admit for Rated {
    fn name(&self) -> &str {
        "rates"
    }

    fn knock(&self, client: &mut Client) -> Result<(), Denial> {
        // Where excess ends a connection, it was counted when it came.
        let address = if self.closes { self.find(&client.facts) } else { self.connect(&client.facts)? };
        client.keep(Own { flow: Flow::default(), address });
        Ok(())
    }
}

impl Authorize for Rated {
    fn name(&self) -> &str {
        "rates"
    }

    fn phases(&self) -> Phases {
        Phases::of(&[Phase::Publish])
    }

    fn publish(&self, client: &mut Client, message: &Message<'_>, _: Later<'_>) -> Verdict {
        if message.is_will() {
            return Verdict::Pass;
        }
        if client.data::<Own>().is_none() {
            // It came when there were no rates.
            let address = self.find(&client.facts);
            client.keep(Own { flow: Flow::default(), address });
        }
        let Some(own) = client.data::<Own>() else { return Verdict::Pass };
        let bytes = message.topic().len() + message.payload().len() + message.properties().as_bytes().len();
        let now = self.now();
        let alone = own.flow.message(&self.client, bytes, now);
        let (pace, whose) = match (alone, &own.address) {
            (Pace::Go | Pace::Pause(_), Some(address)) => {
                let together = self.addresses.message(address, bytes, now);
                if slower(together, alone) { (together, "its address") } else { (alone, "it") }
            }
            (alone, _) => (alone, "it"),
        };
        match pace {
            Pace::Go => Verdict::Pass,
            Pace::Pause(time) => {
                client.slow_down(time);
                Verdict::Pass
            }
            Pace::Refuse => Verdict::Deny(
                Denial::new(ReasonCode::QuotaExceeded, format!("rates: {whose} publishes too fast"))
                    .say("too fast"),
            ),
            Pace::Close => Verdict::Deny(
                Denial::new(ReasonCode::MessageRateTooHigh, format!("rates: {whose} publishes too fast"))
                    .say("too fast")
                    .and_end(),
            ),
        }
    }
}

/// Whether the first is more of a hindrance.
fn slower(one: Pace, other: Pace) -> bool {
    match (one, other) {
        (Pace::Go, _) => false,
        (Pace::Pause(one), Pace::Pause(other)) => one > other,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use mqway_codec::{Connect, TopicName, Version, Will};
    use mqway_hooks::{Hooks, Rehearsal};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn hooks(rated: Rated) -> Hooks {
        let (mut hooks, rated) = (Hooks::new(), Arc::new(rated));
        hooks.add_accept(rated.clone());
        hooks.add_admit(rated.clone());
        hooks.add_authorize(rated);
        hooks
    }

    fn rehearsal(hooks: &Hooks, address: &str) -> Rehearsal {
        let mut rehearsal = Rehearsal::new(hooks.clone());
        rehearsal.client.facts.peer = Some(format!("{address}:1000").parse().unwrap());
        rehearsal
    }

    fn enter(hooks: &Hooks, address: &str) -> Result<Rehearsal, Denial> {
        let mut rehearsal = rehearsal(hooks, address);
        let mut connect = Connect::new(Version::V5, "c");
        connect.will = Some(Will::new("gone", b""));
        rehearsal.login(&connect)?;
        Ok(rehearsal)
    }

    fn message() -> Message<'static> {
        Message::new(TopicName::new("a/b").unwrap(), b"1234567")
    }

    fn limits(messages: u64, excess: Excess) -> Limits {
        Limits { messages: Rate::new(messages, HOUR, messages), bytes: None, excess }
    }

    #[test]
    fn connections_of_an_address_are_refused_beyond_its_rate() {
        let none = Limits::default();
        let hooks = hooks(Rated::new(none, Rate::new(2, HOUR, 2), none, "127.0.0.0/8".parse().unwrap()));
        for _ in 0..2 {
            enter(&hooks, "192.0.2.1").unwrap();
        }
        let denial = enter(&hooks, "192.0.2.1").err().unwrap();
        assert_eq!(denial.reason, ReasonCode::ConnectionRateExceeded);
        enter(&hooks, "192.0.2.2").unwrap();
        for _ in 0..5 {
            enter(&hooks, "127.0.0.1").unwrap();
        }
    }

    #[test]
    fn where_excess_closes_connections_are_counted_before_they_say_anything() {
        let address = Limits { excess: Excess::Close, ..Limits::default() };
        let rated = Rated::new(Limits::default(), Rate::new(1, HOUR, 1), address, CidrList::default());
        let facts = rehearsal(&Hooks::new(), "192.0.2.1").client.facts;
        let hooks = hooks(rated);
        assert!(hooks.accept("", &facts).is_ok());
        enter(&hooks, "192.0.2.1").unwrap();
        assert!(hooks.accept("", &facts).is_err());
    }

    #[test]
    fn a_client_and_an_address_are_slowed_down_refused_or_ended() {
        for excess in [Excess::Delay, Excess::Refuse, Excess::Close] {
            let (few, many) = (limits(2, excess), limits(3, excess));
            let hooks = hooks(Rated::new(few, None, many, CidrList::default()));
            let (mut a, mut b) = (enter(&hooks, "192.0.2.1").unwrap(), enter(&hooks, "192.0.2.1").unwrap());
            for of_a in [true, false, true] {
                let one = if of_a { &mut a } else { &mut b };
                one.publish(&message()).unwrap();
                assert_eq!(one.client.take_rest(), None);
            }
            // The first is beyond its own rate, the second beyond that of both.
            for (one, whose) in [(&mut a, "it"), (&mut b, "its address")] {
                let denial = one.publish(&message()).err();
                // That would take an hour, and so is refused, too.
                let reason = match excess {
                    Excess::Delay | Excess::Refuse => ReasonCode::QuotaExceeded,
                    Excess::Close => ReasonCode::MessageRateTooHigh,
                };
                let denial = denial.unwrap();
                assert_eq!((denial.reason, denial.ends), (reason, excess == Excess::Close));
                assert_eq!(denial.rule, format!("rates: {whose} publishes too fast"));
            }
        }
    }

    #[test]
    fn what_is_only_a_little_too_fast_is_slowed_down() {
        let bytes = Limits { bytes: Rate::per_second(10), ..Limits::default() };
        let hooks = hooks(Rated::new(bytes, None, Limits::default(), CidrList::default()));
        let mut one = enter(&hooks, "192.0.2.1").unwrap();
        one.publish(&message()).unwrap(); // Of ten bytes.
        assert_eq!(one.client.take_rest(), None);
        one.publish(&message()).unwrap();
        let rest = one.client.take_rest().unwrap();
        assert!(rest <= Duration::from_secs(1) && !rest.is_zero(), "{rest:?}");
        assert_eq!(one.client.take_rest(), None);
    }

    #[test]
    fn a_reload_gives_nobody_a_new_start() {
        let none = Limits::default();
        let rated = || Rated::new(none, Rate::new(1, HOUR, 1), none, CidrList::default());
        let before = rated();
        let facts = rehearsal(&Hooks::new(), "192.0.2.1").client.facts;
        assert!(before.connect(&facts).is_ok());
        assert!(rated().after(&before).connect(&facts).is_err());
        assert!(rated().connect(&facts).is_ok());
    }
}
