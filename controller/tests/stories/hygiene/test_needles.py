# SPDX-License-Identifier: Apache-2.0
"""The search finds what was planted, in every form that it claims to know, and nothing else."""

from __future__ import annotations

import base64
import json
import os
import sqlite3

import pytest
from needles import Needle, Search, forms

SECRET = bytes.fromhex("00f1e2d3c4b5a6978879605142332415")
SEARCH = Search([Needle("the key", SECRET), Needle("another", os.urandom(32))])

PLANTED = {
    "raw": SECRET,
    "raw, backwards": SECRET[::-1],
    "hexadecimal": SECRET.hex().encode(),
    "upper case": SECRET.hex().upper().encode(),
    "colons": SECRET.hex(":").encode(),
    "dashes in upper case": SECRET.hex("-").upper().encode(),
    "words of four bytes": SECRET.hex(" ", 4).encode(),
    "0x": ", ".join(f"0x{byte:02x}" for byte in SECRET).encode(),
    "one number": hex(int.from_bytes(SECRET, "big")).encode(),
    "decimal": str(int.from_bytes(SECRET, "big")).encode(),
    "decimal, other order": str(int.from_bytes(SECRET, "little")).encode(),
    "list": json.dumps(list(SECRET)).encode(),
    "repr": repr(SECRET).encode(),
    "repr of a dictionary": repr({"key": SECRET}).encode(),
    "JSON": json.dumps(SECRET.decode("latin-1")).encode(),
    "first half": b"..." + SECRET[:8].hex().encode() + b"...",
    "last half": SECRET[-8:].hex().encode(),
    "URL-safe": base64.urlsafe_b64encode(SECRET),
}


@pytest.mark.parametrize("how", PLANTED)
def test_it_is_found_in_the_middle_of_other_things(how):
    assert SEARCH.in_one(os.urandom(5000) + PLANTED[how] + os.urandom(5000)) == {"the key"}
    assert SEARCH.in_one(b"level=debug key=" + PLANTED[how] + b" spi=1") == {"the key"}


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("behind", range(4))
def test_it_is_found_within_what_is_encoded_as_a_whole(before, behind):
    around = os.urandom(before), os.urandom(behind)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert SEARCH.in_one(encode(around[0] + SECRET + around[1])) == {"the key"}


def test_it_is_found_in_a_database_and_in_its_log(tmp_path):
    path = tmp_path / "planted.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE planted (value BLOB)")
    database.execute("INSERT INTO planted VALUES (?)", (SECRET,))
    database.commit()
    found = SEARCH.through({one.name: one.read_bytes() for one in tmp_path.iterdir()})
    database.close()
    assert "planted.sqlite-wal: the key" in found


def test_nothing_is_found_where_nothing_is():
    assert SEARCH.in_one(os.urandom(300_000)) == set()
    assert SEARCH.in_one(os.urandom(100_000).hex().encode()) == set()
    assert SEARCH.in_one(base64.b64encode(os.urandom(100_000))) == set()


def test_a_needle_does_not_show_itself():
    assert SECRET.hex() not in repr(Needle("the key", SECRET))
    assert str(SECRET) not in repr(Needle("the key", SECRET))
    assert all(form for form in forms(SECRET))
