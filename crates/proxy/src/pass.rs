//! The data path: packets from one side of a link to the other.

use std::num::NonZeroU32;

use mqway_codec::{
    Connect, DecodeError, Packet, PacketType, Properties, PropertiesBuf, Property, PropertyId, ReasonCode,
    Version, decode,
};
use mqway_engine::{ConnId, Io};

use crate::core::{Context, Mail};
use crate::link::{Link, Phase, Stream};
use crate::{Counters, Direction, LARGEST_PACKET, Observer, Seen};

/// A PUBLISH that is larger than this is passed on as it comes; smaller ones, and all other packets, when they are
/// whole.
pub(crate) const IN_PIECES_FROM: usize = 64 * 1024;

/// What the packets that were passed on mean for the link.
#[derive(Debug)]
pub(crate) enum Then {
    /// Nothing.
    Go,
    /// The client said DISCONNECT.
    ClientLeft,
    /// The upstream accepted the client.
    Accepted,
    /// The upstream refused the client, for this reason.
    Refused(ReasonCode),
    /// The bytes that come next are no packet.
    Fault(DecodeError),
    /// The packet that comes next may not be sent by this side, or not now.
    Misplaced(PacketType),
    /// The packet that comes next is one that this side may not send, for this reason.
    Wrong(ReasonCode, &'static str),
    /// A hook wants the connection to end, for this reason and in these words for the log.
    Denied(ReasonCode, String),
    /// The packet that comes next must be whole to be judged, and is larger than what is kept of a connection.
    TooLarge(PacketType),
}

/// What to do with a packet.
pub(crate) enum Step {
    Pass,
    PassAnd(Then),
    /// It waits, with all behind it, until the link is further.
    Wait,
    Refuse,
}

impl Link {
    /// Passes on the packets in `bytes`. Returns how many bytes are done with, and what follows from them.
    pub(crate) fn pass<O: Observer>(
        &mut self,
        io: &mut Io<Mail>,
        direction: Direction,
        bytes: &[u8],
        context: &mut Context<O>,
    ) -> (usize, Then) {
        let to = match direction {
            Direction::ToUpstream => self.upstream,
            Direction::ToClient => Some(self.client),
        };
        let Some(to) = to else { return (bytes.len(), Then::Go) };
        let piece = self.pass_piece(io, direction, to, bytes);
        let mut run = Run::behind(io, to, piece);
        let then = loop {
            match self.pass_one(io, direction, bytes, &mut run, context) {
                Ok(true) => {}
                Ok(false) => break Then::Go,
                Err(then) => break then,
            }
        };
        run.flush(io, bytes);
        (run.at, then)
    }

    /// The next bytes of a packet that is passed on in pieces.
    pub(crate) fn pass_piece(
        &mut self,
        io: &mut Io<Mail>,
        direction: Direction,
        to: ConnId,
        bytes: &[u8],
    ) -> usize {
        let stream = self.stream(direction);
        let piece = stream.passing.min(bytes.len());
        if piece > 0 {
            stream.passing -= piece;
            io.send_piece(to, &bytes[..piece]);
        }
        piece
    }

    /// Passes on the packet at `run.at`. `Ok(false)` if there is none yet.
    #[inline]
    fn pass_one<O: Observer>(
        &mut self,
        io: &mut Io<Mail>,
        direction: Direction,
        bytes: &[u8],
        run: &mut Run,
        context: &mut Context<O>,
    ) -> Result<bool, Then> {
        let rest = &bytes[run.at..];
        let connecting = self.awaits_connack();
        if connecting && let Some(reason) = self.refused_as_3_1_1(direction, rest) {
            run.pass(io, bytes, 4);
            return Err(Then::Refused(reason));
        }
        if !O::WATCHES
            && !connecting
            && let Some(version) = self.version()
            && let Some(len) = self.stream(direction).familiar.len_of(rest, version, context.limits.packet)
        {
            context.tally.count(direction, PacketType::Publish);
            run.pass(io, bytes, len);
            return Ok(true);
        }
        let (packet, len) = match self.stream(direction).decoder.next(rest) {
            Ok(Some(found)) => found,
            Ok(None) if rest.len() >= IN_PIECES_FROM => {
                return self.begin_pieces(io, direction, bytes, run, context);
            }
            Ok(None) => return Ok(false),
            Err(error) => return Err(Then::Fault(error)),
        };
        let step = match &packet {
            // The hot path: nothing about these concerns the link, once it is open.
            Packet::Publish(_)
            | Packet::Puback(_)
            | Packet::Pubrec(_)
            | Packet::Pubrel(_)
            | Packet::Pubcomp(_)
                if !connecting =>
            {
                Step::Pass
            }
            packet => self.step(direction, packet),
        };
        match step {
            Step::Wait => return Ok(false),
            Step::Refuse => return Err(Then::Misplaced(packet.packet_type())),
            Step::Pass | Step::PassAnd(_) => {}
        }
        self.observe(io, direction, &packet, len, 0, context);
        if let (Packet::Publish(publish), false) = (&packet, O::WATCHES) {
            self.stream(direction).familiar.remember(rest, publish.topic);
        }
        match with_our_limit(&packet, self.version(), context.limits.packet) {
            Some(changed) => run.replace(io, bytes, len, &changed),
            None => run.pass(io, bytes, len),
        }
        match step {
            Step::PassAnd(then) => Err(then),
            _ => Ok(true),
        }
    }

