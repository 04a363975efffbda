//! The conversation of a round trip, without I/O: packets of the server in, packets for it and news out.

use mqway_codec::{
    Ack, Connack, Connect, Decoder, Disconnect, Packet, PacketId, Publish, QoS, ReasonCode, Suback,
    Subscribe, SubscribeOptions, SubscriptionsBuf, TopicFilter, Version,
};

use crate::failure::{Failure, Status, in_words};

/// Longest packet that is taken from the server, in bytes: ours is short, but the topic may carry others' too.
const MAX_PACKET: usize = 1024 * 1024;

/// How a TLS server begins its answer to what is no TLS: an alert, of any version (RFC 8446 §5.1).
const TLS_ALERT: &[u8] = b"\x15\x03";

const SUBSCRIBE_ID: PacketId = PacketId::MIN;
const PUBLISH_ID: PacketId = PacketId::MIN.next();

/// What to say to the server.
#[derive(Clone, Debug)]
pub struct Plan {
    pub version: Version,
    pub client_id: String,
    pub user_name: Option<String>,
    pub password: Option<Vec<u8>>,
    pub keep_alive: u16,
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
}

/// A step that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// CONNACK said yes.
    Connected {
        /// The server had a session of this client identifier.
        session_present: bool,
    },
    /// SUBACK said yes.
    Subscribed {
        /// With this QoS.
        granted: QoS,
    },
    /// The message was sent and, with QoS 1 and 2, acknowledged by the server.
    Published {
        /// With this QoS: the server may not know higher ones.
        qos: QoS,
    },
    /// The message came back.
    Received {
        /// With this QoS.
        qos: QoS,
    },
    /// All is done, DISCONNECT is the last packet for the server.
    Disconnected,
}

/// Packets for the server, each encoded, and steps done.
#[derive(Debug, Default)]
pub struct Output {
    pub packets: Vec<Vec<u8>>,
    pub steps: Vec<Step>,
}

/// How far the conversation is.
pub struct Exchange {
    plan: Plan,
    decoder: Decoder,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// CONNECT is sent.
    Connecting,
    /// SUBSCRIBE is sent.
    Subscribing,
    /// PUBLISH is sent.
    Publishing(Pending),
    /// DISCONNECT is sent.
    Done,
}

/// What is still missing of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    /// The server's PUBACK, or PUBREC and PUBCOMP.
    acknowledgement: bool,
    /// The message itself.
    message: bool,
    /// The server's PUBREL for it, if it came with QoS 2.
    release: bool,
}

impl Exchange {
    /// Begins, with the CONNECT in `output`.
    ///
    /// # Errors
    /// If the plan cannot be put into packets.
    pub fn start(plan: Plan, output: &mut Output) -> Result<Exchange, Failure> {
        let mut connect = Connect::new(plan.version, &plan.client_id);
        connect.keep_alive = plan.keep_alive;
        connect.user_name = plan.user_name.as_deref();
        connect.password = plan.password.as_deref();
        let decoder = Decoder::with_version(plan.version, MAX_PACKET);
        send(plan.version, &Packet::Connect(connect), output)?;
        Ok(Exchange { plan, decoder, state: State::Connecting })
    }

    /// Takes bytes of the server from the front of `bytes` and tells how many; the rest, which is no whole packet, is
    /// to be shown again with what follows it.
    ///
    /// # Errors
    /// If the server refuses something, or breaks the protocol.
    pub fn feed(&mut self, bytes: &[u8], output: &mut Output) -> Result<usize, Failure> {
        if self.state == State::Connecting && bytes.starts_with(b"HTTP/") {
            return Err(Failure::other(
                "the server answers in HTTP; should the URL begin with ws:// or wss://?",
            ));
        }
        if self.state == State::Connecting && bytes.starts_with(TLS_ALERT) {
            return Err(Failure::other(
                "the server answers in TLS; should the URL begin with tls:// or wss://?",
            ));
        }
        let mut taken = 0;
        while self.state != State::Done {
            let rest = bytes.get(taken..).unwrap_or_default();
            let next = self
                .decoder
                .next(rest)
                .map_err(|error| Failure::other(format_args!("the server broke the protocol: {error}")))?;
            let Some((packet, len)) = next else { return Ok(taken) };
            taken += len;
            self.packet(&packet, output)?;
        }
        Ok(bytes.len())
    }

