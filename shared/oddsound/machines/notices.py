"""Tells others about changes of state: each change once to each channel.

A change is stored in the machine's record together with the state, in `pending`. Whoever stores it
then stores the event and sends it, and removes it from the record. If that fails, or the process
ends, the next recording or the next check of the machine does it: no change is lost. It is sent
twice only if a process ends between sending it and removing it.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol
from urllib.parse import quote

from pydantic import Field

from oddsound.errors import AudioAnomalyError
from oddsound.fields import Schema
from oddsound.history.store import HistoryStore
from oddsound.machines.records import MachineRecord, Pending, StateEvent, Status

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
"""After this time, whoever was sending has ended. Longer than the timeouts of all channels."""


class Notice(Schema):
    """What a channel sends about a change of state."""

    kind: Literal["state-change"] = "state-change"
    id: str
    machine: str
    name: str
    site: str
    event: StateEvent
    link: str | None = Field(description="to see the machine, and to listen to the recording")


class Channel(Protocol):
    """A way to tell others. name : by which the record knows that a notice was sent to it."""

    name: str

    def send(self, notice: Notice) -> None:
        """Send a notice. Raises AudioAnomalyError if it was not taken; it is sent again then."""


class Notifier:
    """Sends what is pending. Safe to share between threads and processes.

    base_url : of the service, for links to the machine's page; None for no links
    """

    def __init__(
        self,
        store: HistoryStore,
        channels: Sequence[Channel],
        base_url: str | None,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._channels = channels
        self._base_url = base_url
        self._now = now

    def deliver(self, record: MachineRecord) -> None:
        """Store and send the pending events of a machine, unless another process does so."""
        while record.status.pending:
            until = record.status.sending_until
            if until is not None and self._now() < until:
                return
            claimed = _with(record, sending_until=self._now() + LEASE)
            if self._store.change_machine(claimed):
                record = self._stored(claimed.machine.id)
                sent = [self._sent(record, pending) for pending in record.status.pending]
                record, complete = self._remove(record, sent)
                if not complete:
                    return
            else:
                record = self._stored(record.machine.id)

    def _stored(self, machine_id: str) -> MachineRecord:
        record = self._store.machine(machine_id)
        if record is None:
            raise LookupError(machine_id)
        return record

    def _sent(self, record: MachineRecord, pending: Pending) -> Pending:
        """The pending event after an attempt to send it to the channels that lack it."""
        event, sent_to = pending.event, list(pending.sent_to)
        self._store.add_event(event)
        for channel in self._channels if event.announced else ():
            if channel.name not in sent_to:
                try:
                    channel.send(self._notice(record, event))
                    sent_to.append(channel.name)
                except AudioAnomalyError as error:
                    logger.error(
                        "%s: its change to %s was not sent by %s and will be sent later: %s",
                        *(event.machine, event.state, channel.name, error),
                    )
        return Pending(event=event, sent_to=sent_to)

    def _remove(self, record: MachineRecord, sent: list[Pending]) -> tuple[MachineRecord, bool]:
        """Remove what was sent everywhere. Returns the new record, and whether that was all."""
        names = {channel.name for channel in self._channels}
        left = {
            pending.event.number: pending
            for pending in sent
            if pending.event.announced and not names <= set(pending.sent_to)
        }
        numbers = {pending.event.number for pending in sent}
        while True:
            kept = [
                left.get(pending.event.number, pending)
                for pending in record.status.pending
                if pending.event.number in left or pending.event.number not in numbers
            ]
            if self._store.change_machine(_with(record, pending=kept, sending_until=None)):
                return self._stored(record.machine.id), not left
            record = self._stored(record.machine.id)

    def _notice(self, record: MachineRecord, event: StateEvent) -> Notice:
        machine = record.machine
        page = f"{self._base_url.rstrip('/')}/ui/machine" if self._base_url else None
        query = f"id={quote(machine.id)}" + (f"&row={event.row}" if event.row else "")
        return Notice(
            id=f"{machine.id}#{event.number}",
            machine=machine.id,
            name=machine.name,
            site=machine.site,
            event=event,
            link=page and f"{page}?{query}",
        )


def _with(record: MachineRecord, **changes: object) -> MachineRecord:
    status: Status = record.status.model_copy(update=changes)
    return record.model_copy(update={"status": status})
