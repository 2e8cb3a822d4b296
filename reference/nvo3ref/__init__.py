# SPDX-License-Identifier: Apache-2.0
"""A second implementation of the wire format and its ciphers, written from their specifications.

Packet tests and lab compare with it, attackers of the drill build packets with it. It imports nothing of the product,
so an error that sender and receiver share shows here. Not constant in time.
"""
