# SPDX-License-Identifier: Apache-2.0
"""What an attack is, what it did, and when it counts as held off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nvo3lab.drill.world import World


@dataclass(frozen=True)
class Shot:
    """What an attacker sent.

    Attributes:
        sent: packets sent by the attacker.
        drops: of these, how many a switch must drop and count; the others may arrive, changed into what was sent by a
        legitimate
            sender, or be handed to an agent.
        bait: packets of legitimate senders that must arrive, exactly once each.
        note: what else was measured, for people.
        faults: what else was not as it must be.
        refused: attempts on the control plane that were refused, by how the attacker was told.
        accepted: attempts on the control plane that were not.
        lapsed: the NVA was away for longer than a lease lasts. Tunnels close then, as they must, and what is sent
            meanwhile is lost: that says something of the machine only.
    """

    sent: int
    drops: int
    bait: int = 0
    note: str = ""
    faults: tuple[str, ...] = ()
    refused: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    lapsed: bool = False


CLOSED = frozenset({"TX_LEASE_EXPIRED", "LEASE_EXPIRED"})
"""What a switch without a lease says of packets into its tunnels, and out of them."""
NOT_OPEN_YET = frozenset({"TX_INCARNATION", "TX_LEASE_ABSENT", "TX_NO_SA"})
"""What a switch that its agent is still filling says of packets into its tunnels."""


@dataclass(frozen=True)
class Attack:
    """One attack of the drill.

    Attributes:
        who: outsider, insider or tenant (sections 4.1, 4.2, 4.3 of the requirements draft); control: anybody at the
            NVA's port; keys: an outsider with a recording, while keys turn over and processes are killed.
        reasons: the drop reasons that may catch it; any other one is a fault, and so is silence.
        own: drop reasons of what hosts say by themselves meanwhile; they catch nothing of the attack.
        refusals: the ways in which attempts on the control plane may end.
        is_final: whether the lab is another one afterwards, so that nothing can be played after it.
    """

    name: str
    who: str
    summary: str
    reasons: frozenset[str]
    launch: Callable[[World], Awaitable[Shot]]
    refusals: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    is_final: bool = False


@dataclass(frozen=True)
class Traffic:
    """Legitimate traffic beside an attack: round trips of echoes, milliseconds."""

    sent: int
    lost: int
    median_ms: float | None
    p99_ms: float | None

    @property
    def loss(self) -> float:
        """Share of requests without an answer."""
        return self.lost / self.sent if self.sent else 1.0


@dataclass
class Result:
    """An attack and everything that was measured about it."""

    name: str
    who: str
    summary: str
    sent: int
    through: int
    caught: dict[str, int]
    baseline: Traffic
    beside: Traffic
    seconds: float
    note: str = ""
    faults: list[str] = field(default_factory=list)
    arrived: int = 0
    """Packets that had to arrive, and did."""
    refused: dict[str, int] = field(default_factory=dict)
    """Of what is in `caught`, attempts on the control plane: those are no packets."""

    @property
    def drops(self) -> dict[str, int]:
        """Packets that switches dropped, by reason: what is in `caught` and was no attempt."""
        found = {how: count - self.refused.get(how, 0) for how, count in self.caught.items()}
        return {reason: count for reason, count in found.items() if count}

    @property
    def uncounted(self) -> int:
        """Packets that nobody was there to count: sent towards a switch that was killed, or had no program yet."""
        return max(self.sent - self.arrived - self.through - sum(self.caught.values()), 0)

    @property
    def held(self) -> bool:
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"held": self.held}


def judge(
    attack: Attack, shot: Shot, caught: dict[str, int], arrived: dict[str, int], baseline: Traffic, beside: Traffic
) -> tuple[int, list[str]]:
    """How many packets got through, and in words everything that did not hold. Pure.

    Legitimate traffic may not lose anything. How long it takes is shown beside the attack and not judged: the lab
    shares its processors with whatever else runs, and a bound that holds on a busy machine says nothing on a quiet one.

    Args:
        caught: drop reason → packets.
        arrived: kind of the hosts' ledgers → frames, all hosts together.
    """
    faults = list(shot.faults)
    extra_bait = max(arrived["bait"] - shot.bait, 0)
    through = arrived["marked"] + arrived["other"] + arrived["duplicate"] + extra_bait
    if through:
        faults.append(f"{through} packets got through to hosts")
    if shot.accepted:
        faults.append(f"{shot.accepted} attempts were accepted")
        through += shot.accepted
    if strange := {how: count for how, count in shot.refused.items() if how not in attack.refusals}:
        faults.append("attempts ended otherwise: " + ", ".join(f"{how} {count}" for how, count in strange.items()))
    if arrived["bait"] < shot.bait:
        faults.append(f"only {arrived['bait']} of {shot.bait} legitimate packets arrived")
    closed = CLOSED if shot.lapsed else frozenset()
    expected = sum(count for reason, count in caught.items() if reason in attack.reasons)
    if expected + sum(caught.get(reason, 0) for reason in closed - attack.reasons) < shot.drops:
        faults.append(f"only {expected} of {shot.drops} packets were counted as {' or '.join(sorted(attack.reasons))}")
    unexpected = {
        reason: count for reason, count in caught.items() if reason not in attack.reasons | attack.own | closed
    }
    if unexpected:
        faults.append("drops for other reasons: " + ", ".join(f"{name} {count}" for name, count in unexpected.items()))
    if expected > shot.sent:
        faults.append(f"{expected} drops for {shot.sent} packets")
    if beside.lost and not shot.lapsed:
        faults.append(f"legitimate traffic lost {beside.lost} of {beside.sent}")
    if beside.median_ms is None or baseline.median_ms is None:
        faults.append("no legitimate traffic was measured")
    return through, faults
