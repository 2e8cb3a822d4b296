# SPDX-License-Identifier: Apache-2.0
"""NVEs whose authority leaves the NVA's anchors: their peers let go of them, and they are back when it is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from loading_nva import Process
from nvo3sec.domain.messages.session import NveView
from nvo3sec.errors import AuthorizationError, NvaUnreachable
from nvo3sec.identity.anchors import Anchors
from nvo3sec.identity.authority.authority import Authority
from nvo3sec.identity.names import Role
from nvo3sec.nva.store import Certificate
from nvo3sec.processes import nva_start as starting
from nvo3sec.processes import nva_trust as trust
from overlay_world import Identities, until
from session_world import run

OTHER = "leaf3"


@pytest.fixture
def site(identities, tmp_path, monkeypatch) -> Site:
    return Site(identities, tmp_path, monkeypatch)


class Site:
    """leaf3 has its certificate of another authority, which the NVA trusts, too."""

    def __init__(self, identities: Identities, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.identities = identities
        self.other = Authority.create(directory / "other", identities.domain.name)
        chain, _ = self.other.issue(identities.name(Role.NVE, OTHER))
        device = identities.place(Role.NVE, OTHER) / "device.pem"
        device.unlink()
        os.symlink(chain, device)
        self.nva = identities.place(Role.NVA, "nva1")
        self.trusts(identities.authority, self.other)
        for name in ("anchors.pem", "revoked.pem"):
            (device.parent / name).unlink()
            (device.parent / name).write_bytes((self.nva / name).read_bytes())
        self.process = Process(identities, monkeypatch)
        monkeypatch.setattr(starting, "LARGE_BYTES", 1 << 30)

    def trusts(self, *authorities: Authority) -> None:
        """The NVA's anchors; the lists of both are always there."""
        lists = (self.identities.authority, self.other)
        self._put("revoked.pem", b"".join(one.revocation_file.read_bytes() for one in lists))
        self._put("anchors.pem", b"".join(one.anchors_file.read_bytes() for one in authorities))

    def _put(self, name: str, content: bytes) -> None:
        draft = self.nva / f"{name}.new"
        draft.write_bytes(content)
        draft.replace(self.nva / name)


async def peers_of(session: Any) -> set[str]:
    """By the next view."""
    while not isinstance(view := await session.next_update(), NveView):
        pass
    return {peer.name for peer in view.peers}


async def ends(session: Any) -> None:
    with contextlib.suppress(AuthorizationError, NvaUnreachable):
        while True:
            await session.next_update()


def test_its_peers_let_go_and_it_comes_back_with_the_anchor(site, monkeypatch):
    monkeypatch.setattr(trust, "PATIENCE_S", 0.0)
    process = site.process

    async def check():
        await process.start()
        try:
            async with process.session("leaf1") as leaf1, process.session("leaf2") as leaf2:
                assert OTHER in await peers_of(leaf1)
                assert OTHER in await peers_of(leaf2)
                async with process.session(OTHER) as leaf3:
                    assert (await leaf3.renew_lease()).duration_s
                    site.trusts(site.identities.authority)
                    await ends(leaf3)
                    while OTHER in await peers_of(leaf1):
                        pass
                assert process.nva._nva.administration.excluded == {OTHER: trust.WHY}
                assert not any(OTHER in one.tunnel for one in process.nva._nva.administration.directions())
                status = await process.nva.status()
                assert f"{OTHER}: suspended: {trust.WHY}" in status.not_ready
                switches = {one.nve: one for one in status.switches}
                assert switches[OTHER].excluded == trust.WHY
                assert not switches["leaf1"].excluded
                reports = [(one.nve, one.report.event, one.report.detail) for one in process.nva._nva.state.reports]
                assert (OTHER, "nve-suspended", trust.WHY) in reports
                assert (await leaf1.renew_lease()).duration_s, "nobody else is touched"
                with pytest.raises((NvaUnreachable, AuthorizationError)):
                    async with process.session(OTHER):
                        raise AssertionError
                site.trusts(site.identities.authority, site.other)
                await until(lambda: len(process.nva._live.revocations.anchors.by_issuer) == 2)
                async with process.session(OTHER) as leaf3:
                    assert await peers_of(leaf3)
                    while OTHER not in await peers_of(leaf1):
                        pass
                    assert (await leaf3.renew_lease()).duration_s
                    assert process.nva._nva.administration.excluded == {}
                    assert not any("suspended" in one for one in (await process.nva.status()).not_ready)
        finally:
            await process.stop()

    run(check())


def test_one_that_comes_with_another_certificate_in_time_is_not_suspended(site):
    process = site.process

    async def check():
        await process.start()
        try:
            async with process.session("leaf1") as leaf1, process.session(OTHER) as leaf3:
                assert OTHER in await peers_of(leaf1)
                device = site.identities.place(Role.NVE, OTHER) / "device.pem"
                device.unlink()
                os.symlink(site.identities.authority.device_file(site.identities.name(Role.NVE, OTHER)), device)
                site.trusts(site.identities.authority)
                await ends(leaf3)
                watch = process.nva._trust
                await until(lambda: watch._since == {} or set(watch._since) == {OTHER})
                async with process.session(OTHER):
                    await until(lambda: not watch.gone(process.nva._nva.state.intent.certificates))
                    assert not watch.due(process.nva._nva.state.intent.certificates)
                    assert process.nva._nva.administration.excluded == {}
        finally:
            await process.stop()

    run(check())


class TestWatch:
    """Whose authority is gone, and when that is acted upon."""

    def watch(self, *authorities: Authority) -> trust.TrustWatch:
        self.now = 100.0
        certificates = [
            certificate
            for one in authorities
            for certificate in x509.load_pem_x509_certificates(one.anchors_file.read_bytes())
        ]
        self.live = SimpleNamespace(revocations=SimpleNamespace(anchors=Anchors(certificates)))
        return trust.TrustWatch(self.live, {}, lambda: self.now)  # type: ignore[arg-type]

    def test_it_has_its_time_and_begins_anew_when_it_was_there(self, site):
        watch = self.watch(site.identities.authority)
        issuer = [one.name for one in self.live.revocations.anchors.by_issuer]
        both = self.watch(site.identities.authority, site.other)
        known = [Certificate("leaf1", issuer[0], "1"), Certificate("leaf9", "CN=nobody", "2"), Certificate("leaf8")]
        assert watch.gone(known) == both.gone(known) == ["leaf9"], "by name, where nothing else is known"
        assert watch.due(known) == []
        self.now += trust.PATIENCE_S - 1
        assert watch.due(known) == []
        assert watch.due([dataclasses.replace(known[1], issuer=issuer[0])]) == []
        assert watch.due(known) == []
        self.now += trust.PATIENCE_S - 1
        assert watch.due(known) == []
        self.now += 2
        assert watch.due(known) == ["leaf9"]
