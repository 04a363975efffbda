//! Messages larger than we take: reported, acknowledged, and never kept.

use core::time::Duration;

use mqway_codec::{DecodeError, Fault as DecodeFault, Header};

use super::{Client, Fault};

impl Client {
    /// Deals with what the decoder refused at the start of `bytes`. If it is a message that is only too large, it is
    /// reported and skipped, since a server that sent it would send it again on each connection. False: more bytes are
    /// needed for that.
    pub(super) fn too_large(
        &mut self,
        now: Duration,
        bytes: &[u8],
        error: DecodeError,
    ) -> Result<bool, Fault> {
        let fault = Fault::Decode(error);
        let maximum = self.options.maximum_packet;
        let Some(live) = self.live.as_mut().filter(|live| live.accepted) else {
            return Err(fault);
        };
        if !matches!(error.fault(), DecodeFault::PacketTooLarge { .. }) {
            return Err(fault);
        }
        let Ok(Some(header)) = Header::peek(bytes) else {
            return Err(fault);
        };
        match live.decoder.publish_start(&header, bytes) {
            Ok(Some(publish)) => {
                live.skip = header.packet_len();
                self.incoming(now, &publish, Some(header.packet_len()))?;
                Ok(true)
            }
            // What stands before the payload must fit; it would have to be kept.
            Ok(None) if bytes.len() < maximum => Ok(false),
            Ok(None) => Err(fault),
            Err(error) => Err(Fault::Decode(error)),
        }
    }
}
