# SPDX-License-Identifier: Apache-2.0
"""Digests: samples from the data plane, in lists, to the primary (P4Runtime specification 9.7).

A list is sent when it has `max_list_size` samples (1024 if that is 0, BMv2's buffer), or `max_timeout_ns` after its
first one if that is not 0. A sample that stands in the list already is not added again; with an `ack_timeout_ns`,
neither is one of a list that was sent and is neither acknowledged nor older than that. BMv2 rounds both times up to a
sweep of at least 100 ms.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from finsy.proto import p4r

from .bytestring import encode, width_bytes
from .hold import Hold
from .outbox import Send
from .schema import Digest
from .status import Code, P4Error, invalid, unimplemented

_DEFAULT_LIST_SIZE = 1024


class _List:
    """One digest: its configuration, the list under construction, the lists that wait for an acknowledgement."""

    def __init__(self, digest: Digest, send: Send) -> None:
        self._digest = digest
        self._send = send
        self._lock = threading.Lock()
        self._config: Any = None
        self._samples: dict[bytes, None] = {}
        # The oldest list first; and every sample that stands in one of them.
        self._unacknowledged: dict[int, tuple[float, tuple[bytes, ...]]] = {}
        self._waiting: set[bytes] = set()
        self._number = 1
        self._timer: threading.Timer | None = None

    def configure(self, update: int, entry: Any) -> None:
        with self._lock:
            if update == p4r.Update.INSERT:
                if self._config is not None:
                    raise P4Error(Code.ALREADY_EXISTS, f"digest {self._digest.name} is configured")
            elif update in (p4r.Update.MODIFY, p4r.Update.DELETE):
                if self._config is None:
                    raise P4Error(Code.NOT_FOUND, f"digest {self._digest.name} is not configured")
            else:
                raise invalid("the update type is not set, or unknown")
            config = entry.config
            if min(config.max_timeout_ns, config.max_list_size, config.ack_timeout_ns) < 0:
                raise invalid(f"digest {self._digest.name}: a time or size is negative")
            if update == p4r.Update.DELETE:
                self._forget()
                return
            self._config = p4r.DigestEntry()
            self._config.CopyFrom(entry)

    @property
    def is_configured(self) -> bool:
        with self._lock:
            return self._config is not None

    def read(self) -> Any:
        with self._lock:
            if self._config is None:
                raise P4Error(Code.NOT_FOUND, f"digest {self._digest.name} is not configured")
            return p4r.Entity(digest_entry=self._config)

    def _forget(self) -> None:
        self._config = None
        self._samples.clear()
        self._unacknowledged.clear()
        self._waiting.clear()
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        with self._lock:
            self._forget()

    def learn(self, sample: bytes) -> None:
        with self._lock:
            if self._config is None or sample in self._samples or self._is_unacknowledged(sample):
                return
            config = self._config.config
            self._samples[sample] = None
            if len(self._samples) >= (config.max_list_size or _DEFAULT_LIST_SIZE):
                self._flush()
            elif config.max_timeout_ns and self._timer is None:
                self._timer = threading.Timer(config.max_timeout_ns / 1e9, self._expire)
                self._timer.daemon = True
                self._timer.start()

    def _is_unacknowledged(self, sample: bytes) -> bool:
        if not self._unacknowledged:
            return False
        oldest = time.monotonic() - self._config.config.ack_timeout_ns / 1e9
        while self._unacknowledged:
            number, (sent, _) = next(iter(self._unacknowledged.items()))
            if sent > oldest:
                break
            self._release(number)
        return sample in self._waiting

    def _release(self, number: int) -> None:
        _, samples = self._unacknowledged.pop(number, (0.0, ()))
        self._waiting.difference_update(samples)

    def _expire(self) -> None:
        with self._lock:
            if self._samples and self._config is not None:
                self._flush()

    def _flush(self) -> None:
        self._stop_timer()
        message = p4r.StreamMessageResponse()
        message.digest.digest_id = self._digest.id
        message.digest.list_id = self._number
        message.digest.timestamp = time.monotonic_ns()
        for sample in self._samples:
            self._write(sample, message.digest.data.add())
        if self._config.config.ack_timeout_ns:
            self._unacknowledged[self._number] = (time.monotonic(), tuple(self._samples))
            self._waiting.update(self._samples)
        self._number += 1
        self._samples.clear()
        self._send(message)

    def _write(self, sample: bytes, data: Any) -> None:
        values: list[bytes] = []
        at = 0
        for bits in self._digest.widths:
            values.append(encode(sample[at : at + width_bytes(bits)]))
            at += width_bytes(bits)
        if self._digest.shape == "bitstring":
            data.bitstring = values[0]
            return
        members = data.struct.members if self._digest.shape == "struct" else data.tuple.members
        for value in values:
            members.add().bitstring = value

    def ack(self, number: int) -> None:
        with self._lock:
            self._release(number)


class Digests:
    """The digests of one pipeline. Thread-safe: samples come from a thread of the engine's."""

    def __init__(self, digests: Mapping[int, Digest], send: Send) -> None:
        self._by_id = {number: _List(digest, send) for number, digest in digests.items()}
        self._by_name = {digest.name: self._by_id[number] for number, digest in digests.items()}

    def _list(self, number: int) -> _List:
        if number not in self._by_id:
            raise P4Error(Code.NOT_FOUND, f"there is no digest {number:#010x}")
        return self._by_id[number]

    def held(self) -> str | None:
        """See `Pipeline.held`."""
        found = next((name for name, digest in self._by_name.items() if digest.is_configured), None)
        return None if found is None else f"the configuration of digest {found}"

    def learn(self, name: str, sample: bytes) -> None:
        """A sample from the engine: fields one behind the other, each in whole bytes."""
        found = self._by_name.get(name)
        if found is not None:
            found.learn(sample)

    def write(self, update: int, entry: Any) -> None:
        """A p4.v1.DigestEntry of a Write."""
        self._list(entry.digest_id).configure(update, entry)

    def read(self, entry: Any, hold: Hold) -> Iterator[Any]:
        """A p4.v1.DigestEntry of a Read."""
        if not entry.digest_id:
            raise unimplemented("digests are read one by one")
        with hold():
            found = self._list(entry.digest_id).read()
        yield found

    def ack(self, ack: Any) -> None:
        """A p4.v1.DigestListAck; unknown lists are nobody's."""
        found = self._by_id.get(ack.digest_id)
        if found is not None:
            found.ack(ack.list_id)

    def close(self) -> None:
        """The pipeline is gone: nothing is sent any more."""
        for item in self._by_id.values():
            item.close()
