# SPDX-License-Identifier: Apache-2.0
"""What a tenant may send, by numbers that are counted from the headers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from nvo3sec.domain.overlay import constants, mtu
from nvo3sec.domain.overlay.mtu import Family, longest_frame, longest_packet, tunnel_mtu, underlay_mtu_for

INNER_ETHERNET, OPTION, GENEVE, UDP = 14, 36, 8, 8
OUTER = {Family.IPV4: 20, Family.IPV6: 40}


@pytest.mark.parametrize("family", Family)
def test_what_is_between_a_tenants_packet_and_the_underlays(family):
    assert family.frame_overhead == OPTION + GENEVE + UDP + OUTER[family]
    assert family.packet_overhead == INNER_ETHERNET + OPTION + GENEVE + UDP + OUTER[family]


def test_the_numbers_that_everybody_knows():
    assert (Family.IPV4.packet_overhead, Family.IPV6.packet_overhead) == (86, 106)
    assert underlay_mtu_for(1280, Family.IPV4) == 1366
    assert underlay_mtu_for(1280, Family.IPV6) == 1386
    assert (longest_packet(1500, Family.IPV4), longest_frame(1500, Family.IPV4)) == (1414, 1428)
    assert (longest_packet(1500, Family.IPV6), longest_frame(1500, Family.IPV6)) == (1394, 1408)


def test_the_family_is_that_of_the_address():
    assert Family.of(IPv4Address("192.0.2.1")) is Family.IPV4
    assert Family.of(IPv6Address("2001:db8::1")) is Family.IPV6


@pytest.mark.parametrize("family", Family)
def test_there_and_back(family):
    for packet in range(mtu.LONGEST_PACKET_BYTES + 1):
        assert longest_packet(underlay_mtu_for(packet, family), family) == packet


@pytest.mark.parametrize("family", Family)
def test_ends(family):
    """A frame that the switch does not take is none that fits; and what carries nothing carries nothing."""
    assert longest_frame(9216, family) == constants.FRAME_LIMIT - 1 == longest_packet(9216, family) + 14
    assert longest_frame(family.frame_overhead, family) == longest_frame(0, family) == 0
    assert longest_packet(family.packet_overhead, family) == longest_packet(0, family) == 0


def test_a_tunnel_is_as_narrow_as_its_narrower_end():
    assert tunnel_mtu(1500, 1400) == tunnel_mtu(1400, 1500) == 1400
    assert tunnel_mtu(1500, 0) == 1500, "an older NVA does not say it"
