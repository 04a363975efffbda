//! What the fuzz targets check. Each crate keeps its checks beside its tests, which replay the corpus with them.

#[path = "../../crates/access/tests/checks/mod.rs"]
pub mod access;

#[path = "../../crates/broker/tests/checks/mod.rs"]
pub mod broker;

#[path = "../../crates/codec/tests/checks/mod.rs"]
pub mod codec;

#[path = "../../crates/routing/tests/checks/mod.rs"]
pub mod routing;

#[path = "../../crates/transport/tests/checks/mod.rs"]
pub mod transport;

#[path = "../../crates/transport/tests/websocket_checks/mod.rs"]
pub mod websocket;