    /// What the server owes us, for the message of a timeout.
    pub fn awaited(&self) -> &'static str {
        match self.state {
            State::Connecting => "no answer to CONNECT",
            State::Subscribing => "no answer to SUBSCRIBE",
            State::Publishing(Pending { message: true, .. }) => "the message did not come back",
            State::Publishing(Pending { acknowledgement: true, .. }) => "the message was not acknowledged",
            State::Publishing(_) => "no PUBREL for the message that came back",
            State::Done => "the server did not close the connection",
        }
    }

    /// Whether DISCONNECT is sent.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn packet(&mut self, packet: &Packet<'_>, output: &mut Output) -> Result<(), Failure> {
        match (self.state, packet) {
            (State::Connecting, Packet::Connack(connack)) => self.connected(connack, output),
            (State::Subscribing, Packet::Suback(suback)) if suback.packet_id == SUBSCRIBE_ID => {
                self.subscribed(suback, output)
            }
            (State::Subscribing | State::Publishing(_), Packet::Publish(publish)) => {
                self.message(publish, output)
            }
            (State::Subscribing | State::Publishing(_), Packet::Pubrel(ack)) => self.released(ack, output),
            (State::Publishing(_), Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubcomp(ack))
                if ack.packet_id == PUBLISH_ID =>
            {
                self.acknowledged(packet, ack, output)
            }
            (_, Packet::Disconnect(disconnect)) => Err(self.disconnected(disconnect)),
            (_, packet) => Err(Failure::other(format_args!(
                "the server broke the protocol: {} where none was due",
                packet.packet_type()
            ))),
        }
    }

    fn connected(&mut self, connack: &Connack<'_>, output: &mut Output) -> Result<(), Failure> {
        if connack.reason.is_error() {
            let reason = in_words(connack.reason, &connack.properties);
            return Err(Failure::new(
                Status::Refused,
                format_args!("the server refused the connection: {reason}"),
            ));
        }
        output.steps.push(Step::Connected { session_present: connack.session_present });
        // [MQTT-3.2.2-11]: a PUBLISH of a higher QoS would end the connection.
        let highest = connack.properties.maximum_qos().unwrap_or(QoS::ExactlyOnce);
        self.plan.qos = self.plan.qos.min(highest);
        let filter = TopicFilter::for_version(self.plan.version, &self.plan.topic).map_err(Failure::usage)?;
        let mut subscriptions = SubscriptionsBuf::new();
        subscriptions.push(filter, SubscribeOptions::new(self.plan.qos));
        self.state = State::Subscribing;
        let subscribe = Subscribe::new(SUBSCRIBE_ID, subscriptions.as_subscriptions());
        send(self.plan.version, &Packet::Subscribe(subscribe), output)
    }

    fn subscribed(&mut self, suback: &Suback<'_>, output: &mut Output) -> Result<(), Failure> {
        let code = suback.codes.iter().next().unwrap_or(ReasonCode::UnspecifiedError);
        let granted = match QoS::from_u8(code.code()) {
            Some(granted) => granted,
            None => {
                let reason = in_words(code, &suback.properties);
                return Err(Failure::new(
                    Status::Denied,
                    format_args!("the server refused the subscription to {}: {reason}", self.plan.topic),
                ));
            }
        };
        output.steps.push(Step::Subscribed { granted });
        let qos = self.plan.qos;
        let acknowledgement = qos != QoS::AtMostOnce;
        self.state = State::Publishing(Pending { acknowledgement, message: true, release: false });
        let publish = Publish {
            qos,
            packet_id: acknowledgement.then_some(PUBLISH_ID),
            ..Publish::new(&self.plan.topic, &self.plan.payload)
        };
        send(self.plan.version, &Packet::Publish(publish), output)?;
        if !acknowledgement {
            output.steps.push(Step::Published { qos });
        }
        Ok(())
    }

    fn acknowledged(
        &mut self,
        packet: &Packet<'_>,
        ack: &Ack<'_>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        if ack.reason.is_error() {
            let reason = in_words(ack.reason, &ack.properties);
            return Err(Failure::new(
                Status::Denied,
                format_args!("the server refused the message: {reason}"),
            ));
        }
        if let Packet::Pubrec(_) = packet {
            return send(self.plan.version, &Packet::Pubrel(Ack::new(ack.packet_id)), output);
        }
        output.steps.push(Step::Published { qos: self.plan.qos });
        self.settle(output, |pending| pending.acknowledgement = false)
    }

    /// Answers any message; only ours counts.
    fn message(&mut self, publish: &Publish<'_>, output: &mut Output) -> Result<(), Failure> {
        if let Some(packet_id) = publish.packet_id {
            let answer = match publish.qos {
                QoS::ExactlyOnce => Packet::Pubrec(Ack::new(packet_id)),
                _ => Packet::Puback(Ack::new(packet_id)),
            };
            send(self.plan.version, &answer, output)?;
        }
        let State::Publishing(pending) = self.state else { return Ok(()) };
        if !pending.message || publish.payload != self.plan.payload || publish.topic != self.plan.topic {
            return Ok(());
        }
        output.steps.push(Step::Received { qos: publish.qos });
        self.settle(output, |pending| {
            pending.message = false;
            pending.release = publish.qos == QoS::ExactlyOnce;
        })
    }

    fn released(&mut self, ack: &Ack<'_>, output: &mut Output) -> Result<(), Failure> {
        send(self.plan.version, &Packet::Pubcomp(Ack::new(ack.packet_id)), output)?;
        // While the message is missing, this is for one of somebody else.
        self.settle(output, |pending| pending.release &= pending.message)
    }

    /// Notes that something came, and says goodbye once nothing is missing.
    fn settle(&mut self, output: &mut Output, came: impl FnOnce(&mut Pending)) -> Result<(), Failure> {
        let State::Publishing(pending) = &mut self.state else { return Ok(()) };
        came(pending);
        if pending.acknowledgement || pending.message || pending.release {
            return Ok(());
        }
        self.state = State::Done;
        let disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
        send(self.plan.version, &Packet::Disconnect(disconnect), output)?;
        output.steps.push(Step::Disconnected);
        Ok(())
    }

    fn disconnected(&self, disconnect: &Disconnect<'_>) -> Failure {
        let about_us = matches!(
            disconnect.reason,
            ReasonCode::NotAuthorized | ReasonCode::TopicNameInvalid | ReasonCode::TopicFilterInvalid
        );
        let status = if about_us { Status::Denied } else { Status::Lost };
        let reason = in_words(disconnect.reason, &disconnect.properties);
        Failure::new(status, format_args!("the server ended the connection: {reason}"))
    }
}

fn send(version: Version, packet: &Packet<'_>, output: &mut Output) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).map_err(Failure::usage)?;
    output.packets.push(bytes);
    Ok(())
}

#[cfg(test)]
mod tests;
