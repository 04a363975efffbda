//! Messages of QoS 1 and 2 under way in one direction, of which not every one goes on as it came.
//!
//! The sender of a message is at one side of the link, its receiver at the other. Acknowledgements of messages that
//! went on pass one to one. Those that did not are acknowledged here, in the receiver's place, and nothing of that ever
//! reaches the receiver.

use std::collections::{HashMap, VecDeque};

use mqway_codec::{PacketId, PacketType, QoS, ReasonCode};
use mqway_hooks::Message;

/// Refusals that are remembered in case their message comes again. One that is forgotten is judged anew.
const SETTLED: usize = 64;

/// Bytes of messages that are kept for observers until they are acknowledged; of those beyond, observers are not told.
const KEPT: usize = 1024 * 1024;

/// What is under way in one direction.
#[derive(Default)]
pub(crate) struct Flow {
    under_way: HashMap<PacketId, Flight>,
    /// Messages whose exchange has ended with our answer, the latest last.
    settled: VecDeque<(u64, Answer)>,
    /// Kept where acknowledgements must leave in the order of their messages: towards the upstream, whose client the
    /// proxy is. [MQTT-4.6.0-2], [MQTT-4.6.0-3]
    turns: Option<[Turns; 2]>,
    kept: usize,
}

/// A message under way.
struct Flight {
    /// Tells the message from another one.
    mark: u64,
    stage: Stage,
    story: Option<Story>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It went on with the QoS that it came with.
    Passed(QoS),
    /// It came with QoS 2 and went on with QoS 1.
    Lowered,
    /// It came with QoS 2 and we have answered PUBREC, or will in its turn: PUBREL is to come.
    Ours,
}

/// What observers are to be told of a message once it is acknowledged.
pub(crate) enum Story {
    /// The message was published.
    Published(Box<Message<'static>>),
    /// A message to this topic was acknowledged.
    Acknowledged(Box<str>, QoS),
}

impl Story {
    fn len(&self) -> usize {
        match self {
            Story::Published(message) => {
                message.topic().len() + message.payload().len() + message.properties().as_bytes().len()
            }
            Story::Acknowledged(topic, _) => topic.len(),
        }
    }
}

/// An acknowledgement that we give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub packet_type: PacketType,
    pub packet_id: PacketId,
    pub reason: ReasonCode,
}

impl Answer {
    fn new(packet_type: PacketType, packet_id: PacketId, reason: ReasonCode) -> Answer {
        Answer { packet_type, packet_id, reason }
    }
}

/// What was decided of a message that comes again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It goes on, as it did before.
    Goes,
    /// It gets the same answer, if it has had one.
    Answered(Option<Answer>),
}

/// What becomes of an acknowledgement of the receiver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on to the sender.
    Pass,
    /// The sender knows nothing of it.
    Swallow,
    /// The sender gets this in its place.
    Instead(Answer),
}

/// A message is no longer under way, or is with its receiver for good.
pub(crate) struct Concluded {
    pub fate: Fate,
    /// What to tell observers, and whether the receiver has accepted it.
    pub story: Option<(Story, ReasonCode)>,
}

impl Flow {
    /// One whose acknowledgements leave in order.
    pub fn in_order() -> Flow {
        Flow { turns: Some(<[Turns; 2]>::default()), ..Flow::default() }
    }

