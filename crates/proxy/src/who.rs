//! What is kept of a client while there are no hooks, for those that may come: packed, since every connection has it.

use mqway_codec::{Connack, Connect};

use crate::LARGEST_PACKET;

/// Who a client is, and what it and its upstream have agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Who {
    pub client_id: String,
    pub user_name: Option<String>,
    /// The client takes reason strings and the like.
    pub explains: bool,
    pub client: Terms,
    pub upstream: Terms,
}

/// What one side takes from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Bytes of the largest packet.
    pub packet: usize,
    /// The highest topic alias.
    pub aliases: u16,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { packet: LARGEST_PACKET, aliases: 0 }
    }
}

/// A [`Who`], packed.
#[derive(Debug)]
pub(crate) struct Packed(Box<[u8]>);

// What is there of it.
const EXPLAINS: u8 = 1;
const USER_NAME: u8 = 2;
const CLIENT_TERMS: u8 = 4;
const UPSTREAM_TERMS: u8 = 8;

impl Who {
    /// Who connects.
    pub fn of(connect: &Connect<'_>) -> Who {
        let properties = &connect.properties;
        Who {
            client_id: connect.client_id.to_owned(),
            user_name: connect.user_name.map(str::to_owned),
            explains: properties.request_problem_information() != Some(false),
            client: Terms {
                packet: properties.maximum_packet_size().map_or(LARGEST_PACKET, |size| size.get() as usize),
                aliases: properties.topic_alias_maximum().unwrap_or(0),
            },
            upstream: Terms::default(),
        }
    }

    /// What the upstream's CONNACK adds. Whether that is anything.
    fn learn(&mut self, connack: &Connack<'_>) -> bool {
        let properties = &connack.properties;
        let assigned = properties.assigned_client_identifier();
        if let Some(assigned) = assigned {
            self.client_id = assigned.to_owned();
        }
        self.upstream = Terms {
            packet: properties.maximum_packet_size().map_or(LARGEST_PACKET, |size| size.get() as usize),
            aliases: properties.topic_alias_maximum().unwrap_or(0),
        };
        assigned.is_some() || self.upstream != Terms::default()
    }

    pub fn pack(&self) -> Packed {
        let terms = [(CLIENT_TERMS, self.client), (UPSTREAM_TERMS, self.upstream)];
        let others = terms.into_iter().filter(|(_, terms)| *terms != Terms::default());
        let mut flags = if self.explains { EXPLAINS } else { 0 };
        flags |= if self.user_name.is_some() { USER_NAME } else { 0 };
        flags |= others.clone().fold(0, |flags, (flag, _)| flags | flag);
        let mut bytes = vec![flags];
        for (_, terms) in others {
            bytes.extend(u32::try_from(terms.packet).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend(terms.aliases.to_le_bytes());
        }
        let length = u16::try_from(self.client_id.len()).unwrap_or(u16::MAX);
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.client_id.as_bytes());
        bytes.extend(self.user_name.as_deref().unwrap_or_default().as_bytes());
        Packed(bytes.into_boxed_slice())
    }
}

impl Packed {
    pub fn unpack(&self) -> Who {
        // What is packed here is whole.
        unpack(&self.0).unwrap_or_default()
    }

    /// What the upstream's CONNACK adds.
    pub fn learn(&mut self, connack: &Connack<'_>) {
        let mut who = self.unpack();
        if who.learn(connack) {
            *self = who.pack();
        }
    }
}

fn unpack(bytes: &[u8]) -> Option<Who> {
    let (flags, mut rest) = bytes.split_first()?;
    let mut terms = |flag: u8| {
        if flags & flag == 0 {
            return Some(Terms::default());
        }
        let (packet, behind) = rest.split_first_chunk()?;
        let (aliases, behind) = behind.split_first_chunk()?;
        rest = behind;
        let packet = usize::try_from(u32::from_le_bytes(*packet)).ok()?;
        Some(Terms { packet, aliases: u16::from_le_bytes(*aliases) })
    };
    let (client, upstream) = (terms(CLIENT_TERMS)?, terms(UPSTREAM_TERMS)?);
    let (length, rest) = rest.split_first_chunk()?;
    let (client_id, user_name) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    let text = |bytes: &[u8]| str::from_utf8(bytes).ok().map(str::to_owned);
    Some(Who {
        client_id: text(client_id)?,
        user_name: if flags & USER_NAME != 0 { Some(text(user_name)?) } else { None },
        explains: flags & EXPLAINS != 0,
        client,
        upstream,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_found_again() {
        let terms = Terms { packet: 1_000, aliases: 10 };
        for client_id in ["", "device", &"x".repeat(65_535)] {
            for user_name in [None, Some(String::new()), Some("ann".to_owned())] {
                for (client, upstream) in
                    [(Terms::default(), Terms::default()), (terms, Terms::default()), (terms, terms)]
                {
                    let (client_id, user_name) = (client_id.to_owned(), user_name.clone());
                    let who = Who { client_id, user_name, explains: true, client, upstream };
                    assert_eq!(who.pack().unpack(), who);
                }
            }
        }
    }

    #[test]
    fn most_take_little() {
        let who = Who { client_id: "device".to_owned(), explains: true, ..Who::default() };
        assert_eq!(who.pack().0.len(), 9);
    }
}
