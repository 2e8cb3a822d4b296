# SPDX-License-Identifier: Apache-2.0
"""Who the devices are, and how every control interface makes sure of it: X.509, mutual TLS 1.3, authorization.

    errors            why a peer is refused
    names             nvo3://DOMAIN/ROLE/NAME
    certificate       from a certificate to an identity
    anchors           who issued what: authorities by name and key, chains
    revocation_lists  revocation lists, fail closed, for each authority by itself
    seen_lists        how far these had come, across restarts
    device            this device's own credentials, reloaded when they change
    signing           signatures with device keys, outside of TLS
    storage           files that hold keys
    server            a gRPC server for peers with identities: front, TLS, gate
    client            a gRPC channel to exactly one peer
    live_peers        what ends when an identity ends
    terms             what of this process's credentials ends, said in good time
    tls13             TLS 1.3 only
    front             limits before TLS
    gate              authenticate, authorize, limit; then parse
    authority         a small authority for labs

Import this package before `grpc`: see `tls13`.
"""

from __future__ import annotations

import contextlib

from nvo3sec.identity import tls13
from nvo3sec.identity.errors import CredentialsError

with contextlib.suppress(CredentialsError):  # raised again where credentials are made
    tls13.hold()
