# SPDX-License-Identifier: Apache-2.0
"""Protobuf messages of two small gRPC interfaces that BMv2 serves beside P4Runtime and that no Python package brings.

Built from tables of field names, numbers and types, in a descriptor pool of their own, so that another definition of
the same messages in this process is no conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
UINT64 = _Field.TYPE_UINT64
UINT32 = _Field.TYPE_UINT32
BYTES = _Field.TYPE_BYTES
ENUM = _Field.TYPE_ENUM
MESSAGE = _Field.TYPE_MESSAGE

FieldSpec = tuple[str, int, int, str]
"""Name, number, type, and for enumerations and messages the name of their type."""


def build(
    package: str, messages: Mapping[str, tuple[FieldSpec, ...]], enums: Mapping[str, tuple[str, ...]]
) -> Mapping[str, Any]:
    """Message classes by name. Values of enumerations are numbered from 0."""
    file = descriptor_pb2.FileDescriptorProto(name=f"p4softswitch/{package}.proto", package=package, syntax="proto3")
    for name, values in enums.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind, type_name in fields:
            field = message.field.add(name=field_name, number=number, label=_Field.LABEL_OPTIONAL)
            field.type = kind
            if type_name:
                field.type_name = f".{package}.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}
