"""Publishes changes of machines' states to an MQTT broker, on one's own computer or network."""

import ssl
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from oddsound.errors import NotConfiguredError, NotificationError
from oddsound.machines.notices import Notice

TIMEOUT_S = 10
PREFIX = "oddsound"


class MqttChannel:
    """A broker. The newest notice of each machine is retained, at least once (QoS 1).

    The topic is `<prefix>/<machine>/state`; in the machine's id, `+` and `#` become `_`, because a
    topic cannot contain them.

    url : mqtt://[user:password@]host[:port][/prefix], or mqtts:// for TLS
    """

    name = "mqtt"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._tls = parts.scheme == "mqtts"
        self._host = parts.hostname or ""
        self._port = parts.port or (8883 if self._tls else 1883)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._prefix = parts.path.strip("/") or PREFIX

    def send(self, notice: Notice) -> None:
        """Publish a notice as JSON. Raises NotificationError."""
        try:
            from paho.mqtt import MQTTException
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ModuleNotFoundError as error:
            raise NotConfiguredError(
                f"MQTT_URL needs the package {error.name}: pip install 'oddsound[mqtt]'"
            ) from None
        client = Client(CallbackAPIVersion.VERSION2)
        if self._user:
            client.username_pw_set(self._user, self._password)
        if self._tls:
            client.tls_set_context(ssl.create_default_context())
        machine = notice.machine.translate({ord("+"): "_", ord("#"): "_"})
        answered = threading.Event()
        refused: list[str] = []

        def on_connect(*answer: Any) -> None:
            _, _, _, reason, _ = answer
            refused.extend([str(reason)] if reason.is_failure else [])
            answered.set()

        client.on_connect = on_connect
        try:
            client.connect(self._host, self._port)
            client.loop_start()
            try:
                if not answered.wait(TIMEOUT_S) or refused:
                    raise OSError(refused[0] if refused else f"no answer within {TIMEOUT_S} s")
                topic = f"{self._prefix}/{machine}/state"
                sent = client.publish(topic, notice.model_dump_json(), qos=1, retain=True)
                sent.wait_for_publish(TIMEOUT_S)
                if not sent.is_published():
                    raise OSError(f"the broker confirmed nothing within {TIMEOUT_S} s")
            finally:
                client.disconnect()
                client.loop_stop()
        except (OSError, ValueError, RuntimeError, MQTTException) as error:
            raise NotificationError(f"MQTT_URL, {self._host}:{self._port}: {error}") from error
