# SPDX-License-Identifier: Apache-2.0
"""A second implementation of the wire format and its ciphers, written from their specifications.

Packet tests and lab compare with it, attackers of the drill build packets with it. It imports nothing of the product,
so an error that sender and receiver share shows here. Not constant in time.

Packets and frames are there twice, for two readers that share the ciphers alone: `tunnel` and `frames` are the packet
tests', which set every field, also wrongly, and `receiver` says what has to become of it; `protection` and
`tenant_frames` are the lab's, whose observers read whatever they see, with addresses as text.
"""
