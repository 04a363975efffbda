"""paho-mqtt, the floor: the same as the programs in src/bin, with the same arguments."""

import json
import resource
import sys
import threading
import time

import paho.mqtt.client as mqtt

TOPIC = "clients/messages"


def main():
    publishes = sys.argv[1] == "publish"
    port, qos, count, size = map(int, sys.argv[2:6])
    ready, done = threading.Event(), threading.Event()
    left = [count]
    room = threading.Semaphore(1000)

    def one_more(*_):
        room.release()
        left[0] -= 1
        if left[0] == 0:
            done.set()

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.max_inflight_messages_set(100)
    client.on_subscribe = lambda *_: ready.set()
    client.on_connect = lambda *_: ready.set() if publishes else client.subscribe(TOPIC, qos)
    if publishes:
        client.on_publish = one_more
    else:
        client.on_message = one_more
    client.connect("127.0.0.1", port)
    client.loop_start()
    ready.wait()
    print("ready", flush=True)
    cpu, started = time.process_time(), time.monotonic()
    if publishes:
        payload = b"x" * size
        for _ in range(count):
            room.acquire()
            client.publish(TOPIC, payload, qos)
    done.wait()
    cpu, seconds = time.process_time() - cpu, time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"messages": count, "cpu_seconds": cpu, "seconds": seconds, "peak_kib": peak}))
    client.disconnect()
    client.loop_stop()


main()
