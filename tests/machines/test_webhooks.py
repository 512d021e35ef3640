"""Changes of machines' states, sent to a webhook."""

import base64
import hmac
import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from oddsound.errors import NotificationError
from oddsound.history.store import HistoryStore
from oddsound.machines.ledger import Ledger
from oddsound.machines.notices import Notice
from oddsound.machines.records import Machine
from oddsound.machines.webhooks import WebhookChannel
from tests.machines.hearing import MONDAY, PUMP, Clock, hear

pytestmark = pytest.mark.slow


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[Any, bytes]], list[int]]]:
    """A webhook's receiver: its URL, what it got, and the statuses that it answers with."""
    got: list[tuple[Any, bytes]] = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.headers, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(statuses.pop(0) if statuses else 204)
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got, statuses
    server.shutdown()
    server.server_close()


def test_a_webhook_gets_a_signed_body(
    receiver: tuple[str, list[tuple[Any, bytes]], list[int]], store: HistoryStore, clock: Clock
) -> None:
    url, got, statuses = receiver
    key = b"a key of 24 bytes, or so"
    secret = f"whsec_{base64.b64encode(key).decode()}"
    ledger = Ledger(store, [WebhookChannel(url, secret, clock)], None, clock)
    ledger.register(Machine(id=PUMP, model_name="fan"))
    statuses += [500, 302]
    hear(ledger, clock, "AA")
    ledger.check()
    ledger.check()
    assert len(got) == 3  # an error and a redirect are failures
    headers, body = got[-1]
    notice = json.loads(body)
    assert (notice["id"], notice["event"]["state"]) == (f"{PUMP}#1", "active")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["content-type"] == "application/json"
    assert len({headers["webhook-id"] for headers, _ in got}) == 1


def test_a_webhook_that_is_not_there_is_named() -> None:
    channel = WebhookChannel("http://127.0.0.1:9/hook", "secret", Clock())
    event: Any = {"machine": "a", "number": 1, "before": "normal", "state": "active"}
    event |= {"cause": "anomalies", "at": MONDAY, "stored_at": MONDAY}
    notice = Notice(id="a#1", machine="a", name="", site="", event=event, link=None)
    with pytest.raises(NotificationError, match=r"WEBHOOK_URL did not take the notice: .*refused"):
        channel.send(notice)
