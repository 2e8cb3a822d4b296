# SPDX-License-Identifier: Apache-2.0
"""A second implementation of the wire format, written from its specification: what the packet tests compare with."""
