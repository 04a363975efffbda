//! MQTT over WebSocket (5.0 §6): what the other scenarios, played over it, do not show.

use crate::fields::code_of;
use crate::stage::everywhere;
use crate::support::packets::{self, PINGREQ, PINGRESP, V3_1_1};
use crate::support::websocket::{
    self, BINARY, CONTINUATION, MQTT, PING, PONG, TEXT, WebSocket, binary, frame,
};
use crate::support::{address, dial_tcp};

#[test]
fn packets_need_not_be_aligned_with_frames() {
    everywhere(|stage| {
        let Some(url) = stage.websocket_url() else { return };
        let mut ws = WebSocket::connect(address(url));
        let connect = packets::connect(V3_1_1, &stage.id("ws"));
        // Two frames with a ping between, and the rest in the same message as another packet and half of a third.
        ws.send(&frame(BINARY, &connect[..5]));
        ws.send(&frame(0x80 | PING, b"hello"));
        ws.send(&frame(CONTINUATION, b""));
        ws.send(&frame(0x80 | CONTINUATION, &[&connect[5..], &PINGREQ, &PINGREQ[..1]].concat()));
        let pong = ws.frame().unwrap();
        assert_eq!((pong.opcode, &*pong.payload), (PONG, &b"hello"[..]));
        assert_eq!(code_of(&ws.packet()), 0); // [MQTT-6.0.0-2]; 3.1.1: [MQTT-6.0.0-2]
        assert_eq!(ws.packet(), PINGRESP);
        ws.send(&binary(b""));
        ws.send(&binary(&PINGREQ[1..]));
        assert_eq!(ws.packet(), PINGRESP);
        ws.send(&binary(&packets::DISCONNECT));
        ws.expect_closed(1000);
    });
}

#[test]
fn text_ends_the_connection() {
    everywhere(|stage| {
        let Some(url) = stage.websocket_url() else { return };
        let mut ws = WebSocket::connect(address(url));
        ws.send(&binary(&packets::connect(V3_1_1, &stage.id("ws"))));
        assert_eq!(code_of(&ws.packet()), 0);
        ws.send(&frame(0x80 | TEXT, &PINGREQ));
        ws.expect_closed(1003); // [MQTT-6.0.0-1]; 3.1.1: [MQTT-6.0.0-1]
    });
}

#[test]
fn the_subprotocol_is_answered() {
    everywhere(|stage| {
        let Some(url) = stage.websocket_url() else { return };
        for offered in ["mqtt", "mqtt, other", "other, mqtt"] {
            let mut stream = dial_tcp(address(url));
            let request = websocket::request("/mqtt", &format!("Sec-WebSocket-Protocol: {offered}\r\n"));
            let response = websocket::exchange(&mut stream, &request);
            assert_eq!(response.status, 101);
            assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("mqtt")); // [MQTT-6.0.0-4]
        }
        let mut stream = dial_tcp(address(url));
        let other = websocket::request("/mqtt", "Sec-WebSocket-Protocol: amqp\r\n");
        assert_eq!(websocket::exchange(&mut stream, &other).status, 400);
        let mut stream = dial_tcp(address(url));
        assert_eq!(websocket::exchange(&mut stream, &websocket::request("/elsewhere", MQTT)).status, 404);
    });
}
