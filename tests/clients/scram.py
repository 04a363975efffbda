"""Authenticates by SCRAM-SHA-256 (RFC 7677) over MQTT 5.0 with nothing but Python's own library, and tells what came of it.

    scram.py PORT CLIENT_ID USER PASSWORD [USER PASSWORD]...

The first pair goes into CONNECT, each further one into a re-authentication. A line of JSON for each: the packet that ended
it, its reason code, and whether the server has proven that it knows the password, too. paho has no AUTH packet.
"""

import base64
import hashlib
import hmac
import json
import os
import socket
import sys

METHOD, DATA = 0x15, 0x16
CONNECT, CONNACK, DISCONNECT, AUTH = 0x10, 0x20, 0xE0, 0xF0
SUCCESS, CONTINUE, RE_AUTHENTICATE = 0x00, 0x18, 0x19
NAMES = {CONNACK: "connack", DISCONNECT: "disconnect", AUTH: "auth", None: "closed"}


def string(raw):
    return len(raw).to_bytes(2, "big") + raw


def variable(value):
    out = b""
    while True:
        value, low = divmod(value, 128)
        out += bytes([low | (128 if value else 0)])
        if not value:
            return out


def properties(data):
    both = bytes([METHOD]) + string(b"SCRAM-SHA-256") + bytes([DATA]) + string(data)
    return variable(len(both)) + both


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")

    def send(self, first, body):
        self.socket.sendall(bytes([first]) + variable(len(body)) + body)

    def read_variable(self, file):
        value = shift = 0
        while True:
            byte = file.read(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def read(self):
        """Type, reason and authentication data of the next packet; all None at the end."""
        first = self.file.read(1)
        if not first:
            return None, None, None
        body = self.file.read(self.read_variable(self.file))
        at = 1 if first[0] == CONNACK else 0
        return first[0], body[at] if len(body) > at else 0, self.data(body[at + 1 :])

    @staticmethod
    def data(rest):
        """The authentication data among properties, of which SCRAM's are all that are looked through."""
        at = rest.find(b"SCRAM-SHA-256")
        if at < 0:
            return None
        rest = rest[at + len("SCRAM-SHA-256") :]
        if rest[:1] != bytes([DATA]):
            return None
        return rest[3 : 3 + int.from_bytes(rest[1:3], "big")]


def mac(key, text):
    return hmac.digest(key, text, hashlib.sha256)


def authenticate(connection, first_packet, user, password):
    nonce = base64.b64encode(os.urandom(18)).decode()
    bare = f"n={user},r={nonce}"
    connection.send(*first_packet(f"n,,{bare}".encode()))
    kind, reason, challenge = connection.read()
    if kind != AUTH or reason != CONTINUE:
        return {"is": NAMES[kind], "reason": reason, "proven": False}
    fields = dict(field.split("=", 1) for field in challenge.decode().split(","))
    assert fields["r"].startswith(nonce) and fields["r"] != nonce
    salted = hashlib.pbkdf2_hmac(
        "sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"])
    )
    client_key = mac(salted, b"Client Key")
    without_proof = f"c=biws,r={fields['r']}"
    signed = f"{bare},{challenge.decode()},{without_proof}".encode()
    signature = mac(hashlib.sha256(client_key).digest(), signed)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature))).decode()
    connection.send(AUTH, bytes([CONTINUE]) + properties(f"{without_proof},p={proof}".encode()))
    kind, reason, last = connection.read()
    expected = b"v=" + base64.b64encode(mac(mac(salted, b"Server Key"), signed))
    return {"is": NAMES[kind], "reason": reason, "proven": last == expected}


def main(port, client_id, *pairs):
    connection = Connection(int(port))
    client_id = string(client_id.encode())
    connect = lambda data: (
        CONNECT,
        string(b"MQTT") + bytes([5, 2, 0, 60]) + properties(data) + client_id,
    )
    again = lambda data: (AUTH, bytes([RE_AUTHENTICATE]) + properties(data))
    packets = [connect] + [again] * len(pairs)
    for packet, user, password in zip(packets, pairs[::2], pairs[1::2]):
        print(json.dumps(authenticate(connection, packet, user, password)), flush=True)


main(*sys.argv[1:])
