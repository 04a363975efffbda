//! SUBSCRIBEs and UNSUBSCRIBEs of which the upstream has seen a part only, until it has answered.

use std::collections::VecDeque;

use mqway_codec::{PacketId, ReasonCode, ReasonCodes, ReasonCodesBuf};

/// Bytes that answers under way may take of one link.
const PENDING: usize = 1024 * 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe,
    Unsubscribe,
}

/// The answers that are awaited.
#[derive(Default)]
pub(crate) struct Merges {
    pending: VecDeque<Merge>,
    bytes: usize,
}

/// The answer to a request of which a part was decided here.
pub(crate) struct Merge {
    pub request: Request,
    pub packet_id: PacketId,
    /// One for each filter: what was decided here, or what the upstream has been asked.
    pub parts: Vec<Part>,
}

/// What becomes of one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It was refused.
    Refused(ReasonCode),
    /// The upstream decides; the filter, if observers are to be told.
    Asked(Option<Box<str>>),
}

impl Merge {
    fn bytes(&self) -> usize {
        let text = |part: &Part| match part {
            Part::Asked(Some(filter)) => filter.len(),
            _ => 0,
        };
        let parts = self.parts.len() * size_of::<Part>();
        parts + self.parts.iter().map(text).sum::<usize>() + size_of::<Merge>()
    }

    /// How many filters the upstream has been asked for.
    pub fn asked(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Asked(_))).count()
    }

    /// The codes for the client, in the order of its filters, from those of the upstream. [MQTT-3.9.3-1]
    /// `None` if these are not as many as there should be.
    pub fn codes(&self, theirs: ReasonCodes<'_>) -> Option<ReasonCodesBuf> {
        if theirs.count() != self.asked() {
            return None;
        }
        let mut theirs = theirs.iter();
        let code = |part: &Part| match part {
            Part::Refused(code) => Some(*code),
            Part::Asked(_) => theirs.next(),
        };
        self.parts.iter().map(code).collect::<Option<ReasonCodesBuf>>()
    }
}

impl Merges {
    /// Remembers a request that goes to the upstream. False if there is no room.
    pub fn push(&mut self, merge: Merge) -> bool {
        let bytes = merge.bytes();
        if self.bytes + bytes > PENDING {
            return false;
        }
        self.bytes += bytes;
        self.pending.push_back(merge);
        true
    }

    /// The request that an answer is for, if a part of it was decided here.
    pub fn take(&mut self, request: Request, packet_id: PacketId) -> Option<Merge> {
        let of_it = |merge: &Merge| merge.request == request && merge.packet_id == packet_id;
        let at = self.pending.iter().position(of_it)?;
        let merge = self.pending.remove(at)?;
        self.bytes -= merge.bytes();
        Some(merge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(parts: Vec<Part>) -> Merge {
        Merge { request: Request::Subscribe, packet_id: PacketId::new(1).unwrap(), parts }
    }

    #[test]
    fn codes_are_merged_in_the_order_of_the_filters() {
        let no = || Part::Refused(ReasonCode::NotAuthorized);
        let merge = merge(vec![no(), Part::Asked(None), no(), Part::Asked(None), no()]);
        let theirs = [ReasonCode::GrantedQos1, ReasonCode::QuotaExceeded];
        let merged = merge.codes(ReasonCodesBuf::from_iter(theirs).as_codes()).unwrap();
        let merged: Vec<_> = merged.as_codes().iter().map(ReasonCode::code).collect();
        assert_eq!(merged, [0x87, 1, 0x87, 0x97, 0x87]); // [MQTT-3.8.4-6]
        assert!(merge.codes(ReasonCodesBuf::from_iter([ReasonCode::Success]).as_codes()).is_none());
    }

    #[test]
    fn what_is_awaited_is_bounded() {
        let mut merges = Merges::default();
        let large = || merge(vec![Part::Asked(Some("x".repeat(60_000).into())); 10]);
        assert!(merges.push(large()));
        assert!(!merges.push(large()));
        assert!(merges.take(Request::Unsubscribe, PacketId::new(1).unwrap()).is_none());
        assert!(merges.take(Request::Subscribe, PacketId::new(1).unwrap()).is_some());
        assert!(merges.push(large()));
    }
}
