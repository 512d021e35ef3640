"""Notices over MQTT, taken by a small broker that speaks MQTT 3.1.1."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from oddsound.errors import NotificationError
from oddsound.machines.mqtt import MqttChannel
from oddsound.machines.notices import Notice
from tests.machines.conftest import MONDAY


class Broker(threading.Thread):
    """Accepts one client at a time, and keeps what it publishes with QoS 1."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.answer = 0
        self.connected: list[bytes] = []
        self.published: list[tuple[str, bytes, bool]] = []

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client, suppress(EOFError):
                    while self._packet(client):
                        pass

    def _packet(self, client: socket.socket) -> bool:
        head = self._read(client, 1)[0]
        length, shift = 0, 0
        while True:
            byte = self._read(client, 1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        body = self._read(client, length)
        if head >> 4 == 1:  # CONNECT
            self.connected.append(body)
            client.sendall(b"\x20\x02\x00" + bytes([self.answer]))
        elif head >> 4 == 3:  # PUBLISH
            (size,) = struct.unpack("!H", body[:2])
            topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
            assert head & 0b110 == 0b010, "QoS 1"
            self.published.append((topic, rest[2:], bool(head & 1)))
            client.sendall(b"\x40\x02" + rest[:2])
        return head >> 4 != 14  # DISCONNECT

    @staticmethod
    def _read(client: socket.socket, length: int) -> bytes:
        data = b""
        while len(data) < length:
            if not (part := client.recv(length - len(data))):
                raise EOFError
            data += part
        return data


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = Broker()
    made.start()
    yield made
    made.listener.close()


def notice(machine: str) -> Notice:
    event: Any = {"machine": machine, "number": 1, "before": "normal", "state": "active"}
    event |= {"cause": "anomalies", "at": MONDAY, "stored_at": MONDAY}
    return Notice(id=f"{machine}#1", machine=machine, name="", site="", event=event, link=None)


def test_the_newest_notice_of_a_machine_is_retained(broker: Broker) -> None:
    channel = MqttChannel(f"mqtt://ada:se%20cret@127.0.0.1:{broker.port}/plant/")
    channel.send(notice("hall-3/pump+07"))
    ((topic, body, retained),) = broker.published
    assert (topic, retained) == ("plant/hall-3/pump_07/state", True)
    assert json.loads(body)["event"]["state"] == "active"
    assert broker.connected[0].endswith(b"\x00\x03ada\x00\x07se cret")


def test_a_broker_that_is_not_there_is_named() -> None:
    with pytest.raises(NotificationError, match=r"MQTT_URL, 127\.0\.0\.1:9: .*refused"):
        MqttChannel("mqtt://127.0.0.1:9").send(notice("a"))


def test_a_broker_that_refuses_the_password_is_named(broker: Broker) -> None:
    broker.answer = 5
    with pytest.raises(NotificationError, match="Not authorized"):
        MqttChannel(f"mqtt://127.0.0.1:{broker.port}").send(notice("a"))
