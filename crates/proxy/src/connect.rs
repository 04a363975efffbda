//! From a client's first packet to its upstream.

use std::collections::VecDeque;

use mqway_codec::{Connect, DecodeError, Fault, Packet, ReasonCode, Version, version_for_unknown_level};
use mqway_engine::{CloseCode, ConnId, Dial, Io, Why};

use crate::answer::refusal;
use crate::core::{Key, Mail, Peer, ProxyCore};
use crate::link::{Candidates, ClientTerms, Phase};
use crate::who::Who;
use crate::{Counters, LARGEST_PACKET, Observer};

/// Bytes behind CONNECT that may wait for CONNACK before the client's socket is left alone.
const WAITING: usize = 256 * 1024;

impl<O: Observer> ProxyCore<O> {
    /// Looks for CONNECT in the first bytes of a client. It is left unread until an upstream is there to take it.
    /// Where there are hooks, they take it.
    pub(crate) fn first_packet(&mut self, io: &mut Io<Mail>, key: Key, bytes: &[u8]) -> usize {
        let Some(link) = self.links.find(key) else { return bytes.len() };
        // A copy: the link's own decoder meets this packet again when it is passed on.
        match link.to_upstream.decoder.clone().next(bytes) {
            Ok(None) => {}
            Ok(Some((Packet::Connect(connect), len))) => {
                Counters::count(&self.context.counters.connects);
                if link.guard.is_some() {
                    self.take_connect(io, key, &connect, &bytes[..len]);
                    return len;
                }
                link.who = Some(Who::of(&connect).pack());
                self.begin_dial(io, key, &connect);
            }
            Ok(Some((other, _))) => {
                let text = format!("the first packet is {}", other.packet_type());
                self.refuse_first(io, key, None, &text);
            }
            Err(error) => {
                let terms = terms_of_faulty(&error, bytes).map(|version| (version, error.reason_code()));
                let text = foreign(bytes).map_or_else(|| error.to_string(), str::to_owned);
                self.refuse_first(io, key, terms, &text);
            }
        }
        0
    }

    /// Leaves the socket of a client alone that says too much before its CONNACK.
    pub(crate) fn wait(&mut self, io: &mut Io<Mail>, conn: ConnId, bytes: &[u8]) {
        if bytes.len() >= WAITING {
            io.pause(conn);
        }
    }

    /// Looks for an upstream that is there to take the client.
    pub(crate) fn begin_dial(&mut self, io: &mut Io<Mail>, key: Key, connect: &Connect<'_>) {
        let upstreams = self.context.upstreams.clone();
        let others = self.order(io, connect.client_id);
        let packet =
            connect.properties.maximum_packet_size().map_or(LARGEST_PACKET, |size| size.get() as usize);
        let client = ClientTerms { version: connect.version, packet };
        let candidates = Candidates { upstreams, current: 0, others, client };
        self.dial_next(io, key, Box::new(candidates), "no upstream is configured");
    }

    fn order(&mut self, io: &Io<Mail>, client_id: &str) -> VecDeque<usize> {
        if !client_id.is_empty() {
            return self.context.upstreams.order(client_id.as_bytes(), io.now());
        }
        self.context.anonymous += 1;
        self.context.upstreams.order(&self.context.anonymous.to_le_bytes(), io.now())
    }

    /// Dials the next candidate, or refuses the client if there is none left.
    fn dial_next(&mut self, io: &mut Io<Mail>, key: Key, mut candidates: Box<Candidates>, last_error: &str) {
        self.links.set_upstream(key, None);
        let Some(link) = self.links.find(key) else { return };
        let Some(next) = candidates.others.pop_front() else {
            let peer = Peer(io.peer(link.client));
            log::warn!("{peer}: refused: no upstream can be reached; the last one: {last_error}");
            Counters::count(&self.context.counters.upstream_unavailable);
            link.phase = Phase::Dialling(candidates);
            self.refuse_waiting(io, key, ReasonCode::ServerUnavailable);
            return self.end(io, key, CloseCode::TRY_AGAIN_LATER, "no upstream can be reached");
        };
        candidates.current = next;
        let upstream = candidates.upstreams.upstream(next);
        let dial = Dial {
            target: upstream.target.clone(),
            options: upstream.options.clone(),
            time_limit: self.context.limits.dial_time,
        };
        link.phase = Phase::Dialling(candidates);
        let conn = io.dial(key.0, dial);
        self.links.set_upstream(key, Some(conn));
    }

