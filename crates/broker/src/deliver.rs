//! The last steps of the walk: from a message and its targets to the sessions, and from these to their connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mqway_codec::{PacketId, PacketType, QoS, ReasonCode, Version};
use mqway_engine::Io;
use mqway_hooks::{Event, Phase};
use mqway_routing::{Route, Share, ShareId, Target};
use mqway_session::Outgoing;
use mqway_session::server::{Receiver, acknowledge};

use crate::config::QueueFull;
use crate::counters::Tally;
use crate::delivery::{Content, Delivery, Identifiers, KeptPacket, Spare};
use crate::guest::Hooked;
use crate::loads::LoadId;
use crate::mail::{Mail, Parcel};
use crate::message::{Draft, Message, time_left};
use crate::offer::tell_dropped;
use crate::sessions::{Home, Sessions};
use crate::shared::{Agreed, SessionRef, Shared};
use crate::writer::{Letter, Unwritten, Writer, is_5};

/// Where one worker's deliveries are made.
pub(crate) struct Desk {
    pub worker: usize,
    pub sessions: Sessions,
    pub tally: Tally,
    pub shared: Arc<Shared>,
    /// Bytes in the engine above which it says that a receiver is blocked, and when it isn't any more.
    pub full: usize,
    /// Bytes that this worker may send before so much waits in the engine that each receiver gets less room.
    pub room: usize,
    pub writer: Writer,
    pub spare: Spare,
    /// Who is asked and told, if there is anybody.
    pub hooked: Option<Box<Hooked>>,
    /// For other workers, by worker; sent at the end of the tick.
    pub parcels: Vec<Vec<Parcel>>,
    /// Sessions with more to send than fitted into this tick.
    pub unfinished: Vec<SessionRef>,
    serial: u64,
    /// Whose turn it is among equals.
    turn: usize,
    /// Packets that are made here.
    answer: Vec<u8>,
}

/// What a session was promised for a message: the sum of its subscriptions that match.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub qos: QoS,
    pub retain_as_published: bool,
    pub identifiers: Identifiers,
    pub share: Option<ShareId>,
}

impl Grant {
    pub fn of(agreed: &Agreed) -> Grant {
        let mut identifiers = Identifiers::None;
        if let Some(id) = agreed.identifier {
            identifiers = Identifiers::One([id]);
        }
        Grant { qos: agreed.qos, retain_as_published: agreed.retain_as_published, identifiers, share: None }
    }

    /// The retain flag of the copy. [MQTT-3.3.1-12], [MQTT-3.3.1-13]; 3.1.1: [MQTT-3.3.1-9]
    #[inline]
    fn retain(&self, draft: &Draft<'_>) -> bool {
        self.retain_as_published && draft.retain
    }

    /// One copy for all of a session's subscriptions, with the highest QoS and every identifier. [MQTT-3.3.4-2],
    /// [MQTT-3.3.4-4]
    fn add(&mut self, agreed: &Agreed) {
        self.qos = self.qos.max(agreed.qos);
        self.retain_as_published |= agreed.retain_as_published;
        if let Some(id) = agreed.identifier {
            self.identifiers.push(id);
        }
    }
}

/// QoS 0 for a receiver is dropped above so many times what is enough for it, unless room is short: a burst within one
/// tick passes.
const BURST: usize = 8;

/// Bytes that may wait for one receiver while those of all take more than half of the room there is.
const ENOUGH_IN_A_CROWD: usize = 16 * 1024;

impl Desk {
    pub fn new(worker: usize, shared: Arc<Shared>, enough: usize) -> Desk {
        Desk {
            worker,
            sessions: Sessions::default(),
            tally: Tally::default(),
            full: enough,
            room: usize::MAX,
            writer: Writer::default(),
            spare: Spare::default(),
            hooked: Hooked::new(&shared.hooks),
            parcels: shared.on_the_way.iter().map(|_| Vec::new()).collect(),
            shared,
            unfinished: Vec::new(),
            serial: 0,
            turn: 0,
            answer: Vec::new(),
        }
    }

    /// A tick begins or ends: looks how full the engine is.
    pub fn look_around(&mut self, io: &Io<Mail>) {
        self.room = io.room() / io.workers().max(1);
    }

    /// Bytes in the engine above which a receiver has to wait for the rest, as things are.
    #[inline]
    pub fn enough(&self) -> usize {
        enough(self.full, self.room)
    }

    /// Bytes in the engine above which QoS 0 for such a receiver is dropped.
    #[inline]
    pub fn burst(&self) -> usize {
        burst(self.enough(), self.room)
    }

