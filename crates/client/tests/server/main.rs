//! The client against a server that the test plays over a real socket, and that does what no server should.
//!
//! Where each rule of sessions across a reconnect is proven: of the client as a whole, of its session without I/O
//! (`crates/session/tests/client.rs`), and of two sessions face to face (`crates/session/tests/face_to_face.rs`,
//! `crates/session/tests/pair.rs`), where both properties of random schedules prove all of them again.
//!
//! | rule | client | session |
//! |---|---|---|
//! | a receiver of QoS 2 hands on once what comes again after PUBREC | `sessions::a_receiver_of_qos_2_…` | `a_receiver_of_qos_2_that_lost_its_connection_…` |
//! | PUBREL that comes again is answered, and ends nothing | `sessions::a_pubrel_that_is_repeated_…` | `a_pubrel_that_is_repeated_…` |
//! | a sender of QoS 1 repeats with DUP, the same identifiers, in order | `sessions::a_sender_of_qos_1_…` | `a_sender_of_qos_1_…` |
//! | a sender whose session is lost resends, fails or drops, and tells | `sessions::what_becomes_of_messages_…` | `a_sender_whose_session_is_lost_…` |
//! | a sender of QoS 2 after PUBREC repeats PUBREL, never PUBLISH | `sessions::a_sender_of_qos_2_after_pubrec_…` | `a_sender_of_qos_2_after_pubrec_…` |
//! | identifiers of the two directions are two spaces | `sessions::identifiers_of_the_two_directions_…` | `identifiers_of_the_two_directions_…` |

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod limits;
mod misuse;
mod peer;
mod rules;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod waits;
