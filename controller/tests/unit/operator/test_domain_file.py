# SPDX-License-Identifier: Apache-2.0
"""Another domain file for a running NVA: the whole of it or nothing, and the same one after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml
from nva_agents import Agents, Failing
from nvo3sec.config import DomainText, example_path
from nvo3sec.domain.mapping import Place
from nvo3sec.domain.overlay.model import TunnelKeys
from nvo3sec.errors import ConfigError, OperatorError
from nvo3sec.nva.store import MemoryStore, StoreUnavailable, open_store
from nvo3sec.operator.domain_file import APPLIED, DomainFileOperations, at_start

TEXT = example_path().read_text(encoding="utf-8")


def file_of(text: str) -> DomainText:
    return DomainText(text, "domain.yaml", Path("/srv"))


def edited(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new)


GIVEN = file_of(TEXT)
SMALLER = edited("    vni: 5002\n", "    vni: 5002\n    mtu: 1300\n")
RENUMBERED = edited("vni: 5002", "vni: 5001").replace("vni: 5001", "vni: 5003", 1)
MIXED_KEYS = edited("tunnel_keys: nva ", "tunnel_keys: nva+peer ")
OTHER = edited("domain: lab.example", "domain: other.example")


def without_leaf2() -> str:
    document = yaml.safe_load(TEXT)
    del document["nves"][1]
    document["tenant_systems"] = [one for one in document["tenant_systems"] if one["nve"] != "leaf2"]
    return yaml.safe_dump(document)


class World(Agents):
    """An NVA with agents, and what an operator has in hand."""

    def __init__(self, store=None) -> None:
        self.store = store or MemoryStore(b"h" * 16)
        super().__init__(GIVEN.parse(), self.store, file=TEXT)
        self.applying = DomainFileOperations(self.nva.administration, GIVEN)

    async def apply(self, text: str):
        base = (await self.applying.domain_diff(text)).base
        done = await self.applying.domain_apply(text, base)
        await self.settle()
        return done

    def what_there_is(self):
        return (self.nva.state.domain, self.nva.state.mappings.scope, self.store.domain_file, self.applying.base)


def run(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


class TestApply:
    def test_everybody_is_told(self):
        async def check():
            world = World()
            await world.join("leaf1", "leaf2", "leaf3")
            before = {name: view.version for name, view in world.views.items()}
            done = await world.apply(SMALLER)
            assert (done.lines, done.nves, done.total) == (
                ("~ vn red: mtu 1400 -> 1300",),
                ("leaf1", "leaf3"),
                1,
            )
            assert {vn.name: vn.mtu for vn in world.views["leaf1"].vns} == {"blue": 1400, "red": 1300}
            assert all(world.views[name].version > before[name] for name in ("leaf1", "leaf3"))
            assert world.store.domain_file == SMALLER
            assert (await world.applying.domain_show()).text == SMALLER

        run(check())

    def test_an_nve_that_is_gone_loses_its_session_and_its_tunnels(self):
        async def check():
            world = World()
            await world.join("leaf1", "leaf2", "leaf3")
            await world.apply(without_leaf2())
            assert world.nva.administration.registered == ("leaf1", "leaf3")
            assert world.sessions["leaf2"].ended.is_set()
            assert {peer.name for peer in world.views["leaf1"].peers} == {"leaf3"}
            assert {direction.tunnel.sender for direction in world.nva.administration.directions()} == {
                "leaf1",
                "leaf3",
            }
            assert Place("leaf2", 1, 0) not in dict(world.store.load().vaps)

        run(check())

    def test_showing_a_difference_changes_nothing(self):
        async def check():
            world = World()
            before = world.what_there_is()
            shown = await world.applying.domain_diff(SMALLER)
            assert (shown.lines, shown.same_text) == (("~ vn red: mtu 1400 -> 1300",), False)
            assert world.what_there_is() == before
            assert (await world.applying.domain_diff(TEXT)).same_text

        run(check())

    def test_a_comment_is_kept_too(self):
        async def check():
            world = World()
            done = await world.apply(TEXT + "# who asks, and when\n")
            assert (done.lines, done.same_text) == ((), True)
            assert world.store.domain_file.endswith("# who asks, and when\n")

        run(check())


class TestNothing:
    """Refused: nothing of it has happened."""

    @pytest.mark.parametrize(
        ("text", "error", "words"),
        [
            (edited("vni: 5002", "vni: 5001"), ConfigError, r"line \d+: vns\[1\].vni: VNI 5001 is already used"),
            ("domain: [", ConfigError, "YAML"),
            (OTHER, OperatorError, "nothing was applied: domain: another domain has other identities"),
            (MIXED_KEYS, OperatorError, "who makes the keys is decided when an NVA starts"),
            (RENUMBERED.replace("vni: 5003", "vni: 5002", 1), OperatorError, "VNI 5002 is red's"),
        ],
        ids=["wrong", "no YAML", "another domain", "who makes the keys", "exchanged VNIs"],
    )
    def test_for_what_it_says(self, text, error, words):
        async def check():
            world = World()
            before = world.what_there_is()
            base = world.applying.base
            with pytest.raises(error, match=words):
                await world.applying.domain_apply(text, base)
            assert world.what_there_is() == before

        run(check())

    def test_where_something_else_was_applied_meanwhile(self):
        async def check():
            world = World()
            base = (await world.applying.domain_diff(without_leaf2())).base
            await world.apply(SMALLER)
            before = world.what_there_is()
            with pytest.raises(OperatorError, match="another file was applied meanwhile"):
                await world.applying.domain_apply(without_leaf2(), base)
            assert world.what_there_is() == before

        run(check())

    def test_two_at_once_do_not_mix(self):
        async def check():
            world = World()
            base = world.applying.base
            both = (world.applying.domain_apply(text, base) for text in (SMALLER, without_leaf2()))
            done = await asyncio.gather(*both, return_exceptions=True)
            assert [isinstance(one, OperatorError) for one in done] == [False, True]
            assert world.store.domain_file == SMALLER

        run(check())

    def test_where_the_disk_fails(self):
        """Neither the tables nor the memory have anything of it, and the NVA ends: it does not know what is stored."""

        async def check():
            world = World(Failing(b"h" * 16))
            await world.join("leaf1", "leaf2", "leaf3")
            before = world.what_there_is()
            world.store.broken = True
            with pytest.raises(StoreUnavailable):
                await world.apply(without_leaf2())
            assert world.what_there_is() == before
            assert world.nva.administration.registered == ("leaf1", "leaf2", "leaf3")
            with pytest.raises(StoreUnavailable):
                await world.nva.run()

        run(check())


class TestManyChanges:
    def test_are_counted_where_they_are_not_shown(self, monkeypatch):
        monkeypatch.setattr("nvo3sec.operator.domain_file.CHANGES_SHOWN", 3)

        async def check():
            shown = await World().applying.domain_diff(without_leaf2())
            assert (len(shown.changes), shown.total) == (3, 8)
            assert shown.lines[-1] == "and more: 8 changes in all"
            assert "leaf2" in shown.nves

        run(check())

    def test_routes_that_go_with_an_nve_are_counted_for_themselves(self, monkeypatch):
        monkeypatch.setattr("nvo3sec.operator.domain_file.CHANGES_SHOWN", 5)

        async def check():
            shown = await World().applying.domain_diff(without_leaf2())
            assert (shown.total, shown.unshown) == (8, 4)
            assert len(shown.lines) == 5, "four changes and a note; there are not more"

        run(check())


class TestStart:
    def test_the_first_one(self):
        start = at_start(GIVEN, GIVEN.parse(), "", take_given=False)
        assert (start.file, start.ignored.is_empty) == (GIVEN, True)

    def test_what_was_applied_runs(self):
        start = at_start(GIVEN, GIVEN.parse(), SMALLER, take_given=False)
        assert start.domain.vn_by_name["red"].mtu == 1300
        assert start.file.text == SMALLER
        assert list(start.ignored.lines()) == ["~ vn red: mtu 1300 -> 1400"]

    def test_sockets_start_where_they_did(self):
        start = at_start(GIVEN, GIVEN.parse(), TEXT, take_given=False)
        assert start.ignored.is_empty
        assert start.domain.nves[0].p4runtime == "unix:/srv/leaf1.sock"
        other = at_start(GIVEN, GIVEN.parse(), SMALLER, take_given=False)
        assert other.domain.nves[0].p4runtime == "unix:/srv/leaf1.sock"

    def test_the_same_text_is_not_read_twice(self):
        domain = GIVEN.parse()
        assert at_start(GIVEN, domain, TEXT, take_given=False).domain is domain
        assert at_start(GIVEN, domain, TEXT + "#", take_given=False).domain is not domain

    def test_unless_the_operator_says_otherwise(self):
        start = at_start(GIVEN, GIVEN.parse(), SMALLER, take_given=True)
        assert (start.file, start.domain) == (GIVEN, GIVEN.parse())

    def test_who_makes_the_keys(self):
        given = file_of(MIXED_KEYS)
        assert at_start(given, given.parse(), TEXT, take_given=True).domain.tunnel_keys is TunnelKeys.NVA_AND_PEER
        assert at_start(given, given.parse(), TEXT, take_given=False).domain.tunnel_keys is TunnelKeys.NVA

    def test_what_switches_would_mix_up_is_refused_also_then(self):
        blue, red = "name: blue\n    vni: 5001", "name: red\n    vni: 5002"
        exchanged = edited(blue, blue.replace("5001", "5002")).replace(red, red.replace("5002", "5001"))
        given = file_of(exchanged)
        with pytest.raises(OperatorError, match="VNI 5002 is red's"):
            at_start(given, given.parse(), TEXT, take_given=True)

    def test_one_that_this_program_cannot_read(self):
        with pytest.raises(ConfigError, match=APPLIED):
            at_start(GIVEN, GIVEN.parse(), "domain: lab.example\nfield: of a later version", take_given=False)
        start = at_start(GIVEN, GIVEN.parse(), "domain: lab.example\nfield: of a later version", take_given=True)
        assert start.file == GIVEN


class TestRestart:
    def test_the_text_is_as_durable_as_the_rest(self, tmp_path):
        async def check():
            world = World(open_store(tmp_path / "db" / "nva.sqlite", tmp_path / "keys", "lab.example"))
            await world.apply(without_leaf2())
            world.store.close()

        run(check())
        store = open_store(tmp_path / "db" / "nva.sqlite", tmp_path / "keys", "lab.example")
        assert store.domain_file == without_leaf2()
        assert {place.nve for place, _ in store.load().vaps} == {"leaf1", "leaf3"}
        store.close()
        with pytest.raises(StoreUnavailable):
            _ = store.domain_file

    def test_starting_again_writes_nothing(self, tmp_path):
        versions = []
        for _ in range(2):
            store = open_store(tmp_path / "db" / "nva.sqlite", tmp_path / "keys", "lab.example")
            Agents(GIVEN.parse(), store, file=TEXT)
            versions.append((store.version, store.domain_file))
            store.close()
        assert versions[0][1] == versions[1][1] == TEXT
        assert versions[0][0] <= versions[1][0] <= versions[0][0] + 1  # an epoch may have begun
