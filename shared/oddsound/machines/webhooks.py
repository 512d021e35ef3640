"""Posts changes of machines' states to a URL, signed as in the specification Standard Webhooks."""

import base64
import hmac
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from oddsound.errors import NotificationError
from oddsound.machines.notices import Notice

TIMEOUT_S = 10
PREFIX = "whsec_"


class WebhookChannel:
    """A URL that takes a POST of a notice as JSON.

    The header `webhook-signature` is `v1,` and the base64 of the HMAC-SHA256 of
    `<webhook-id>.<webhook-timestamp>.<body>`. A receiver compares it, refuses old timestamps, and
    ignores an id that it knows.

    secret : the key as text, or as `whsec_` and base64
    """

    name = "webhook"

    def __init__(self, url: str, secret: str, now: Callable[[], datetime]) -> None:
        self._url = url
        self._key = key_of(secret)
        self._now = now

    def send(self, notice: Notice) -> None:
        """Post a notice. Raises NotificationError unless the answer's status is 2xx."""
        body = notice.model_dump_json().encode()
        timestamp = str(int(self._now().timestamp()))
        identity = base64.urlsafe_b64encode(notice.id.encode()).decode().rstrip("=")
        headers = {
            "content-type": "application/json",
            "user-agent": "oddsound",
            "webhook-id": identity,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(self._key, identity, timestamp, body),
        }
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310  settings allow http and https only
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            with error:
                reason = f"HTTP {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        raise NotificationError(f"WEBHOOK_URL did not take the notice: {reason}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is a failure: it would turn the POST into a GET without a body."""

    def redirect_request(self, *_: object) -> None:
        return None


def key_of(secret: str) -> bytes:
    """The key for signatures. Raises ValueError if what follows `whsec_` is not base64."""
    if secret.startswith(PREFIX):
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    return secret.encode()


def signature(key: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """The header `webhook-signature`."""
    signed = b".".join((identity.encode(), timestamp.encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, sha256)).decode()}"