    /// A number for the next draft.
    #[inline]
    pub fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Takes a message to all of its targets. [MQTT-3.3.2-3]
    #[inline]
    pub fn distribute(
        &mut self,
        io: &mut Io<Mail>,
        route: &Route<SessionRef, Agreed>,
        draft: &mut Draft<'_>,
    ) {
        let shares = route.shares();
        let mut shares_left = shares.len();
        let mut direct = route.direct();
        while let [first, rest @ ..] = direct {
            let is_same = |target: &&Target<SessionRef, Agreed>| target.subscriber == first.subscriber;
            let more = if route.may_repeat() { rest.iter().take_while(is_same).count() } else { 0 };
            let (targets, others) = direct.split_at(1 + more);
            direct = others;
            let is_wanted = |target: &&Target<SessionRef, Agreed>| {
                !(target.options.no_local && draft.from == Some(target.subscriber)) // [MQTT-3.8.3-3]
            };
            let mut wanted = targets.iter().filter(is_wanted);
            let Some(one) = wanted.next() else { continue };
            let mut grant = Grant::of(&one.options);
            wanted.for_each(|target| grant.add(&target.options));
            draft.goes_last(shares_left == 0 && direct.is_empty());
            self.hand(io, one.subscriber, draft, &grant);
        }
        for share in shares {
            shares_left -= 1;
            draft.goes_last(shares_left == 0);
            self.distribute_share(io, &share, draft);
        }
    }

    /// Takes a message to one member of a shared subscription (5.0 §4.8.2), with what was granted to it. [MQTT-4.8.2-3]
    fn distribute_share(
        &mut self,
        io: &mut Io<Mail>,
        share: &Share<'_, SessionRef, Agreed>,
        draft: &mut Draft<'_>,
    ) {
        let Some(member) = self.pick(share.members, None) else { return };
        self.hand_to_member(io, share.id, member, draft);
    }

    pub fn hand_to_member(
        &mut self,
        io: &mut Io<Mail>,
        share: ShareId,
        member: Target<SessionRef, Agreed>,
        draft: &mut Draft<'_>,
    ) {
        let mut grant = Grant::of(&member.options); // [MQTT-3.3.4-3], [MQTT-3.3.4-5]
        grant.share = Some(share);
        if let Some(load) = member.options.load
            && draft.qos.min(grant.qos) > QoS::AtMostOnce
        {
            self.shared.loads.more(load);
        }
        self.hand(io, member.subscriber, draft, &grant);
    }

    /// The member with the least to do, and of those that are equal another each time.
    pub fn pick(
        &mut self,
        members: &[Target<SessionRef, Agreed>],
        but: Option<SessionRef>,
    ) -> Option<Target<SessionRef, Agreed>> {
        self.turn = self.turn.wrapping_add(1);
        let load = |agreed: &Agreed| agreed.load.map_or(0, |load: LoadId| self.shared.loads.of(load));
        let start = self.turn % members.len().max(1);
        let (before, from) = members.split_at_checked(start)?;
        let in_turn = from.iter().chain(before).filter(|member| Some(member.subscriber) != but);
        in_turn.min_by_key(|member| load(&member.options)).copied()
    }

    /// Takes a message to one session, here or at another worker.
    #[inline]
    fn hand(&mut self, io: &mut Io<Mail>, to: SessionRef, draft: &mut Draft<'_>, grant: &Grant) {
        if usize::from(to.worker) == self.worker {
            self.deliver(io, to, draft, grant);
        } else {
            self.send_away(to, draft, grant);
        }
    }

    fn send_away(&mut self, to: SessionRef, draft: &mut Draft<'_>, grant: &Grant) {
        let worker = usize::from(to.worker);
        let message = draft.shared();
        if let (Some(parcels), Some(bytes)) =
            (self.parcels.get_mut(worker), self.shared.on_the_way.get(worker))
        {
            bytes.fetch_add(message.size() as i64, Ordering::Relaxed);
            parcels.push(Parcel { to, message, grant: grant.clone() });
        }
    }

