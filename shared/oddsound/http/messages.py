"""What `workers.py` and `worker.py` say to each other: one byte each."""

CONNECTION, PING = b"c", b"p"
"""To a process that serves. The descriptor of a connection comes with the first one."""

READY, CLOSED, LEAVING, ALIVE = b"r", b"c", b"l", b"a"
"""From it: it can take connections, one of them has ended, it takes no more, and the answer to
PING."""
