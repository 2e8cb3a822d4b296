# SPDX-License-Identifier: Apache-2.0
"""The program within a device config: the bytes as they are, or the older message that clients wrap around them.

Before P4Runtime 1.0 a target was told by p4.tmp.P4DeviceConfig what to do with a program. Controllers that were written
then still send it, and BMv2 still takes it. Its fields `reassign` and `extras` speak to BMv2's device manager about
reloading; here a push does what its action says, with or without them.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from .wire import BYTES, MESSAGE, UINT32, build

_MESSAGES = build(
    "p4.tmp",
    {
        "Extras": (),  # a map of strings, which nothing here reads
        "P4DeviceConfig": (
            ("reassign", 1, UINT32, ""),
            ("extras", 2, MESSAGE, "Extras"),
            ("device_data", 3, BYTES, ""),
        ),
    },
    {},
)


def program_of(device_config: bytes) -> bytes:
    """The program in a p4_device_config.

    A JSON is never taken for the message: as one it would begin with the end of a group, or with a group of field 15
    that no message of this kind has.
    """
    if device_config.lstrip().startswith(b"{"):
        return device_config
    wrapper = _MESSAGES["P4DeviceConfig"]()
    try:
        wrapper.ParseFromString(device_config)
    except DecodeError:
        return device_config
    return bytes(wrapper.device_data) or device_config
