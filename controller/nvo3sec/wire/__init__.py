# SPDX-License-Identifier: Apache-2.0
"""Messages as bytes: `nva.proto`, and strict conversion between it and `domain.messages.session`.

Protocol Buffers take almost any bytes for some message; what a message must be is checked here, field by field, before
anything else sees it. A `WireError` names the field and never what was in it.
"""
