//! Acknowledgements leave in the order in which the messages came, whatever the order in which the program gives them.

use alloc::collections::VecDeque;

use mqway_codec::{PacketId, QoS, ReasonCode};

/// PUBACKs and PUBRECs that are owed on the present connection, each kind in order of arrival. [MQTT-4.6.0-2],
/// [MQTT-4.6.0-3]
///
/// There are no more of them than the Receive Maximum allows messages under way: each identifier has one.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pubacks: VecDeque<Debt>,
    pubrecs: VecDeque<Debt>,
}

#[derive(Debug)]
struct Debt {
    id: PacketId,
    /// `None`: the program has not said yet.
    answer: Option<ReasonCode>,
}

impl Owed {
    /// A message has come. `answer` is there where nobody has to be asked.
    pub fn add(&mut self, qos: QoS, id: PacketId, answer: Option<ReasonCode>) {
        let Some(debts) = self.of(qos) else { return };
        if !debts.iter().any(|debt| debt.id == id) {
            debts.push_back(Debt { id, answer });
        }
    }

    /// The program has acknowledged a message.
    pub fn decide(&mut self, qos: QoS, id: PacketId) {
        let Some(debts) = self.of(qos) else { return };
        if let Some(debt) = debts.iter_mut().find(|debt| debt.id == id) {
            debt.answer = Some(ReasonCode::Success);
        }
    }

    /// The next acknowledgement that has no undecided one before it.
    pub fn next(&mut self) -> Option<(QoS, PacketId, ReasonCode)> {
        for (qos, debts) in [(QoS::AtLeastOnce, &mut self.pubacks), (QoS::ExactlyOnce, &mut self.pubrecs)] {
            if let Some(Debt { id, answer: Some(answer) }) = debts.front() {
                let next = (qos, *id, *answer);
                debts.pop_front();
                return Some(next);
            }
        }
        None
    }

    /// The server has released a message of QoS 2 although it was owed a PUBREC.
    pub fn forget(&mut self, id: PacketId) {
        self.pubrecs.retain(|debt| debt.id != id);
    }

    /// The connection is another one, or the session.
    pub fn clear(&mut self) {
        self.pubacks.clear();
        self.pubrecs.clear();
    }

    fn of(&mut self, qos: QoS) -> Option<&mut VecDeque<Debt>> {
        match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => Some(&mut self.pubacks),
            QoS::ExactlyOnce => Some(&mut self.pubrecs),
        }
    }
}
