//! A message stays unacknowledged until the program has let go of it.

use std::sync::{Arc, Mutex, PoisonError};

use mqway_codec::QoS;
use mqway_session::client::{AckToken, Incoming};
use tokio::sync::{mpsc, oneshot};

use crate::task::Control;

/// A message on its way to a stream.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub message: Incoming,
    /// Where there is an outbox, and the program does not acknowledge by itself.
    pub hold: Option<Arc<Hold>>,
}

/// Acknowledges a message when the last stream that it went to lets go of it.
#[derive(Debug)]
pub(crate) struct Hold {
    qos: QoS,
    token: Option<AckToken>,
    control: mpsc::UnboundedSender<Control>,
}

/// Where a stream gets its messages from.
#[derive(Clone, Debug)]
pub(crate) struct Sink {
    pub messages: mpsc::Sender<Arrived>,
    pub in_hand: InHand,
}

/// The message that a program got last from a stream, shared with the client's task.
#[derive(Clone, Debug, Default)]
pub(crate) struct InHand(Arc<Mutex<Option<Arc<Hold>>>>);

impl Hold {
    pub fn new(qos: QoS, token: AckToken, control: mpsc::UnboundedSender<Control>) -> Arc<Hold> {
        Arc::new(Hold { qos, token: Some(token), control })
    }

    /// Lets go of a message. If that is acknowledged now, and the acknowledgement is to be safe before the program goes
    /// on, says when it is: otherwise it would get all that waits in the stream once more after a crash.
    fn let_go(self: Arc<Self>) -> Option<oneshot::Receiver<()>> {
        let mut hold = Arc::into_inner(self)?;
        let token = hold.token.take()?;
        let (safe, wait) = match hold.qos {
            QoS::ExactlyOnce => Some(oneshot::channel()).unzip(),
            QoS::AtMostOnce | QoS::AtLeastOnce => (None, None),
        };
        // A client that has ended has nothing to acknowledge to.
        let _ = hold.control.send(Control::LetGo { token, safe });
        wait
    }

    /// The token, if no other stream has the message.
    fn into_token(self: Arc<Self>) -> Option<AckToken> {
        Arc::into_inner(self)?.token.take()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(token) = self.token.take() else { return };
        // A program that panics has not done with its messages.
        if !std::thread::panicking() {
            let _ = self.control.send(Control::LetGo { token, safe: None });
        }
    }
}

impl InHand {
    pub fn put(&self, hold: Option<Arc<Hold>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = hold;
    }

    /// The program asks for the next message, or for no more.
    pub fn let_go(&self) -> Option<oneshot::Receiver<()>> {
        self.take()?.let_go()
    }

    /// Takes the token of the message, if no other stream has it.
    pub fn take_token(&self) -> Option<AckToken> {
        self.take()?.into_token()
    }

    fn take(&self) -> Option<Arc<Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
