# SPDX-License-Identifier: Apache-2.0
"""The world, and everything that can be done to it: by operators, by accidents, by thieves."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from model_domain import LIFE, VNS, make_domain
from model_liar import lie
from model_nva import file_of
from model_observer import ROLLED_BACK
from model_switch import Switch
from model_traffic import Traffic
from nvo3sec.domain.messages.session import Attachment, Release
from nvo3sec.domain.overlay.model import Level
from nvo3sec.errors import Nvo3secError, OperatorError
from nvo3sec.nva.store import StoreRolledBack
from nvo3sec.nve.use import USE_S
from nvo3sec.p4runtime import Entry, Table


def sending_entries(switch: Switch, receiver: str, name_of: dict[int, str]) -> list[Entry]:
    """What a switch sends with to one receiver, if it has ever sent anything with it."""
    entries = list(switch.entries.values())
    tunnels = {e["interface"] for e in entries if e.table == Table.TUNNEL and name_of[e["destination"]] == receiver}
    sending = [e for e in entries if e.table == Table.SA_TX and e["interface"] in tunnels]
    return [e for e in sending if e["interface"] & 0x7FFF in switch.sequence and e.key in switch.used]


class World(Traffic):
    """Whoever does something to it lets time pass afterwards (`pass_time`)."""

    # --- operators ---------------------------------------------------------------------------------------------------

    def _told(self, what: Any) -> bool:
        """Have the NVA do something; whether it lived to say that it was done."""
        if self.host.nva is None:
            return False
        nva = self.host.nva

        async def ask() -> bool:
            self.host.do(what)
            return self.host.nva is nva

        self._adopt()
        return bool(self.loop.run(ask()))

    def lie(self, name: str, kind: str, *, own: bool) -> None:
        """Somebody with the certificate of an NVE lies to the NVA. own: of the incarnation that its switch has."""
        self.disturb(name)
        nva = self.host.nva
        known = b"" if nva is None else nva.state.accounts.incarnations.get(name, b"")
        incarnation = known if own and known else bytes([7]) * 16
        self._told(lambda nva: lie(nva, name, kind, incarnation))
        for line in [one for one in self.host.lines if one is self.sites[name].line]:
            line.cut("another session has taken over")

    def reset_marks(self, name: str) -> None:
        """An operator has the generations of what an NVE receives begin anew."""
        self.disturb(name)
        try:
            self._told(lambda nva: nva.administration.reset_marks(name))
        except OperatorError:
            assert name in self.revoked | self.being_revoked | self.suspended, "only who is shut out has none"

    def rotate(self, *names: str) -> None:
        """New keys for directions between these; see `Nva.rotate`."""
        with contextlib.suppress(OperatorError):  # there are none between these now
            self._told(lambda nva: nva.administration.rotate(names))

    def revoke(self, name: str) -> bool:
        """Shut out for good; whether it was done. If the NVA dies of it, nobody knows, and the operator asks again."""
        self.disturb(name)
        self.being_revoked.add(name)
        if not self._told(lambda nva: nva.administration.revoke(name)):
            return False
        self.being_revoked.discard(name)
        self.revoked.add(name)
        self.observer.shut_out.setdefault(name, self.loop.moment)
        return True

    def suspend(self, name: str) -> None:
        """Its certificate is revoked."""
        self.sites[name].link.admitted = False
        self.disturb(name)
        self.suspended.add(name)
        if self._told(lambda nva: nva.administration.suspend([name], "its certificate is revoked")):
            self.observer.shut_out.setdefault(name, self.loop.moment)

    def readmit(self, name: str) -> None:
        """It has a new certificate."""
        self.sites[name].link.admitted = True
        self.disturb(name)
        self.suspended.discard(name)
        if name not in self.revoked:
            self.observer.shut_out.pop(name, None)

    def toggle_membership(self, name: str, vn: str) -> None:
        """Give a VN to an NVE, or take it away."""
        self.disturb(name)
        self._take_membership(self.absent ^ {(name, vn)})
        self._configure()

    def readdress(self, name: str) -> None:
        """Give an NVE its other outer address."""
        self.readdressed ^= {name}
        self.disturb()
        self._configure()

    def set_level(self, *subject: str, level: Level) -> None:
        """A VN, or a pair of NVEs, is to have another level. That stops nothing, however it goes on."""
        self.levels[subject] = level
        for sender, receiver, vni in self.observer.floors:
            vn = next(vn for vn, number in VNS if number == vni)
            wanted = self.wanted_level(sender, receiver, vn)
            self.observer.floors[sender, receiver, vni] = min(wanted, self.observer.floors[sender, receiver, vni])
        self._configure()

    def _configure(self) -> None:
        """Apply the domain file; if there is no NVA, it is what the next one starts with."""
        domain = self.host.domain = make_domain(self.names, self.absent, self.readdressed, self.levels)
        self._told(lambda nva: nva.administration.configure(domain, file_of(domain)))

    def _take_membership(self, absent: set[tuple[str, str]]) -> None:
        before, self.absent = self.absent, absent
        for vn, vni in VNS:
            for one in self.names:
                for other in self.names:
                    was = {(one, vn), (other, vn)} & before
                    now = {(one, vn), (other, vn)} & absent
                    if now and not was:
                        self.observer.left_vn[one, other, vni] = self.loop.moment
                    elif not now:
                        self.observer.left_vn.pop((one, other, vni), None)

    def use(self, sender: str, receiver: str, packets: int) -> None:
        """Packets go by that nobody looks at, until the key in use has sent so many; the agent reads the counter."""
        switch = self.sites[sender].switch
        if packets >= LIFE.key_hard_packets:
            for name in (sender, receiver):
                self.sites[name].disturbed_at = self.loop.moment + USE_S
        for entry in sending_entries(switch, receiver, self.observer.name_of):
            unseen = max(0, packets - switch.used[entry.key])
            switch.used[entry.key] += unseen
            switch.sequence[entry["interface"] & 0x7FFF] += unseen

    def back_up(self, *, everything: bool = False) -> None:
        """Copy the database, while the NVA is stopped for it; or everything, which no backup should do."""
        self.kill_nva()
        self.backups += 1
        self.host.back_up(f"backup-{self.backups}", ("db", "keys") if everything else ("db",))
        self.ensure_nva()

    def restore(self) -> None:
        """Put the last copy in the place of the database. It is refused, unless nothing has been stored since."""
        if not self.backups:
            return
        self.kill_nva()
        version = self._version()
        self.host.restore(f"backup-{self.backups}", ("db",))
        if version == self._version():
            return
        with contextlib.suppress(StoreRolledBack):
            if self.start_nva():
                self.observer.fail(ROLLED_BACK, "the store opens an older database")
        self.disturb()
        self.start_nva(new_term=True)

    def restore_everything(self) -> None:
        """The machine of the NVA goes back to the last copy, with everything that could notice it."""
        self.kill_nva()
        self.host.restore(f"backup-{self.backups}", ("db", "keys"))
        self.disturb()
        self.went_back = True
        self.start_nva()

    def _version(self) -> bytes:
        """All bytes of the database."""
        files = sorted((self.host.directory / "db").iterdir())
        return b"".join(path.read_bytes() for path in files if path.suffix != ".sqlite-shm")

    # --- agents and switches -----------------------------------------------------------------------------------------

    def restart_switch(self, name: str, off_s: float) -> None:
        """Its process ends, and another one starts after a while."""
        switch = self.sites[name].switch
        self._reset(name)
        switch.running = False
        self.sites[name].plug.break_off("the switch has gone")
        self.disturb(name)
        if off_s:
            self.pass_time(off_s)
        switch.restart()
        self.disturb(name)

    def _reset(self, name: str) -> None:
        self.observer.registers_reset(self.sites[name].switch)

    def push_pipeline(self, name: str, *, keeps_entries: bool) -> None:
        """Somebody loads a pipeline."""
        self._reset(name)
        self.sites[name].switch.push(keeps_entries=keeps_entries)
        self.disturb(name)
        # Until the agent asks again: it renews its lease so often.
        self.sites[name].disturbed_at = self.loop.moment + LIFE.lease_renew_s

    def fill(self, name: str, *tables: Table) -> None:
        """These tables of a switch, and no others, take no more entries: the NVE is not well until there are none."""
        self.sites[name].switch.full = {table.value for table in tables}
        self.disturb(name)

    def announce(self, name: str, mac: int, vni: int, *, comes: bool) -> None:
        """A tenant system comes or goes behind an NVE."""
        site = self.sites[name]
        if site.agent is None:
            return
        place = 1, vni
        one = Attachment(*place, vni, mac, (), "") if comes else Release(*place, vni, mac)
        agent = site.agent

        async def ask() -> None:
            with contextlib.suppress(Nvo3secError, asyncio.CancelledError):
                await agent.announce(one)

        self._adopt()
        self.loop.create_task(ask())
