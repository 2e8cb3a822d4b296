# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of interfaces, and that nothing is missed of it."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from engine_network import can_make_veth, ip, own_network
from p4softswitch.server.links import Link, Links
from p4softswitch.server.netlink import ERROR, Message, message, messages
from p4softswitch.server.portwatch import PortWatch

PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(not can_make_veth(), reason="network interfaces cannot be made here")


@pytest.fixture
def links() -> Iterator[Links]:
    with own_network(), contextlib.closing(Links()) as links:
        yield links


def add(name: str, peer: str) -> None:
    ip("link", "add", name, "type", "veth", "peer", "name", peer)


class TestFind:
    def test_states(self, links: Links) -> None:
        """Switched off; on without a carrier, as the other end is off; with one, at once."""
        add("one", "two")
        index = socket.if_nametoindex("one")
        assert links.find("one") == Link(index, up=False, carrier=False)
        ip("link", "set", "one", "up")
        assert links.find("one") == Link(index, up=True, carrier=False)
        ip("link", "set", "two", "up")
        assert links.find("one") == Link(index, up=True, carrier=True)

    @pytest.mark.parametrize("name", ["none", "", "a-name-longer-than-15", "ä" * 8, "x\x00", "a/b"])
    def test_there_is_none(self, links: Links, name: str) -> None:
        assert links.find(name) is None

    def test_the_longest_name(self, links: Links) -> None:
        add("x" * 15, "two")
        assert links.find("x" * 15) is not None


class TestChanges:
    def test_each_is_noticed(self, links: Links) -> None:
        for change in (["add", "one", "type", "veth", "peer", "name", "two"], ["set", "one", "up"], ["delete", "one"]):
            links.drain()
            assert not select.select([links], [], [], 0)[0]
            ip("link", *change)
            assert select.select([links], [], [], PATIENCE_S)[0]

    def test_more_at_once_than_there_is_room_for(self, links: Links) -> None:
        """What the kernel could not queue is no error, and the next change is noticed."""
        add("one", "two")
        ip("link", "set", "one", "up")
        links._events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for number in range(50):
            ip("link", "set", "one", "alias", f"{number}" * 100)
        with pytest.raises(OSError, match="No buffer space"):
            links._events.recv(1 << 16)
        for number in range(50):
            ip("link", "set", "one", "alias", f"{number}" * 100)
        links.drain()
        ip("link", "delete", "one")
        assert select.select([links], [], [], PATIENCE_S)[0]


class TestWatch:
    def test_a_look_that_fails_does_not_end_it(self, links: Links) -> None:
        looks = threading.Semaphore(0)

        def look() -> None:
            looks.release()
            raise RuntimeError

        watch = PortWatch(lambda: links, look)
        watch.start()
        try:
            for _ in range(2):
                assert looks.acquire(timeout=PATIENCE_S)
            add("one", "two")
            assert looks.acquire(timeout=PATIENCE_S)
        finally:
            watch.stop()
        watch.stop()

    def test_it_ends_without_having_begun(self) -> None:
        PortWatch(lambda: None, lambda: None).stop()


class TestMessages:
    def test_one_behind_the_other(self) -> None:
        """Each begins at a multiple of four bytes."""
        sent = [message(16, 0, 1, b"odd"), message(ERROR, 0, 2, b"\xed\xff\xff\xff")]
        found = list(messages(sent[0] + bytes(1) + sent[1]))
        assert found == [Message(16, 1, 0, b"odd"), Message(ERROR, 2, 0, b"\xed\xff\xff\xff")]
        assert found[1].error == 19

    @pytest.mark.parametrize("length", [0, 1, 15])
    def test_a_length_that_leads_nowhere_ends_it(self, length: int) -> None:
        damaged = struct.pack("=I", length) + message(16, 0, 1, b"")[4:]
        assert list(messages(damaged * 2)) == []
