# SPDX-License-Identifier: Apache-2.0
"""Packet-in and packet-out: the controller header between metadata fields and bytes on the CPU port."""

from __future__ import annotations

from typing import Any

from finsy.proto import p4r

from .bytestring import decode, encode, width_bytes
from .schema import PacketHeader, Schema
from .status import invalid


class PacketCodec:
    """Both directions for one p4info."""

    def __init__(self, schema: Schema) -> None:
        self._packet_in = schema.packet_in or PacketHeader((), 0)
        self._packet_out = schema.packet_out or PacketHeader((), 0)
        self._widths = dict(self._packet_out.fields)

    def packet_in(self, data: bytes) -> Any | None:
        """p4.v1.PacketIn of what came out of the CPU port; None if it is shorter than the header, as BMv2 drops it."""
        header = self._packet_in
        length = width_bytes(header.bits)
        if len(data) < length:
            return None
        packet = p4r.PacketIn(payload=data[length:])
        bits = int.from_bytes(data[:length], "big")
        left = 8 * length
        for number, width in header.fields:
            left -= width
            value = (bits >> left) & ((1 << width) - 1)
            packet.metadata.add(metadata_id=number, value=encode(value.to_bytes(width_bytes(width), "big")))
        return packet

    def packet_out(self, packet: Any) -> bytes:
        """Bytes for the CPU port. A field that is missing is zero, as on BMv2.

        Raises:
            P4Error: INVALID_ARGUMENT: a field that the header does not have, or a value that does not fit.
        """
        given: dict[int, int] = {}
        for metadata in packet.metadata:
            width = self._widths.get(metadata.metadata_id)
            if width is None:
                raise invalid(f"the packet-out header has no field {metadata.metadata_id}")
            what = f"packet-out field {metadata.metadata_id}"
            given[metadata.metadata_id] = int.from_bytes(decode(metadata.value, width, what), "big")
        header = self._packet_out
        length = width_bytes(header.bits)
        bits = 0
        for number, width in header.fields:
            bits = (bits << width) | given.get(number, 0)
        bits <<= 8 * length - header.bits
        return bits.to_bytes(length, "big") + bytes(packet.payload)