    /// The reason, if these are the four bytes in which a server that does not know 5.0 refuses: the words of 3.1.1.
    pub(crate) fn refused_as_3_1_1(&self, direction: Direction, rest: &[u8]) -> Option<ReasonCode> {
        let of_5 = direction == Direction::ToClient && self.version() == Some(Version::V5);
        let Some(refusal @ [0x20, 2, ..]) = rest.get(..4).filter(|_| of_5) else { return None };
        match decode(Version::V3_1_1, refusal) {
            Ok(Packet::Connack(connack)) => Some(connack.reason).filter(|reason| reason.is_error()),
            _ => None,
        }
    }

    /// Begins a packet whose payload is passed on as it comes.
    pub(crate) fn begin_pieces<O: Observer>(
        &mut self,
        io: &mut Io<Mail>,
        direction: Direction,
        bytes: &[u8],
        run: &mut Run,
        context: &mut Context<O>,
    ) -> Result<bool, Then> {
        let rest = &bytes[run.at..];
        if self.awaits_connack() {
            return Ok(false);
        }
        let decoder = &self.stream(direction).decoder;
        let Some(header) = decoder.header(rest).map_err(Then::Fault)? else { return Ok(false) };
        let Some(publish) = decoder.publish_start(&header, rest).map_err(Then::Fault)? else {
            // It is kept until it is whole, or a PUBLISH at least up to its payload.
            let limit = io.unread_limit();
            let may_still_begin =
                header.packet_type == PacketType::Publish && rest.len() + IN_PIECES_FROM <= limit;
            let fits = header.packet_len() <= limit || may_still_begin;
            return if fits { Ok(false) } else { Err(Then::TooLarge(header.packet_type)) };
        };
        let (len, missing) = (header.packet_len(), header.packet_len() - rest.len());
        Counters::count(&context.counters.packets_passed_in_pieces);
        self.observe(io, direction, &Packet::Publish(publish), len, missing, context);
        run.flush(io, bytes);
        io.begin_packet(run.to, len);
        io.send_piece(run.to, rest);
        run.at = bytes.len();
        run.sent = run.at;
        self.stream(direction).passing = missing;
        Ok(false)
    }

    /// Counts and shows a packet that is about to be passed on.
    #[inline]
    pub(crate) fn observe<O: Observer>(
        &self,
        io: &Io<Mail>,
        direction: Direction,
        packet: &Packet<'_>,
        len: usize,
        missing: usize,
        context: &mut Context<O>,
    ) {
        context.tally.count(direction, packet.packet_type());
        let (link, at) = (self.id, io.now());
        if let Some(version) = self.version() {
            context.observer.packet(&Seen { link, at, direction, version, packet, len, missing });
        }
    }

    /// What to do with a packet that may concern the link.
    pub(crate) fn step(&mut self, direction: Direction, packet: &Packet<'_>) -> Step {
        let connecting = self.awaits_connack();
        match (direction, packet) {
            (Direction::ToUpstream, Packet::Connect(connect)) => {
                self.begin_session(connect);
                Step::Pass
            }
            (Direction::ToUpstream, Packet::Disconnect(_)) => Step::PassAnd(Then::ClientLeft),
            // Before CONNACK, 5.0 §4.12 has nothing else from a client.
            (Direction::ToUpstream, Packet::Auth(_)) => Step::Pass,
            (Direction::ToUpstream, _) if connecting => Step::Wait,
            (Direction::ToUpstream, Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::Pingreq) => {
                Step::Pass
            }
            (Direction::ToClient, Packet::Connack(connack)) if connecting => match &mut self.phase {
                Phase::Connecting if !connack.reason.is_error() => {
                    if let Some(who) = &mut self.who {
                        who.learn(connack);
                    }
                    Step::PassAnd(Then::Accepted)
                }
                _ if connack.reason.is_error() => Step::PassAnd(Then::Refused(connack.reason)),
                Phase::Leaving { before_connack } => {
                    *before_connack = false;
                    Step::Pass
                }
                _ => Step::PassAnd(Then::Accepted),
            },
            (Direction::ToClient, Packet::Auth(_)) => Step::Pass,
            // [MQTT-3.2.0-1]: nothing else comes before CONNACK.
            (Direction::ToClient, _) if connecting => Step::Refuse,
            (Direction::ToClient, Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp) => Step::Pass,
            (Direction::ToClient, Packet::Disconnect(_)) if self.version() == Some(Version::V5) => Step::Pass,
            (_, Packet::Publish(_) | Packet::Puback(_) | Packet::Pubrec(_)) => Step::Pass,
            (_, Packet::Pubrel(_) | Packet::Pubcomp(_)) => Step::Pass,
            _ => Step::Refuse,
        }
    }

