# SPDX-License-Identifier: Apache-2.0
"""A p4.v1.ForwardingPipelineConfig: the program within it, and the parts of it that are asked for.

The program stands in the device config as it is, or within the older message that clients wrap around it.

Before P4Runtime 1.0 a target was told by p4.tmp.P4DeviceConfig what to do with a program. Controllers that were written
then still send it, and BMv2 still takes it. Its fields `reassign` and `extras` speak to BMv2's device manager about
reloading; here a push does what its action says, with or without them.
"""

from __future__ import annotations

from typing import Any

from finsy.proto import p4r
from google.protobuf.message import DecodeError

from .status import invalid
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


def fill_config(config: Any, stored: Any, response_type: int) -> None:
    """What a response of that type (p4.v1.GetForwardingPipelineConfigRequest) has of the config that is stored.

    Raises:
        P4Error: INVALID_ARGUMENT for an unknown type of response.
    """
    kind = p4r.GetForwardingPipelineConfigRequest
    if response_type not in (kind.ALL, kind.COOKIE_ONLY, kind.P4INFO_AND_COOKIE, kind.DEVICE_CONFIG_AND_COOKIE):
        raise invalid("unknown response type")
    if response_type in (kind.ALL, kind.P4INFO_AND_COOKIE):
        config.p4info.CopyFrom(stored.p4info)
    if response_type in (kind.ALL, kind.DEVICE_CONFIG_AND_COOKIE):
        config.p4_device_config = stored.p4_device_config
    if stored.HasField("cookie"):
        config.cookie.CopyFrom(stored.cookie)