    /// An upstream could not be reached: the next one is tried.
    pub(crate) fn dial_failed(&mut self, io: &mut Io<Mail>, key: Key, why: &Why) {
        let Some(link) = self.links.find(key) else { return };
        let Phase::Dialling(candidates) = std::mem::replace(&mut link.phase, Phase::Fresh) else { return };
        let upstreams = &candidates.upstreams;
        upstreams.failed(candidates.current, io.now());
        Counters::count(&self.context.counters.upstream_failures);
        let error = format!("{}: {why}", upstreams.upstream(candidates.current).name);
        if !candidates.others.is_empty() {
            log::warn!("{error}; trying another upstream");
            Counters::count(&self.context.counters.upstream_failovers);
        }
        self.dial_next(io, key, candidates, &error);
    }

    /// Answers a client that waits for CONNACK.
    pub(crate) fn refuse_waiting(&mut self, io: &mut Io<Mail>, key: Key, reason: ReasonCode) {
        // CONNACK has no word for a server that is about to end.
        let reason = match reason {
            ReasonCode::ServerShuttingDown => ReasonCode::ServerUnavailable,
            other => other,
        };
        let Some(link) = self.links.find(key) else { return };
        let terms = match &link.phase {
            Phase::Dialling(candidates) => candidates.client,
            _ => {
                let Some(version) = link.version() else { return };
                // The client's own limit is not kept so long; the shortest answer fits any.
                ClientTerms { version, packet: 0 }
            }
        };
        // Faults of a client are told by their name alone; that upstreams fail deserves a sentence.
        let text = match reason {
            ReasonCode::ServerUnavailable => "no server behind this proxy can be reached",
            other => other.name(),
        };
        let packet = refusal(terms, reason, text);
        if !packet.is_empty() {
            io.send(link.client, &packet);
        }
    }

    /// Ends a client whose first packet is no valid CONNECT, with an answer where its version can be told.
    fn refuse_first(
        &mut self,
        io: &mut Io<Mail>,
        key: Key,
        answer: Option<(Version, ReasonCode)>,
        text: &str,
    ) {
        Counters::count(&self.context.counters.connects_refused);
        let Some(link) = self.links.find(key) else { return };
        log::info!("{}: closed before CONNECT: {text}", Peer(io.peer(link.client)));
        if let Some((version, reason)) = answer {
            let packet = refusal(ClientTerms { version, packet: LARGEST_PACKET }, reason, text);
            if !packet.is_empty() {
                io.send(link.client, &packet);
            }
        }
        self.end(io, key, CloseCode::PROTOCOL_ERROR, text);
    }
}

/// What another protocol's first bytes are, for people who took the wrong port.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let looks_like: [(&[u8], _); 3] = [
        (b"\x16\x03", "this is TLS, at a listener that does not speak it"),
        (b"GET ", "this is HTTP, at a listener for plain MQTT; one for WebSocket is ws://"),
        (b"PROXY ", "this is a PROXY protocol header, which the listener was not told of"),
    ];
    looks_like.into_iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, text)| text)
}

/// The version in which to answer a CONNECT that is wrong; `None` if it is to be closed without a word.
fn terms_of_faulty(error: &DecodeError, bytes: &[u8]) -> Option<Version> {
    match error.fault() {
        Fault::ProtocolLevel(level) => Some(version_for_unknown_level(level, bytes)), // [MQTT-3.1.2-2]
        // Before 5.0 there is no return code for what is malformed.
        _ => error.version().filter(|version| *version == Version::V5),
    }
}
