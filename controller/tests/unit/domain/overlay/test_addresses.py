# SPDX-License-Identifier: Apache-2.0
"""Addresses that follow from others."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from nvo3sec.domain.overlay.addresses import link_local, link_local_owner


@pytest.mark.parametrize("mac", [0x020000000101, 0x00163E_ABCDEF, 0xFE_FFFF_FFFFFF])
def test_a_link_local_address_says_whose_it_is(mac):
    assert link_local_owner(link_local(mac)) == mac


@pytest.mark.parametrize(
    "address",
    [
        IPv4Address("169.254.1.1"),
        IPv6Address("fe80::1"),
        IPv6Address("fe80:0:0:1:0:ff:fe00:101"),  # of another /64
        IPv6Address("2001:db8::ff:fe00:101"),
        IPv6Address("fe80::d3c3:14ff:fe9a:77b0"),  # of a group address, which no machine has
        IPv6Address("fe80::200:ff:fe00:0"),  # of the address of all zeros
    ],
)
def test_other_addresses_are_nobodys(address):
    assert link_local_owner(address) is None
