# SPDX-License-Identifier: Apache-2.0
"""Who the devices are, and how every control interface makes sure of it: X.509, mutual TLS 1.3, authorization.

    errors          why a peer is refused
    names           nvo3://DOMAIN/ROLE/NAME
    certificate     from a certificate to an identity
    anchors         who issued what: authorities by name and key, chains
    revocation      revocation lists, fail closed, for each authority by itself
    device          this device's own credentials, reloaded when they change
    authority, ledger, requests, storage    a small authority for labs
    server          a gRPC server for peers with identities: front, TLS, gate
    client          a gRPC channel to exactly one peer
    front, connection, admission, crowd, turns, known, client_hello, splice  limits before TLS
    gate, authenticate, authorization, limits   authenticate, authorize, limit; then parse
    live            what ends when an identity ends
    terms           what of this process's credentials ends, said in good time
    tls13           TLS 1.3 only

Import this package before `grpc`: see `tls13`.
"""

import contextlib

from nvo3sec.identity import tls13
from nvo3sec.identity.errors import CredentialsError

with contextlib.suppress(CredentialsError):  # raised again where credentials are made
    tls13.hold()
