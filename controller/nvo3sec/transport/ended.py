# SPDX-License-Identifier: Apache-2.0
"""What is said of a call whose connection has ended: to agents and to operators in the same words."""

from __future__ import annotations

from nvo3sec.identity.client import PeerChannel
from nvo3sec.identity.errors import STOPPING


def why_it_ended(channel: PeerChannel, text: str) -> str:
    """The peer, how far the connection had got, and who ended it. text: what gRPC says, in one line.

    What gRPC has to say of a connection that ended is that it ended; why and by whom is known to the channel. A server
    that stops has said so before its connections end.
    """
    why = channel.last_error
    if why is None or STOPPING in text:
        return f"{channel.expected}: session: {text}"
    return f"{channel.told(why)} ({text})"
