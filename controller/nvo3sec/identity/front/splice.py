# SPDX-License-Identifier: Apache-2.0
"""Two transports joined: what comes in on one goes out on the other, no faster than that takes it."""

from __future__ import annotations

import asyncio
from typing import cast

FLUSH_S = 5.0
"""How long a connection that is being closed may take to read what is left for it."""

WRITE_HIGH_BYTES = 256 << 10
"""What waits for a slow reader before the other side is no longer read."""

EARLY_BYTES = 64 << 10
"""What one half may say before the other stands; a hello and the preface of HTTP/2 are much shorter."""


class Side(asyncio.Protocol):
    """One half of a forwarded connection: what comes in goes out through `other`, no faster than that takes it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None
        self._pauses: set[str] = set()
        self._early = bytearray()
        self._flushing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._flushing is not None:
            self._flushing.cancel()

    def pause(self, why: str) -> None:
        """Read nothing until `why` has ended."""
        self._pauses.add(why)
        if self.transport is not None:
            self.transport.pause_reading()

    def resume(self, why: str) -> None:
        """`why` has ended; what else there is has not."""
        self._pauses.discard(why)
        if not self._pauses and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def keep(self, data: bytes) -> bool:
        """Keep what came in before `other` could take it; whether that is still no more than EARLY_BYTES.

        Bytes come although reading was paused: a transport of TLS hands over what it has deciphered already, and that
        of a socket, if it was paused in `connection_made`, reads on in CPython before 3.11.4 (gh-103607).
        """
        self._early += data
        if self._pauses and self.transport is not None and not self.transport.is_closing():
            # A transport that reads on believes that it is paused: to say it once more would do nothing.
            self.transport.resume_reading()
            self.transport.pause_reading()
        return len(self._early) <= EARLY_BYTES

    def kept(self) -> bytes:
        """What was kept, in its order, once."""
        early, self._early = bytes(self._early), bytearray()
        return early

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause("writing")

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.resume("writing")

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Close once everything has been read, or after a while."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_S, self.transport.abort)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
