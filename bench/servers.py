"""Servers that the measurements run against: each a process of its own on free ports, pinned, and ended at the end.

    with servers.mosquitto() as broker:
        connect_to(broker.port)
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RUMQTTD_VERSION = "0.20.0"

# What is measured and what it talks to do not share a core, where there are two.
CORES = sorted(os.sched_getaffinity(0))
FIRST, LAST = {CORES[0]}, {CORES[-1]}

# No queue of theirs drops a message, and none waits for a fuller packet.
MOSQUITTO = """listener {0} 127.0.0.1
listener {1} 127.0.0.1
protocol websockets
allow_anonymous true
set_tcp_nodelay true
log_type error
max_queued_messages 0
max_inflight_messages 0
"""
RUMQTTD_ROUTER = """id = 0
[router]
id = 0
max_connections = 100000
max_outgoing_packet_count = 100000
max_segment_size = 1048576
max_segment_count = 8
"""
RUMQTTD_LISTENER = """[{name}.1]
name = "{name}"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 0
[{name}.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 65535
dynamic_filters = true
"""


class Server(NamedTuple):
    """A running server: its process, and its ports for TCP, for WebSocket, and for TCP with MQTT 5.0."""

    pid: int
    port: int
    ws_port: int
    v5_port: int


def pinned(cores):
    """Keeps a process that subprocess is to start, and all of its threads, on these cores."""
    return {"preexec_fn": lambda: os.sched_setaffinity(0, cores)}


def cargo(*arguments):
    subprocess.run(["cargo", *arguments], cwd=ROOT, check=True)


def mqway_binary():
    """MQWAY of the environment, or what is built for release."""
    if given := os.environ.get("MQWAY"):
        return given
    cargo("build", "--quiet", "--release", "--package", "mqway")
    return TARGET / "release/mqway"


def rumqttd_binary():
    """RUMQTTD of the environment, or the published crate, which is built once and outside of the workspace."""
    if given := os.environ.get("RUMQTTD"):
        return given
    tools = ROOT / "target/tools"
    if not (tools / "bin/rumqttd").exists():
        cargo("install", "--quiet", "--locked", "--root", tools, "--target-dir", tools / "build",
              "--version", RUMQTTD_VERSION, "rumqttd")
    return tools / "bin/rumqttd"


def mosquitto():
    ports = free_ports(2)
    return running(["mosquitto", "-c", "{file}"], ports, MOSQUITTO.format(*ports))


def rumqttd(binary):
    """Speaks 3.1.1 only over WebSocket, and needs a listener for each version over TCP."""
    ports = free_ports(3)
    listeners = [RUMQTTD_LISTENER.format(name=name, port=port) for name, port in zip(("v4", "ws", "v5"), ports)]
    return running([binary, "--quiet", "--config", "{file}"], ports, RUMQTTD_ROUTER + "".join(listeners), ".toml")


def mqway(binary, workers, settings="", rules=""):
    """With these settings, in which {rules} is the path of a file with these rules, if there are any."""
    ports = free_ports(2)
    listeners = ["--listen", f"tcp://127.0.0.1:{ports[0]}", "--listen", f"ws://127.0.0.1:{ports[1]}/mqtt"]
    command = [binary, "broker", "--memory", "--log", "warn", "--workers", str(workers), *listeners]
    configured = ["--config", "{file}"] if settings else []
    return running([*command, *configured], ports, settings, ".toml", rules)


def relay(mqload):
    """The bytes of publisher i go to subscriber i, unseen: what the system calls alone cost."""
    ports = free_ports(1)
    return running([mqload, "relay", "--host", "127.0.0.1", "--port", str(ports[0])], ports)


@contextlib.contextmanager
def running(command, ports, configuration="", suffix=".conf", rules=""):
    """Runs the command, with the path of its configuration for `{file}`, from when it accepts on all of its ports. In the
    configuration, the path of a file with these rules stands for `{rules}`."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        file = pathlib.Path(folder) / f"server{suffix}"
        if rules:
            # What is in TOML is called so.
            path = pathlib.Path(folder) / ("rules.toml" if rules.startswith("[[") else "rules")
            path.write_text(rules)
            configuration = configuration.replace("{rules}", str(path))
        file.write_text(configuration)
        # A server that is started as root may go on as a user of its own.
        os.chmod(folder, 0o755)
        # Debian keeps servers in /usr/sbin, which is not on everybody's path.
        path = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
        command = [str(file) if word == "{file}" else str(word) for word in command]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "PATH": path}, **pinned(FIRST))
        try:
            if not all(accepts(process, port) for port in ports):
                log.seek(0)
                sys.exit(f"{command[0]} does not accept connections: {log.read().decode(errors='replace')}")
            yield Server(process.pid, ports[0], ports[1 % len(ports)], ports[-1] if len(ports) > 2 else ports[0])
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def accepts(process, port):
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return True
        except OSError:
            time.sleep(0.01)
    return False


def free_ports(count):
    with contextlib.ExitStack() as listeners:
        sockets = [listeners.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
