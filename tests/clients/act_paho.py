"""Acts with paho-mqtt as it is told: one command a line on stdin, one event a line on stdout.

`act.js` understands the same commands. It ends when stdin ends.
"""

import json
import os
import socket
import sys
import threading
import urllib.parse

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}

clients = {}
mouth = threading.Lock()


def say(kind, name, **what):
    with mouth:
        print(json.dumps({"is": kind, "name": name, **what}), flush=True)


def connect(name, url, version, clean, will=None, **_):
    v5 = version == "5.0"
    url = urllib.parse.urlsplit(url)
    options = {} if v5 else {"clean_session": clean}
    client = clients[name] = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=VERSIONS[version],
        transport="websockets" if url.scheme == "ws" else "tcp",
        reconnect_on_failure=False,
        **options,
    )
    if url.scheme == "ws":
        client.ws_set_options(path=url.path)
    if will is not None:
        client.will_set(will["topic"], will["payload"], will["qos"], will["retain"])
    client.on_connect = lambda c, u, flags, code, properties: say(
        "connected", name, present=flags.session_present
    )
    client.on_disconnect = lambda c, u, flags, code, properties: say(
        "disconnected" if flags.is_disconnect_packet_from_server else "closed", name, reason=code.value
    )
    client.on_subscribe = lambda c, u, mid, codes, properties: say(
        "subscribed", name, qos=codes[0].value
    )
    client.on_unsubscribe = lambda c, u, mid, codes, properties: say("unsubscribed", name)
    client.on_publish = lambda c, u, mid, code, properties: say("published", name, error=None)
    client.on_message = lambda c, u, message: say(
        "message",
        name,
        topic=message.topic,
        payload=message.payload.decode(),
        qos=message.qos,
        retain=bool(message.retain),
    )
    properties = None
    if v5 and not clean:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
    start = {"clean_start": clean, "properties": properties} if v5 else {}
    client.connect(url.hostname, url.port, 60, **start)
    client.loop_start()


def subscribe(name, filter, qos, **_):
    clients[name].subscribe(filter, qos)


def unsubscribe(name, filter, **_):
    clients[name].unsubscribe(filter)


def publish(name, topic, payload, qos, retain=False, **_):
    clients[name].publish(topic, payload, qos, retain)


def cut(name, **_):
    """Without DISCONNECT, so that its will is published."""
    wrapped = clients[name].socket()
    getattr(wrapped, "_socket", wrapped).shutdown(socket.SHUT_RDWR)


def end(name, **_):
    clients[name].disconnect()
    clients[name].loop_stop()
    say("ended", name)


ACTS = {
    "connect": connect,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "publish": publish,
    "cut": cut,
    "end": end,
}

for line in sys.stdin:
    command = json.loads(line)
    try:
        ACTS[command["act"]](**command)
    except Exception as error:  # whatever it is, the test shall see it
        say("error", command.get("name"), what=repr(error))
os._exit(0)
