# SPDX-License-Identifier: Apache-2.0
"""Where keys leave: derived as they are handed out, and not before what must never be repeated is stored."""

from __future__ import annotations

from collections.abc import Iterable

from nvo3sec.domain.keys.contribution import Pair
from nvo3sec.domain.keys.derivation import Party, tunnel_info
from nvo3sec.domain.keys.sa import Direction, Sa, receiver_sas, sender_sa
from nvo3sec.domain.keys.secret import Secret
from nvo3sec.domain.messages.session import ReceiveSa, SendSa
from nvo3sec.domain.overlay.addresses import UnderlayAddress
from nvo3sec.domain.overlay.membership import Tunnel
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import DerivationError
from nvo3sec.nva.keys.contribution_relay import PeerRelay
from nvo3sec.nva.keys.epochs import Epochs
from nvo3sec.nva.keys.generations import Generations
from nvo3sec.nva.keys.messages import receive_sa, send_sa
from nvo3sec.nva.reports.confinement import Confinement
from nvo3sec.nva.store.records import Store


class Door:
    """Of one key service. The secret of an epoch, and a mark above each generation, are stored in `commit`, for all
    that has come up since the last time: so a rotation of many thousand keys costs a commit or two."""

    def __init__(
        self,
        domain: Domain,
        store: Store,
        epochs: Epochs,
        generations: Generations,
        relay: PeerRelay | None,
        confinement: Confinement,
    ) -> None:
        self._domain = domain
        self._store = store
        self._epochs = epochs
        self._generations = generations
        self._relay = relay
        self._confinement = confinement
        self._parties: dict[tuple[str, UnderlayAddress], Party] = {}

    def configure(self, domain: Domain) -> None:
        """Ends of tunnels are where this domain says, from now on."""
        self._domain = domain
        self._parties.clear()

    def commit(self) -> None:
        """Store what is not stored yet. Raises StoreError."""
        changes = (*self._epochs.changes, *self._generations.changes)
        if changes:
            self._store.commit(changes)
            self._epochs.stored()
            self._generations.stored()

    def hand_out(
        self, nve: str, directions: Iterable[Direction], now: float
    ) -> tuple[tuple[ReceiveSa, ...], tuple[SendSa, ...]]:
        """Every key that the switch of `nve` should hold for `directions`. Raises StoreError, and hands out nothing."""
        self.commit()
        receive: list[ReceiveSa] = []
        send: list[SendSa] = []
        for direction in directions:
            tunnel = direction.tunnel
            current = None if tunnel.receiver == nve else sender_sa(direction)
            sas = receiver_sas(direction) if tunnel.receiver == nve else () if current is None else (current,)
            try:
                told = [(sa, self._key(direction, sa), sa.hard_at - now, self._pair(nve, tunnel, sa)) for sa in sas]
            except Exception as error:  # noqa: BLE001  # not told: the direction closes, and the others go on
                self._confinement.note("keys", nve, str(tunnel), error)
                continue
            if tunnel.receiver == nve:
                receive += [receive_sa(tunnel, *one) for one in told]
            else:
                send += [send_sa(tunnel, *one) for one in told]
        return tuple(receive), tuple(send)

    def _key(self, direction: Direction, sa: Sa) -> Secret | None:
        if sa.inherited:
            return None
        tunnel = direction.tunnel
        nves = self._domain.nve_by_name
        ends = nves[tunnel.sender].ends_with(nves[tunnel.receiver])
        if ends is None:
            raise DerivationError(f"{tunnel}: the two have no family of addresses in common")
        sender = self._party(tunnel.sender, ends[0], direction.sender.incarnation)
        receiver = self._party(tunnel.receiver, ends[1], direction.receiver.incarnation)
        return self._epochs.key(sa.epoch).expand(tunnel_info(tunnel.suite, sender, receiver, sa.spi, sa.generation))

    def _party(self, nve: str, address: UnderlayAddress, incarnation: bytes) -> Party:
        party = self._parties.get((nve, address))
        if party is None or party.incarnation != incarnation:
            party = self._parties[nve, address] = Party(nve, address, incarnation)
        return party

    def _pair(self, nve: str, tunnel: Tunnel, sa: Sa) -> Pair | None:
        return None if self._relay is None else self._relay.pair_of(nve, tunnel, sa.spi)
