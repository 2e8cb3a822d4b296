# SPDX-License-Identifier: Apache-2.0
"""What an agent says of a session that has ended."""

from __future__ import annotations

from types import SimpleNamespace

import grpc
import pytest
from nvo3sec.transport.session_client import FAILED_WRITE, RemoteSession


@pytest.fixture
def session() -> RemoteSession:
    """One that knows with whom it is, and nothing of why its connection ended."""
    made = object.__new__(RemoteSession)
    made._peer = SimpleNamespace(expected="nva/nva1", last_error=None)
    return made


def test_a_write_that_failed_is_said_in_words(session):
    error = session._end_of_stream(grpc.StatusCode.INTERNAL, FAILED_WRITE)
    assert (
        str(error) == "nva/nva1: session: the NVA has ended it, and why is not known: something was being written to it"
    )


def test_what_the_nva_has_said_is_told_as_it_is(session):
    assert str(session._end_of_stream(grpc.StatusCode.INTERNAL, "no room")) == "nva/nva1: session: no room"