    /// Takes a message to a session that is at home here.
    #[inline]
    pub fn deliver(&mut self, io: &mut Io<Mail>, to: SessionRef, draft: &mut Draft<'_>, grant: &Grant) {
        let Desk { sessions, writer, tally, shared, hooked, room, full, unfinished, spare, .. } = self;
        let Some(home) = sessions.find(to) else { return };
        if let Some(local) = home.local() {
            if local.try_send(draft.shared()).is_err() {
                tally.dropped_local += 1;
            }
            return;
        }
        let most = enough(*full, *room);
        let qos = draft.qos.min(grant.qos); // [MQTT-3.8.4-8]
        let retain = grant.retain(draft);
        let kept = qos > QoS::AtMostOnce;
        let blob = if kept || home.conn.is_some() { draft.blob(kept) } else { None };
        let id = if qos == QoS::AtMostOnce {
            if home.blocked && home.conn.is_some_and(|conn| io.queued(conn) > burst(most, *room)) {
                tally.dropped_slow += 1;
                return tell_dropped(hooked, home, draft.topic, "dropped_slow");
            }
            None
        } else {
            match keep(&mut Books { tally, shared, hooked, spare }, home, qos, draft, grant, io.now()) {
                Kept::Sent(id) => Some(id),
                // What waits before it may be what can be sent now.
                Kept::Waits => return self.pump(io, to),
                Kept::Dropped => return,
            }
        };
        let (Some(conn), Some(sender)) = (home.conn, home.state.sender()) else { return };
        let letter = Letter {
            serial: draft.serial,
            raw: draft.raw_for(sender.version(), qos),
            topic: draft.topic,
            payload: draft.payload,
            blob: blob.as_ref(),
            properties: draft.properties,
            expires: draft.expires,
            qos,
            id,
            dup: false, // [MQTT-3.3.1-3]
            retain,
            identifiers: grant.identifiers.as_slice(),
        };
        let written = match (&mut *hooked, &mut home.guest) {
            (Some(hooked), Some(guest)) => {
                hooked.write(&home.client_id, guest, writer, io, conn, sender, &letter)
            }
            _ => writer.write(io, conn, sender, &letter),
        };
        match written {
            Ok(waiting) => {
                tally.sent(1, draft.payload.len());
                *room = room.saturating_sub(letter.copied());
                if waiting > most && !home.blocked {
                    // The rest has time until the engine has sent some of it.
                    home.blocked = true;
                    unfinished.push(to);
                }
            }
            Err(unwritten) => {
                tell_dropped(hooked, home, draft.topic, unwritten.counter());
                give_up(tally, shared, home, id.map(|id| (qos, id)), &unwritten);
            }
        }
    }

    /// Sends of a session's messages what may be sent now.
    pub fn pump(&mut self, io: &mut Io<Mail>, session: SessionRef) {
        let Desk { sessions, writer, tally, shared, hooked, answer, room, full, .. } = self;
        let Some(home) = sessions.find(session) else { return };
        let Some(conn) = home.conn else { return };
        if home.blocked {
            return;
        }
        while let Some((outgoing, sender)) = home.state.next_outgoing() {
            let (id, qos, dup, delivery) = match outgoing {
                Outgoing::Pubrel { id } => {
                    answer.clear();
                    acknowledge(PacketType::Pubrel, sender.version(), id, ReasonCode::Success, answer);
                    io.send(conn, answer);
                    tally.packets_sent += 1;
                    continue;
                }
                Outgoing::Publish { id, qos, dup, message } => (id, qos, dup, message),
            };
            let Content { raw, topic, payload, blob, properties, expires } = delivery.content();
            let alike = |(version, _): &(Version, &[u8])| is_5(*version) == is_5(sender.version());
            let letter = Letter {
                serial: 0,
                raw: raw.filter(alike).map(|(_, packet)| packet),
                topic,
                payload,
                blob,
                properties,
                expires,
                qos,
                id: Some(id),
                dup,
                retain: delivery.retain(),
                identifiers: delivery.identifiers(),
            };
            let written = match (&mut *hooked, &mut home.guest) {
                (Some(hooked), Some(guest)) => {
                    hooked.write(&home.client_id, guest, writer, io, conn, sender, &letter)
                }
                _ => writer.write(io, conn, sender, &letter),
            };
            match written {
                Ok(waiting) => {
                    tally.sent(1, payload.len());
                    *room = room.saturating_sub(letter.copied());
                    if waiting > enough(*full, *room) {
                        // The rest has time until the engine has sent some of it.
                        home.blocked = true;
                        self.unfinished.push(session);
                        return;
                    }
                }
                Err(unwritten) => {
                    if let Some(delivery) = give_up(tally, shared, home, Some((qos, id)), &unwritten) {
                        tell_dropped(hooked, home, delivery.topic(), unwritten.counter());
                    }
                }
            }
        }
    }

    /// Whether anybody wants to be told of such things.
    #[inline]
    pub fn wants(&self, phase: Phase) -> bool {
        self.hooked.as_ref().is_some_and(|hooked| hooked.wants(phase))
    }