    /// CONNECT sets the version of both directions.
    fn begin_session(&mut self, connect: &Connect<'_>) {
        self.to_client.decoder.set_version(connect.version);
    }

    pub(crate) fn stream(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::ToUpstream => &mut self.to_upstream,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

/// Packets on their way to one connection: where it takes bytes as they are, they go in one run.
pub(crate) struct Run {
    pub to: ConnId,
    aligned: bool,
    /// Everything before it was sent.
    sent: usize,
    /// Everything before it was looked at.
    pub at: usize,
}

impl Run {
    /// Packets behind so many bytes that were sent.
    pub fn behind(io: &Io<Mail>, to: ConnId, sent: usize) -> Run {
        Run { to, aligned: io.frames_packets(to), sent, at: sent }
    }

    #[inline]
    pub fn pass(&mut self, io: &mut Io<Mail>, bytes: &[u8], len: usize) {
        if self.aligned {
            io.send(self.to, &bytes[self.at..self.at + len]);
            self.sent = self.at + len;
        }
        self.at += len;
    }

    pub fn replace(&mut self, io: &mut Io<Mail>, bytes: &[u8], len: usize, packet: &[u8]) {
        self.flush(io, bytes);
        io.send(self.to, packet);
        self.at += len;
        self.sent = self.at;
    }

    /// The packet at this place is not passed on.
    pub fn skip(&mut self, io: &mut Io<Mail>, bytes: &[u8], len: usize) {
        self.flush(io, bytes);
        self.at += len;
        self.sent = self.at;
    }

    pub fn flush(&mut self, io: &mut Io<Mail>, bytes: &[u8]) {
        if self.sent < self.at {
            io.send_run(self.to, &bytes[self.sent..self.at]);
            self.sent = self.at;
        }
    }
}

/// CONNECT and CONNACK of 5.0 name the largest packet that their sender takes. Where the proxy's own limit is lower,
/// that is what both sides must hear. `None`: the packet passes as it is.
#[inline]
fn with_our_limit(packet: &Packet<'_>, version: Option<Version>, limit: usize) -> Option<Vec<u8>> {
    if limit >= LARGEST_PACKET || version != Some(Version::V5) {
        return None;
    }
    announce(packet, limit)
}

fn announce(packet: &Packet<'_>, limit: usize) -> Option<Vec<u8>> {
    let theirs = match packet {
        Packet::Connect(connect) => connect.properties,
        Packet::Connack(connack) => connack.properties,
        _ => return None,
    };
    let limit = our_limit(&theirs, limit)?;
    let mut ours = PropertiesBuf::new();
    let others = theirs.iter().filter(|property| property.id() != PropertyId::MaximumPacketSize);
    ours.extend(others).ok()?;
    ours.push(Property::MaximumPacketSize(limit)).ok()?;
    let properties = ours.as_properties();
    let mut changed = *packet;
    match &mut changed {
        Packet::Connect(connect) => connect.properties = properties,
        Packet::Connack(connack) => connack.properties = properties,
        _ => {}
    }
    let mut bytes = Vec::new();
    changed.encode(Version::V5, &mut bytes).ok().map(|()| bytes)
}

/// The Maximum Packet Size to be named in the place of theirs, if ours is lower.
pub(crate) fn our_limit(theirs: &Properties<'_>, limit: usize) -> Option<NonZeroU32> {
    let limit = NonZeroU32::new(u32::try_from(limit).ok().filter(|_| limit < LARGEST_PACKET)?)?;
    let lower = theirs.maximum_packet_size().is_none_or(|theirs| limit < theirs);
    lower.then_some(limit)
}
