# SPDX-License-Identifier: Apache-2.0
"""Names of devices: one spelling each, and what cannot be one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nvo3sec.domain.overlay.names import is_dns_name, is_label
from nvo3sec.identity.errors import PeerRefused, Reason
from nvo3sec.identity.names import DeviceName, Role, shown

LABELS = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\Z")


class TestRoundTrip:
    @settings(deadline=None)
    @given(st.lists(LABELS, min_size=1, max_size=4).map(".".join), st.sampled_from(Role), LABELS)
    def test_uri_says_the_name(self, domain: str, role: Role, name: str):
        device = DeviceName(domain, role, name)
        assert DeviceName.from_uri(device.uri) == device
        assert device.uri == f"nvo3://{domain}/{role.value}/{name}"
        assert device.dns == f"{name}.{role.value}.{domain}"

    @settings(deadline=None)
    @given(st.text(max_size=60))
    def test_nothing_else_is_a_uri(self, text: str):
        try:
            device = DeviceName.from_uri(text)
        except PeerRefused:
            return
        assert device.uri == text

    def test_dns_names_of_different_devices_differ(self):
        # A dot in a name could make nve/a.nva and nva/a one DNS name; a label has none.
        with pytest.raises(PeerRefused):
            DeviceName("lab.example", Role.NVE, "a.nva")


class TestIrregular:
    @pytest.mark.parametrize(
        ("uri", "reason"),
        [
            ("", Reason.URI_SYNTAX),
            ("https://lab.example/nve/leaf1", Reason.URI_SYNTAX),
            ("NVO3://lab.example/nve/leaf1", Reason.URI_SYNTAX),
            ("nvo3:lab.example/nve/leaf1", Reason.URI_SYNTAX),
            ("nvo3://lab.example/nve/leaf1/", Reason.URI_SYNTAX),
            ("nvo3://lab.example/nve", Reason.URI_SYNTAX),
            ("nvo3://lab.example//nve/leaf1", Reason.URI_SYNTAX),
            ("nvo3://user@lab.example/nve/leaf1", Reason.DOMAIN),
            ("nvo3://lab.example:443/nve/leaf1", Reason.DOMAIN),
            ("nvo3://LAB.example/nve/leaf1", Reason.DOMAIN),
            ("nvo3://lab.example./nve/leaf1", Reason.DOMAIN),
            ("nvo3:///nve/leaf1", Reason.DOMAIN),
            ("nvo3://lab.example/NVE/leaf1", Reason.ROLE),
            ("nvo3://lab.example/root/leaf1", Reason.ROLE),
            ("nvo3://lab.example/nve/", Reason.NAME),
            ("nvo3://lab.example/nve/Leaf1", Reason.NAME),
            ("nvo3://lab.example/nve/leaf1?x=1", Reason.NAME),
            ("nvo3://lab.example/nve/leaf1#x", Reason.NAME),
            ("nvo3://lab.example/nve/leaf%31", Reason.NAME),
            ("nvo3://lab.example/nve/-leaf1", Reason.NAME),
            ("nvo3://lab.example/nve/leaf_1", Reason.NAME),
            ("nvo3://lab.example/nve/*", Reason.NAME),
            ("nvo3://lab.example/nve/leaf1\n", Reason.NAME),
            ("nvo3://lab.example/nve/leaf1\0", Reason.NAME),
            ("nvo3://lab.example/nve/" + "a" * 64, Reason.NAME),
            ("nvo3://lab.example/nve/lеaf1", Reason.NAME),  # noqa: RUF001  # a Cyrillic letter is what is tried here
        ],
    )
    def test_refused_with_its_reason(self, uri: str, reason: Reason):
        with pytest.raises(PeerRefused) as caught:
            DeviceName.from_uri(uri)
        assert caught.value.reason is reason

    def test_too_long_a_dns_name(self):
        domain = ".".join(["a" * 60] * 4)
        assert is_dns_name(domain)
        with pytest.raises(PeerRefused):
            DeviceName(domain, Role.HYPERVISOR, "b" * 20)

    def test_labels(self):
        assert is_label("a")
        assert is_label("0a-b")
        assert not any(map(is_label, ("", "-a", "a-", "A", "a.b", "a\n", "é")))

    def test_what_a_peer_wrote_does_not_get_into_a_log_as_it_is(self):
        assert "\n" not in shown("a\nb")
        assert "\x1b" not in shown("\x1b[2J")
        assert len(shown("a" * 100_000)) < 200
