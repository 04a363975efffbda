//! Cores to test the engine with.

use std::sync::mpsc::Sender;

use mqway_engine::{ConnId, Core, Io, Origin, Why};
use mqway_transport::websocket::CloseCode;

/// Sends back what comes, pausing a reader that is too slow; tells what happens.
pub struct Echo {
    pub events: Option<Sender<String>>,
    /// Hand every connection over to this worker as soon as it is opened.
    pub hand_over_to: Option<usize>,
}

impl Echo {
    pub fn quiet() -> Echo {
        Echo { events: None, hand_over_to: None }
    }

    fn tell(&self, event: String) {
        if let Some(events) = &self.events {
            events.send(event).ok();
        }
    }
}

impl Core for Echo {
    type Mail = String;

    fn opened(&mut self, io: &mut Io<String>, conn: ConnId, _: Origin) {
        if let Some(worker) = self.hand_over_to.filter(|worker| *worker != io.worker()) {
            io.hand_over(conn, worker, format!("from {}", io.worker()));
        }
    }

    fn data(&mut self, io: &mut Io<String>, conn: ConnId, bytes: &mut [u8]) -> usize {
        io.send(conn, bytes);
        bytes.len()
    }

    fn ended(&mut self, io: &mut Io<String>, conn: ConnId) {
        io.finish(conn, CloseCode::NORMAL);
    }

    fn closed(&mut self, _: &mut Io<String>, _: ConnId, why: &Why) {
        self.tell(format!("{why}"));
    }

    fn blocked(&mut self, io: &mut Io<String>, conn: ConnId) {
        self.tell("blocked".to_owned());
        io.pause(conn);
    }

    fn unblocked(&mut self, io: &mut Io<String>, conn: ConnId) {
        self.tell("unblocked".to_owned());
        io.resume(conn);
    }

    fn arrived(&mut self, io: &mut Io<String>, _: ConnId, mail: String) {
        self.tell(format!("arrived at {} {mail}", io.worker()));
    }

    fn mail(&mut self, io: &mut Io<String>, mail: String) {
        self.tell(format!("mail at {}: {mail}", io.worker()));
    }
}