    /// How long nothing more is to be read of a session's client, if hooks wish so.
    #[inline]
    pub fn take_rest(&mut self, session: SessionRef) -> Option<Duration> {
        self.hooked.as_ref()?;
        self.sessions.find(session)?.guest.as_mut()?.client.take_rest()
    }

    /// Tells observers what has happened to a session that is at home here.
    pub fn tell(&mut self, session: SessionRef, event: &Event<'_>) {
        if let (Some(hooked), Some(home)) = (&mut self.hooked, self.sessions.find(session)) {
            hooked.tell(home, event);
        }
    }

    /// Tells observers that a message of a session was dropped; `why` is the counter's name.
    pub fn tell_dropped(&mut self, session: SessionRef, topic: &str, why: &'static str) {
        if let Some(home) = self.sessions.find(session) {
            tell_dropped(&mut self.hooked, home, topic, why);
        }
    }

    /// Parcels from another worker.
    pub fn receive(&mut self, io: &mut Io<Mail>, parcels: Vec<Parcel>) {
        let mut last: Option<(u64, Arc<Message>)> = None;
        let mut bytes = 0;
        for Parcel { to, message, grant } in parcels {
            bytes += message.size() as i64;
            let serial = match &last {
                Some((serial, same)) if Arc::ptr_eq(same, &message) => *serial,
                _ => self.next_serial(),
            };
            let mut draft = Draft::of(serial, &message, None);
            draft.goes_last(true);
            self.deliver(io, to, &mut draft, &grant);
            last = Some((serial, message));
        }
        if let Some(on_the_way) = self.shared.on_the_way.get(self.worker) {
            on_the_way.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Gives other workers what is for them.
    pub fn send_parcels(&mut self, io: &mut Io<Mail>) {
        for (worker, parcels) in
            self.parcels.iter_mut().enumerate().filter(|(_, parcels)| !parcels.is_empty())
        {
            // The mailbox holds far more batches than there can be: each tick of each worker makes one.
            if let Err(Mail::Parcels(parcels)) = io.post(worker, Mail::Parcels(std::mem::take(parcels))) {
                let bytes: usize = parcels.iter().map(|parcel| parcel.message.size()).sum();
                self.tally.dropped_queue_bytes += parcels.len() as u64;
                if let Some(on_the_way) = self.shared.on_the_way.get(worker) {
                    on_the_way.fetch_sub(bytes as i64, Ordering::Relaxed);
                }
            }
        }
    }
}

/// What is enough for one receiver where the engine holds `full` at the most, and there is `room` for so much in all.
fn enough(full: usize, room: usize) -> usize {
    if room == 0 { full.min(ENOUGH_IN_A_CROWD) } else { full }
}

/// What is too much of QoS 0 for one receiver for which so much is enough.
fn burst(enough: usize, room: usize) -> usize {
    if room == 0 { enough } else { enough.saturating_mul(BURST) }
}

/// What became of a message of QoS 1 or 2 for a session.
enum Kept {
    /// It is under way with this identifier, and to be written now.
    Sent(PacketId),
    /// It waits behind others, or for a connection.
    Waits,
    /// There was no room.
    Dropped,
}

/// Where it is kept what becomes of messages: in counters, and by observers.
struct Books<'a> {
    tally: &'a mut Tally,
    shared: &'a Shared,
    hooked: &'a mut Option<Box<Hooked>>,
    spare: &'a mut Spare,
}

/// Adds a message of QoS 1 or 2 to a session, within its limits and behind those before it.
///
/// [MQTT-4.5.0-1], [MQTT-4.6.0-5], [MQTT-4.6.0-6]; 3.1.1: [MQTT-3.1.2-5]
#[inline]
fn keep(
    books: &mut Books<'_>,
    home: &mut Home,
    qos: QoS,
    draft: &mut Draft<'_>,
    grant: &Grant,
    now: Duration,
) -> Kept {
    let Books { tally, shared, hooked, spare } = books;
    let limits = &shared.limits;
    let retain = grant.retain(draft);
    let special = retain || grant.share.is_some() || grant.identifiers != Identifiers::None;
    let packet = if special { None } else { draft.packet() };
    let size = if packet.is_some() { KeptPacket::SIZE } else { draft.size() };
    let is_full =
        |home: &Home| home.state.queued() >= limits.queue_messages || home.bytes + size > limits.queue_bytes;
    // What has expired must not take the place of what has not.
    let expired = |delivery: &Delivery| time_left(delivery.expires(), now).is_err();
    while is_full(home)
        && let Some(oldest) = home.state.pop_oldest_if(expired)
    {
        tally.dropped_expired += 1;
        release(tally, shared, home, &oldest);
        tell_dropped(hooked, home, oldest.topic(), "dropped_expired");
    }
    let held = home.bytes + size;
    if held > limits.queue_bytes || held as u64 > shared.room_to_store(tally.stored_bytes) {
        tally.dropped_queue_bytes += 1;
        unload(shared, home.load, grant.share);
        tell_dropped(hooked, home, draft.topic, "dropped_queue_bytes");
        return Kept::Dropped;
    }
    if limits.queue_full == QueueFull::DropOldest
        && home.state.queued() >= limits.queue_messages
        && let Some(oldest) = home.state.pop_oldest()
    {
        tally.dropped_queue_full += 1;
        release(tally, shared, home, &oldest);
        tell_dropped(hooked, home, oldest.topic(), "dropped_queue_full");
    }
    home.bytes += size;
    Tally::more(&mut tally.stored, 1);
    Tally::more(&mut tally.stored_bytes, size as u64);
    let delivery = match packet {
        Some((version, packet)) => Delivery::Packet(spare.keep(version, packet)),
        None if special => Delivery::special(draft.shared(), retain, &grant.identifiers, grant.share),
        None => Delivery::Message(draft.shared()),
    };
    if !home.blocked
        && let Some(ready) = home.state.ready()
    {
        let id = ready.id();
        ready.send(qos, delivery);
        return Kept::Sent(id);
    }
    match home.state.push(qos, delivery) {
        Ok(()) => Kept::Waits,
        Err(delivery) => {
            tally.dropped_queue_full += 1;
            release(tally, shared, home, &delivery);
            tell_dropped(hooked, home, draft.topic, "dropped_queue_full");
            Kept::Dropped
        }
    }
}

/// A message cannot be written for its receiver: as if it had been sent and acknowledged. Gives back what was kept of it.
/// [MQTT-3.1.2-25]
#[cold]
fn give_up(
    tally: &mut Tally,
    shared: &Shared,
    home: &mut Home,
    kept: Option<(QoS, PacketId)>,
    unwritten: &Unwritten,
) -> Option<Delivery> {
    tally.unwritten(unwritten);
    if let Unwritten::Denied(reason) = unwritten {
        shared.counters.refuse(*reason);
    }
    let delivery = kept.and_then(|(qos, id)| home.state.give_up(qos, id))?;
    release(tally, shared, home, &delivery);
    Some(delivery)
}

/// Takes a delivery off the books of its session.
#[inline]
pub(crate) fn release(tally: &mut Tally, shared: &Shared, home: &mut Home, delivery: &Delivery) {
    let size = delivery.size();
    home.bytes = home.bytes.saturating_sub(size);
    Tally::less(&mut tally.stored, 1);
    Tally::less(&mut tally.stored_bytes, size as u64);
    unload(shared, home.load, delivery.share());
}

/// Takes off the books of a session what its client is done with by the PUBACKs in a row at the start of `bytes`. Returns
/// how many these are.
#[inline]
pub(crate) fn release_row(
    tally: &mut Tally,
    shared: &Shared,
    spare: &mut Spare,
    home: &mut Home,
    receiver: &Receiver,
    bytes: &[u8],
) -> usize {
    let (mut messages, mut size) = (0, 0);
    let row = receiver.take_pubacks(&mut home.state, bytes, |delivery| {
        messages += 1;
        size += delivery.size();
        unload(shared, home.load, delivery.share());
        spare.take_back(delivery);
    });
    home.bytes = home.bytes.saturating_sub(size);
    Tally::less(&mut tally.stored, messages);
    Tally::less(&mut tally.stored_bytes, size as u64);
    row
}

/// Takes a delivery for a shared subscription off the load of its session.
#[inline]
fn unload(shared: &Shared, load: Option<LoadId>, share: Option<ShareId>) {
    if let (Some(_), Some(load)) = (share, load) {
        shared.loads.less(load);
    }
}

impl Tally {
    #[inline]
    pub fn sent(&mut self, packets: u64, bytes: usize) {
        self.packets_sent += packets;
        self.publishes_sent += packets;
        self.publish_bytes_sent += bytes as u64;
    }

    fn unwritten(&mut self, unwritten: &Unwritten) {
        match unwritten {
            Unwritten::Expired => self.dropped_expired += 1,
            Unwritten::TooLarge => self.dropped_too_large += 1,
            Unwritten::Denied(_) => self.deliveries_denied += 1,
        }
    }
}
