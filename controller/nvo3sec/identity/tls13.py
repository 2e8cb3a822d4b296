# SPDX-License-Identifier: Apache-2.0
"""Holding gRPC to TLS 1.3.

grpcio has no setting for the lowest version and negotiates TLS 1.2 with a peer that wants it. What it does have is
the list of cipher suites up to TLS 1.2, in an environment variable that its core reads once, when it is imported. With
a list that holds only suites for pre-shared keys, of which there are none, no handshake below TLS 1.3 can succeed, on
either side; the suites of TLS 1.3 are not in that list and not affected.

This is one of three layers, and the one that depends on the order of imports: the front refuses a ClientHello that
does not offer TLS 1.3, and every call is refused unless its connection says that it is one of TLS 1.3.
"""

from __future__ import annotations

import os
import sys

from nvo3sec.identity.errors import CredentialsError

VARIABLE = "GRPC_SSL_CIPHER_SUITES"
NO_SUITE_BELOW_TLS13 = "ECDHE-PSK-AES256-CBC-SHA"


def hold() -> bool:
    """Set the variable, if gRPC can still read it; returns whether gRPC has it.

    Called when `nvo3sec.identity` is imported. Raises CredentialsError if the variable is set to something else: who
    wrote that wanted something.
    """
    found = os.environ.get(VARIABLE)
    if found is None:
        if "grpc" in sys.modules:
            return False
        os.environ[VARIABLE] = found = NO_SUITE_BELOW_TLS13
    if found != NO_SUITE_BELOW_TLS13:
        raise CredentialsError(
            f"{VARIABLE} is set in the environment; this process allows TLS 1.3 only and sets it itself: unset it"
        )
    return True
