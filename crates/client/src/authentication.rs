//! Enhanced authentication (5.0 §4.12): the method is the program's, the packets are ours.

use std::fmt;
use std::sync::Arc;

/// A method of enhanced authentication, such as SCRAM or Kerberos.
///
/// ```
/// use mqway_client::{Authentication, Endpoint, Exchange};
///
/// /// Answers each challenge with itself, backwards.
/// struct Backwards;
///
/// impl Authentication for Backwards {
///     fn method(&self) -> &str {
///         "X-BACKWARDS"
///     }
///
///     fn begin(&self) -> Box<dyn Exchange> {
///         Box::new(Backwards)
///     }
/// }
///
/// impl Exchange for Backwards {
///     fn first(&mut self) -> Vec<u8> {
///         b"hello".to_vec()
///     }
///
///     fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
///         Ok(challenge.iter().rev().copied().collect())
///     }
/// }
///
/// let endpoint = Endpoint::new("mqtts://broker.example.com").authentication(Backwards);
/// # assert_eq!(Backwards.answer(b"abc").unwrap(), b"cba");
/// ```
pub trait Authentication: Send + Sync {
    /// Its name, as the server knows it.
    fn method(&self) -> &str;

    /// Begins an exchange: one for each connection, and one each time it is authenticated again.
    fn begin(&self) -> Box<dyn Exchange>;
}

/// One exchange of an [`Authentication`]. It is called on the client's task, and so should not wait for anything.
///
/// ```
/// use mqway_client::Exchange;
///
/// /// Answers every question with the same word.
/// struct Word(Vec<u8>);
///
/// impl Exchange for Word {
///     fn first(&mut self) -> Vec<u8> {
///         Vec::new()
///     }
///
///     fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String> {
///         if challenge == b"word?" { Ok(self.0.clone()) } else { Err("an unknown question".to_owned()) }
///     }
/// }
///
/// assert_eq!(Word(b"please".to_vec()).answer(b"word?"), Ok(b"please".to_vec()));
/// assert_eq!(Word(Vec::new()).finish(b""), Ok(()));
/// ```
pub trait Exchange: Send {
    /// The data that CONNECT, or the first AUTH of a re-authentication, carries.
    fn first(&mut self) -> Vec<u8>;

    /// The answer to what the server asks.
    ///
    /// # Errors
    /// In words, if the server cannot be who it should be. The connection ends.
    fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, String>;

    /// What the server says last, when it is content: where a method lets the server prove itself, here is the proof.
    ///
    /// # Errors
    /// In words, if the server cannot be who it should be. The connection ends.
    fn finish(&mut self, last: &[u8]) -> Result<(), String> {
        let _ = last;
        Ok(())
    }
}

/// A method that can be cloned, and says no more of itself than its name.
#[derive(Clone)]
pub(crate) struct Method(pub Arc<dyn Authentication>);

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Method").field(&self.0.method()).finish()
    }
}
