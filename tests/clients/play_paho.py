"""Plays scenarios with paho-mqtt: one JSON object a line on stdin, one answer a line on stdout.

A scenario names a server; the answer is the transcript of all that the clients saw there, so that the
same scenario played directly and through a proxy can be compared. `play_mqttjs.js` plays the same ones.
It ends when stdin ends.
"""

import base64
import concurrent.futures
import hashlib
import json
import os
import queue
import socket
import ssl
import sys
import threading
import urllib.parse

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}


def plain(properties):
    """The properties as a dictionary of JSON values."""
    values = {} if properties is None else properties.json()
    if 0 < 3600 - values.get("MessageExpiryInterval", 3600) < 60:
        values["MessageExpiryInterval"] = 3600  # the server counts the seconds that it kept it
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in values.items()
    }


class Client:
    """A paho client whose callbacks become a queue of events that can be waited for."""

    def __init__(self, scenario, name, will=None):
        self.seconds = scenario["seconds"]
        self.v5 = scenario["version"] == "5.0"
        self.events = queue.Queue()
        url = urllib.parse.urlsplit(scenario["url"])
        transport = {"ws": "websockets", "wss": "websockets", "unix": "unix"}.get(url.scheme, "tcp")
        options = {} if self.v5 else {"clean_session": True}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=f"{name}{scenario['id']}",
            protocol=VERSIONS[scenario["version"]],
            transport=transport,
            reconnect_on_failure=False,
            **options,
        )
        if transport == "websockets":
            self.paho.ws_set_options(path=url.path)
        if url.scheme in ("tls", "mqtts", "wss"):
            self.paho.tls_set(ca_certs=scenario["cafile"], tls_version=ssl.PROTOCOL_TLS_CLIENT)
        if will is not None:
            self.paho.will_set(*will, properties=self.properties(PacketTypes.WILLMESSAGE))
        self.paho.on_connect = lambda c, u, flags, code, properties: self.put(
            "connack", [flags.session_present, code.value, plain(properties)]
        )
        self.paho.on_subscribe = lambda c, u, mid, codes, properties: self.put(
            "suback", [[code.value for code in codes], plain(properties)]
        )
        self.paho.on_unsubscribe = lambda c, u, mid, codes, properties: self.put(
            "unsuback", [[code.value for code in codes], plain(properties)]
        )
        self.paho.on_publish = lambda c, u, mid, code, properties: self.put(
            "published", [code.value if self.v5 else 0, plain(properties)]
        )
        self.paho.on_message = lambda c, u, message: self.put("message", self.seen(message))
        if transport == "unix":
            self.paho.connect(url.path, 1883, 60)
        else:
            self.paho.connect(url.hostname, url.port, 60)
        self.paho.loop_start()

    def put(self, kind, what):
        self.events.put((kind, what))

    def seen(self, message):
        return {
            "topic": message.topic,
            "qos": message.qos,
            "retain": bool(message.retain),
            "dup": bool(message.dup),
            "length": len(message.payload),
            "sha256": hashlib.sha256(message.payload).hexdigest(),
            "properties": plain(message.properties) if self.v5 else {},
        }

    def properties(self, packet_type):
        if not self.v5:
            return None
        properties = Properties(packet_type)
        properties.UserProperty = [("a", "1"), ("b", "2"), ("a", "\u00e4\U0001f680")]
        properties.ContentType = "text/plain"
        properties.PayloadFormatIndicator = 1
        properties.ResponseTopic = "answers/here"
        properties.CorrelationData = b"\x00\xff\x01"
        properties.MessageExpiryInterval = 3600
        return properties

    def wait(self, kind):
        """The next event of a kind; anything else that comes first is a failure."""
        try:
            came, what = self.events.get(timeout=self.seconds)
        except queue.Empty:
            raise TimeoutError(f"no {kind} within {self.seconds} s") from None
        if came != kind:
            raise RuntimeError(f"{came} {what} where {kind} was due")
        return [kind, what]

    def publish(self, topic, payload, qos, retain=False):
        self.paho.publish(topic, payload, qos, retain, self.properties(PacketTypes.PUBLISH))
        return self.wait("published")

    def subscribe(self, topic_filter, qos):
        self.paho.subscribe(topic_filter, qos)
        return self.wait("suback")

    def cut(self):
        """Closes the socket without DISCONNECT."""
        with socket.socket(fileno=os.dup(self.paho.socket().fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
        self.paho.loop_stop()

    def end(self):
        self.paho.disconnect()
        self.paho.loop_stop()


def payload_of(length):
    """A payload without a short period, so that lost or repeated pieces show."""
    block = b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(length // 32 + 1))
    return block[:length]


def play(scenario):
    prefix = scenario["prefix"]
    log = []
    clients = []

    def client(name, will=None):
        clients.append(Client(scenario, name, will))
        log.append(clients[-1].wait("connack"))
        return clients[-1]

    try:
        subscriber = client("s")
        log.append(subscriber.subscribe(prefix + "/#", 2))
        publisher = client("p", will=(prefix + "/will", "gone", 1, False))
        for qos in scenario["qos"]:
            log.append(publisher.publish(f"{prefix}/qos{qos}", f"hello {qos}", qos))
            log.append(subscriber.wait("message"))
            log.append(publisher.publish(f"{prefix}/empty{qos}", b"", qos))
            log.append(subscriber.wait("message"))
        log.append(publisher.publish(prefix + "/kept", "kept", 1, retain=True))
        log.append(subscriber.wait("message"))
        late = client("l")
        log.append(late.subscribe(prefix + "/kept", 1))
        log.append(late.wait("message"))
        late.paho.unsubscribe(prefix + "/kept")
        log.append(late.wait("unsuback"))
        late.end()
        log.append(publisher.publish(prefix + "/kept", b"", 1, retain=True))
        log.append(subscriber.wait("message"))
        for qos in scenario["large_qos"]:
            log.append(publisher.publish(f"{prefix}/large{qos}", payload_of(scenario["large"]), qos))
            log.append(subscriber.wait("message"))
        publisher.cut()
        log.append(subscriber.wait("message"))
        subscriber.end()
        return {"id": scenario["id"], "log": log}
    except Exception as error:  # whatever went wrong is the answer
        return {"id": scenario["id"], "log": log, "error": f"{type(error).__name__}: {error}"}
    finally:
        for one in clients:
            one.paho.loop_stop()


def main():
    output = threading.Lock()

    def answer(line):
        text = json.dumps(play(json.loads(line)))
        with output:
            print(text, flush=True)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for line in sys.stdin:
            pool.submit(answer, line)


main()
