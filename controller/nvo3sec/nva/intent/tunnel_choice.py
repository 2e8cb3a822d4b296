# SPDX-License-Identifier: Apache-2.0
"""Which tunnels an operator means who names NVEs or a VN. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from nvo3sec.domain.overlay.membership import Membership, Tunnel
from nvo3sec.domain.overlay.model import Domain
from nvo3sec.errors import OperatorError, no_such


def choose_tunnels(
    domain: Domain, membership: Membership, tunnels: Iterable[Tunnel], nves: Iterable[str], vn: str | None
) -> list[Tunnel]:
    """All tunnels; those of one NVE; those between several. Of these, with `vn`, the ones that carry it.

    Raises OperatorError for a name that does not exist.
    """
    names = set(nves)
    if unknown := names - set(domain.nve_by_name):
        raise no_such("NVE", ", ".join(sorted(unknown)), domain.nve_by_name)
    if vn is not None and vn not in domain.vn_by_name:
        raise no_such("VN", vn, domain.vn_by_name)

    def is_chosen(tunnel: Tunnel) -> bool:
        ends = {tunnel.sender, tunnel.receiver}
        if names and not (names & ends if len(names) == 1 else ends <= names):
            return False
        return vn is None or any(
            one.name == vn and tunnel.suite.level in membership.levels_between(tunnel.sender, tunnel.receiver, one)
            for one in membership.shared(tunnel.sender, tunnel.receiver)
        )

    return [tunnel for tunnel in tunnels if is_chosen(tunnel)]


def some_tunnels(
    domain: Domain, membership: Membership, tunnels: Iterable[Tunnel], nves: Iterable[str], vn: str | None
) -> list[Tunnel]:
    """As `choose_tunnels`, and at least one of what is named: raises OperatorError also where there is none."""
    names = sorted(set(nves))
    chosen = choose_tunnels(domain, membership, tunnels, names, vn)
    if not chosen and (names or vn is not None):
        *others, last = names or [""]
        where = f" between {', '.join(others)} and {last}" if others else f" of {last}" if last else ""
        raise OperatorError(f"there is no tunnel{where}" if vn is None else f"no tunnel{where} carries {vn}")
    return chosen
