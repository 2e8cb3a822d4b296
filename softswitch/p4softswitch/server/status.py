# SPDX-License-Identifier: Apache-2.0
"""The one error type of the server, and its translation into gRPC.

Messages name ids, names and widths, never a value: values of entries are keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from finsy.proto import p4r, rpc_status

ERROR_SPACE = "ALL-sswitch-p4org"
"""What BMv2 writes in `p4.v1.Error.space`; clients of BMv2 may look at it."""

_DETAILS_KEY = "grpc-status-details-bin"

Code = grpc.StatusCode

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class P4Error(Exception):
    """A request, or one update of it, is refused: canonical code and reason."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def number(self) -> int:
        """The canonical code as google.rpc.Code counts it."""
        return int(self.code.value[0])


def invalid(message: str) -> P4Error:
    """INVALID_ARGUMENT, by far the most frequent refusal."""
    return P4Error(Code.INVALID_ARGUMENT, message)


def unimplemented(message: str) -> P4Error:
    """UNIMPLEMENTED: named, known, not offered."""
    return P4Error(Code.UNIMPLEMENTED, message)


def first_phase(reason: str) -> P4Error:
    """A program, or its p4info, is not taken: UNKNOWN, in BMv2's words."""
    return P4Error(Code.UNKNOWN, f"Error in first phase of device update: {reason}")


class GrpcStatus(grpc.Status):  # type: ignore[misc]  # grpc ships no types
    """What `ServicerContext.abort_with_status` takes."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: Sequence[tuple[str, bytes]]) -> None:
        self.code = code
        self.details = details
        self.trailing_metadata = tuple(metadata)


def to_status(error: P4Error) -> Any:
    """google.rpc.Status of an error of a whole request."""
    return rpc_status.Status(code=error.number, message=error.message)


def batch_status(errors: Sequence[P4Error | None]) -> Any | None:
    """google.rpc.Status of a Write: None if all went well.

    As BMv2 does it: overall code UNKNOWN without a message, and one p4.v1.Error per update, code OK for those that
    succeeded.
    """
    if not any(errors):
        return None
    status = rpc_status.Status(code=Code.UNKNOWN.value[0])
    for error in errors:
        detail = p4r.Error()
        if error is not None:
            detail.canonical_code = error.number
            detail.message = error.message
            detail.space = ERROR_SPACE
        status.details.add().Pack(detail)
    return status


def to_grpc(status: Any) -> GrpcStatus:
    """gRPC status with the google.rpc.Status in its trailing metadata."""
    code = _CODES.get(status.code, Code.UNKNOWN)
    return GrpcStatus(code, status.message, [(_DETAILS_KEY, status.SerializeToString())])
