# SPDX-License-Identifier: Apache-2.0
"""A client of TLS 1.2 that has got past the front, and what becomes of its call. Prints JSON.

Arguments: `held` or `free` (whether gRPC is told to do without TLS 1.2), client, server, anchors, revocation list.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import tempfile
from pathlib import Path

if sys.argv[1] == "free":
    import grpc  # before the package that would tell it

from nvo3sec.identity import tls13  # isort: skip

import grpc  # isort: skip

from identity_world import DOMAIN, ECHO, Served, Service, table, tls_context
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.device import Device, DeviceFiles
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.identity.revocation_lists import RevocationFile
from nvo3sec.identity.server import SecureServer


async def main() -> None:
    """Serve, connect, call."""
    client, server, anchors, revoked = (Path(argument) for argument in sys.argv[2:])
    device = Device(DeviceFiles(server, server, anchors), DOMAIN, Purpose.SERVER)
    secure = SecureServer(device, LivePeers(RevocationFile(revoked, device.anchors)), table(), Served())
    secure.grpc.add_generic_rpc_handlers([Service()])
    await secure.start("127.0.0.1", 0)
    context = tls_context(DeviceFiles(client, client, anchors), anchors, ssl.TLSVersion.TLSv1_2)
    versions: list[str] = []

    async def tunnel(local_reader: asyncio.StreamReader, local_writer: asyncio.StreamWriter) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(
                str(secure.front.backend), ssl=context, server_hostname="nva1.nva.lab.example"
            )
        except (ssl.SSLError, ConnectionError):
            local_writer.close()
            return
        versions.append(str(writer.get_extra_info("ssl_object").version()))

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(local_reader, writer), copy(reader, local_writer))

    with tempfile.TemporaryDirectory() as directory:
        await asyncio.start_unix_server(tunnel, f"{directory}/tunnel")
        async with grpc.aio.insecure_channel(f"unix:{directory}/tunnel") as channel:
            try:
                await channel.unary_unary(ECHO)(b"{}", timeout=60)
                code, details = "OK", ""
            except grpc.aio.AioRpcError as error:
                code, details = error.code().name, error.details() or ""
    answer = {"in_time": tls13.hold(), "version": versions[0] if versions else None, "code": code, "details": details}
    sys.stdout.write(json.dumps(answer))
    await secure.stop(0)


asyncio.run(main())
