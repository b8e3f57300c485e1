"""Applications that publish rows over MQTT at QoS 1, and the city's subscriber that counts them.

`Dropping` and `Renewing` do what Frigate's client does (`frigate/comms/mqtt.py` of blakeblackshear/frigate), in our own
words: `publish` returns at once and forgets the message while the client is not connected, keep-alive is 60 s, the session
is clean, and rows are not retained. `Dropping` leaves reconnecting to the library, as that file does at commit dea03ea0;
`Renewing` throws the client away and makes another after ten seconds, as it does at 01056cf0. Frigate's default is QoS 0
(`frigate/config/mqtt.py`); QoS 1 is the better of what its users may set.
`Queueing` is what an application can have of the same library without dropping anything itself.

Every pause of theirs is divided by `speed`; the network's own time is not.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter, deque
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

HOST = "127.0.0.1"
KEEPALIVE_SECS = 60
#: The library's own pauses between attempts: from the first, doubled until the last.
RECONNECT_SECS = (1, 120)
#: `Renewing`: the pause before a new client is made, and how long that one has to connect.
RENEW_SECS = 10
RENEW_PATIENCE_SECS = 5

log = logging.getLogger("peers")


class Application:
    """Publishes rows; the base of the three kinds."""

    name = ""
    summary = ""

    def __init__(self, port: int, speed: float) -> None:
        self.port, self.speed = port, speed
        self.connected = threading.Event()
        #: It has noticed that the broker went away.
        self.has_noticed = threading.Event()
        self.dropped = 0
        self.produced = 0
        #: Of the present client: rows that it was given and that the broker had not confirmed when last looked, with the
        #: library's numbers for them, and the library's numbers of those confirmed since.
        self._given: deque[tuple[int, int]] = deque()
        self._confirmed: set[int] = set()
        self.client = self._connect()

    def publish(self, number: int, camera: int, row: dict[str, Any]) -> None:
        """Hands one row to the application."""
        self.produced += 1
        if not self._accepts():
            self.dropped += 1
            return
        info = self.client.publish(f"{self.name}/rows/{camera}", json.dumps(row), qos=1, retain=False)
        # What is published without a connection is kept by the library and sent later.
        if info.rc not in (mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_NO_CONN):
            raise RuntimeError(f"{self.name}: row {number} was refused: {mqtt.error_string(info.rc)}")
        self._given.append((number, info.mid))
        while self._given and self._given[0][1] in self._confirmed:
            self._confirmed.discard(self._given.popleft()[1])

    def unconfirmed(self) -> list[int]:
        """The numbers of the rows that the application handed over and the broker has not confirmed."""
        return [number for number, mid in list(self._given) if mid not in self._confirmed]

    def close(self) -> None:
        """Ends the connection."""
        self.client.disconnect()
        self.client.loop_stop()

    def _accepts(self) -> bool:
        return self.connected.is_set()

    def _connect(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.name)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        self._given, self._confirmed = deque(), set()
        confirmed = self._confirmed
        client.on_publish = lambda _client, _data, mid, *_: confirmed.add(mid)
        client.reconnect_delay_set(*(secs / self.speed for secs in RECONNECT_SECS))
        client.will_set(f"{self.name}/available", payload="offline", qos=1, retain=True)
        client.connect_async(HOST, self.port, scaled_keepalive(self.speed))
        client.loop_start()
        return client

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not reason.is_failure:
            self.connected.set()

    def _on_disconnect(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        log.info("%s: disconnected: %s", self.name, reason)
        self.connected.clear()
        self.has_noticed.set()


class Dropping(Application):
    """Forgets what it is given while it is not connected."""

    name = "dropping"
    summary = "drops while disconnected, as Frigate"


class Renewing(Application):
    """The same, and it makes a new client after a broken connection: what the old one had not confirmed goes with it."""

    name = "renewing"
    summary = "the same, a new client each time, as another version of Frigate"

    def __init__(self, port: int, speed: float) -> None:
        self._closing = threading.Event()
        self._renewal: threading.Thread | None = None
        super().__init__(port, speed)

    def close(self) -> None:
        """Ends the connection and the attempts to renew it."""
        self._closing.set()
        if self._renewal is not None:
            self._renewal.join()
        super().close()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        super()._on_disconnect(client, data, flags, reason, properties)
        # A disconnect of our own is no failure.
        if not reason.is_failure or (self._renewal is not None and self._renewal.is_alive()):
            return
        self._renewal = threading.Thread(target=self._renew, daemon=True)
        self._renewal.start()

    def _renew(self) -> None:
        while not self.connected.is_set():
            if self._closing.wait(RENEW_SECS / self.speed):
                return
            self.client.disconnect()
            self.client.loop_stop()
            self.client = self._connect()
            self.connected.wait(RENEW_PATIENCE_SECS / self.speed)


class Queueing(Application):
    """Gives everything to the library, which keeps it in memory without a limit while it is not connected."""

    name = "queueing"
    summary = "drops nothing; the library queues in memory"

    def _accepts(self) -> bool:
        return True


class Subscriber:
    """The city's side: a session that the broker keeps, at QoS 1, counting how often each row arrived."""

    def __init__(self, port: int, speed: float) -> None:
        self.connected = threading.Event()
        self.subscribed = threading.Event()
        self._lock = threading.Lock()
        self._arrived: dict[str, Counter[int]] = {}
        self._last_arrival = time.monotonic()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="city", clean_session=False)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: self.connected.clear()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self._on_message
        # Comes back at once, so that what is lost below is not lost here.
        self.client.reconnect_delay_set(0.2 / speed, 0.2 / speed)
        self.client.connect_async(HOST, port, scaled_keepalive(speed))
        self.client.loop_start()

    def arrived(self, name: str) -> Counter[int]:
        """How often each row of that application arrived, by its number."""
        with self._lock:
            return Counter(self._arrived.get(name, Counter()))

    def quiet_secs(self) -> float:
        """How long ago the last row came."""
        return time.monotonic() - self._last_arrival

    def close(self) -> None:
        """Ends the connection."""
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(self, client: mqtt.Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            return
        log.info("city: connected, session kept: %s", flags.session_present)
        self.connected.set()
        client.subscribe("+/rows/#", qos=1)

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        row = json.loads(message.payload)
        application = message.topic.split("/", 1)[0]
        with self._lock:
            self._arrived.setdefault(application, Counter())[row["seq"]] += 1
            self._last_arrival = time.monotonic()


def scaled_keepalive(speed: float) -> int:
    """The protocol counts whole seconds."""
    return max(1, round(KEEPALIVE_SECS / speed))