    /// Whether acknowledgements all pass.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.turns.iter().flatten().all(|turns| turns.0.is_empty())
    }

    /// What was decided of a message before, if it is one that has come before.
    pub fn again(&self, packet_id: PacketId, qos: QoS, dup: bool, mark: u64) -> Option<Again> {
        if let Some(flight) = self.under_way.get(&packet_id) {
            return match flight.stage {
                // Until PUBREL the identifier names the same message. [MQTT-4.3.3-10]
                Stage::Ours if qos == QoS::ExactlyOnce => Some(Again::Answered(self.recorded(packet_id))),
                // Another message behind the same identifier must not profit from what was decided of the first.
                Stage::Passed(_) | Stage::Lowered if flight.mark == mark => Some(Again::Goes),
                _ => None,
            };
        }
        let settled = self.settled.iter().rev().filter(|_| dup);
        let mut same = settled.filter(|(known, answer)| *known == mark && answer.packet_id == packet_id);
        same.next().map(|(_, answer)| Again::Answered(Some(*answer)))
    }

    /// PUBREC for a message that is ours, unless its turn has not come.
    fn recorded(&self, packet_id: PacketId) -> Option<Answer> {
        let waits = self.turns.as_ref().is_some_and(|[_, recs]| recs.waits(packet_id));
        (!waits).then(|| Answer::new(PacketType::Pubrec, packet_id, ReasonCode::Success))
    }

    /// A message that came with QoS `sent` goes on with QoS `went`. Returns the answer that is due at once. `false` in
    /// the second place: there was no room for its story.
    pub fn goes(
        &mut self,
        packet_id: PacketId,
        (sent, went): (QoS, QoS),
        mark: u64,
        story: Option<Story>,
    ) -> (Option<Answer>, bool) {
        let stage = match (sent, went) {
            (_, QoS::AtMostOnce) => {
                return (self.stays(packet_id, sent, mark, ReasonCode::Success), true);
            }
            (QoS::ExactlyOnce, QoS::AtLeastOnce) => Stage::Lowered,
            _ => Stage::Passed(sent),
        };
        let turn = match (sent, went) {
            (QoS::ExactlyOnce, _) => 1,
            _ => 0,
        };
        // One that comes again keeps its place.
        let again = self.under_way.get(&packet_id).is_some_and(|flight| flight.stage == stage);
        if let Some(turns) = self.turns.as_mut().filter(|_| !again) {
            turns[turn].0.push_back(Turn::Receiver(packet_id));
        }
        let had_story = story.is_some();
        let story = story.filter(|story| self.kept + story.len() <= KEPT);
        let told = story.is_some() == had_story;
        self.kept += story.as_ref().map_or(0, Story::len);
        self.forget(packet_id);
        self.under_way.insert(packet_id, Flight { mark, stage, story });
        (None, told)
    }

    /// A message does not go on, or not with an identifier. Returns the answer that is due at once: an error ends its
    /// exchange, success pretends that all is well.
    pub fn stays(&mut self, packet_id: PacketId, sent: QoS, mark: u64, reason: ReasonCode) -> Option<Answer> {
        self.forget(packet_id);
        let packet_type = match sent {
            QoS::AtMostOnce => return None,
            QoS::AtLeastOnce => PacketType::Puback,
            QoS::ExactlyOnce => PacketType::Pubrec,
        };
        let answer = Answer::new(packet_type, packet_id, reason);
        if packet_type == PacketType::Pubrec && !reason.is_error() {
            self.under_way.insert(packet_id, Flight { mark, stage: Stage::Ours, story: None });
        } else {
            if self.settled.len() >= SETTLED {
                self.settled.pop_front();
            }
            self.settled.push_back((mark, answer));
        }
        match &mut self.turns {
            Some(turns) => turns[usize::from(packet_type == PacketType::Pubrec)].take_turn(answer),
            None => Some(answer),
        }
    }

    /// The receiver sends PUBACK, PUBREC or PUBCOMP.
    pub fn acknowledged(
        &mut self,
        packet_type: PacketType,
        packet_id: PacketId,
        reason: ReasonCode,
    ) -> Concluded {
        let pass = Concluded { fate: Fate::Pass, story: None };
        let Some(flight) = self.under_way.get_mut(&packet_id) else { return pass };
        let accepted = !reason.is_error();
        let (fate, ends) = match (flight.stage, packet_type) {
            (Stage::Passed(QoS::ExactlyOnce), PacketType::Pubrec) => (Fate::Pass, !accepted),
            (Stage::Passed(QoS::ExactlyOnce), PacketType::Pubcomp)
            | (Stage::Passed(QoS::AtLeastOnce), PacketType::Puback) => (Fate::Pass, true),
            // Said of a message that had this identifier before, and was repeated.
            (Stage::Passed(_), _) => return pass,
            (Stage::Lowered, PacketType::Puback) => {
                flight.stage = Stage::Ours;
                (Fate::Instead(Answer::new(PacketType::Pubrec, packet_id, reason)), !accepted)
            }
            (Stage::Lowered | Stage::Ours, _) => (Fate::Swallow, false),
        };
        let story = match fate {
            Fate::Swallow => None,
            _ => flight.story.take(),
        };
        self.kept -= story.as_ref().map_or(0, Story::len);
        if ends {
            self.forget(packet_id);
        }
        Concluded { fate, story: story.map(|story| (story, reason)) }
    }

    /// The answers whose turn has come behind the receiver's PUBACK or PUBREC, or behind one in its place.
    pub fn turns_behind(&mut self, packet_type: PacketType, packet_id: PacketId) -> Vec<Answer> {
        let turn = match packet_type {
            PacketType::Puback => 0,
            PacketType::Pubrec => 1,
            _ => return Vec::new(),
        };
        self.turns.as_mut().map_or_else(Vec::new, |turns| turns[turn].acknowledged(packet_id))
    }

    /// The sender sends PUBREL. The answer, if the message is ours; else it passes.
    pub fn released(&mut self, packet_id: PacketId) -> Option<Answer> {
        let flight = self.under_way.get(&packet_id)?;
        if matches!(flight.stage, Stage::Passed(_)) {
            return None;
        }
        self.forget(packet_id);
        Some(Answer::new(PacketType::Pubcomp, packet_id, ReasonCode::Success)) // [MQTT-4.3.3-11]
    }

    fn forget(&mut self, packet_id: PacketId) {
        let story = self.under_way.remove(&packet_id).and_then(|flight| flight.story);
        self.kept -= story.as_ref().map_or(0, Story::len);
    }
}

/// Acknowledgements of one kind in the order of their messages.
#[derive(Default)]
struct Turns(VecDeque<Turn>);

/// One of them.
#[derive(Clone, Copy)]
enum Turn {
    /// The receiver gives it.
    Receiver(PacketId),
    /// We give it, once the receiver has given those before.
    Ours(Answer),
}

impl Turns {
    /// The answer back if its turn is now.
    fn take_turn(&mut self, answer: Answer) -> Option<Answer> {
        if self.0.is_empty() {
            return Some(answer);
        }
        self.0.push_back(Turn::Ours(answer));
        None
    }

    fn waits(&self, packet_id: PacketId) -> bool {
        self.0.iter().any(|turn| matches!(turn, Turn::Ours(answer) if answer.packet_id == packet_id))
    }

    /// Those whose turn it is now.
    fn acknowledged(&mut self, packet_id: PacketId) -> Vec<Answer> {
        let of_it = |turn: &Turn| matches!(turn, Turn::Receiver(known) if *known == packet_id);
        if let Some(at) = self.0.iter().position(of_it) {
            self.0.remove(at);
        }
        let mut due = Vec::new();
        while let Some(Turn::Ours(answer)) = self.0.front() {
            due.push(*answer);
            self.0.pop_front();
        }
        due
    }
}

#[cfg(test)]
mod tests;
