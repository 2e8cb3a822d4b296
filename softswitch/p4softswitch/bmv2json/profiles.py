# SPDX-License-Identifier: Apache-2.0
"""Action profiles: actions that entries of tables refer to, alone or as a group out of which a hash chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p4softswitch.bmv2json import program as ir
from p4softswitch.bmv2json.reader import malformed, name_of, read_each

INDIRECT, WITH_SELECTOR = "indirect", "indirect_ws"


class ProfileReader:
    """Reads the profiles of all pipelines; `calculation` reads what a selector hashes."""

    def __init__(self, calculation: Callable[[int, Any], ir.Calculation], first_calculation: int) -> None:
        self.profiles: dict[str, ir.ActionProfile] = {}
        self.calculations: list[ir.Calculation] = []
        self._calculation = calculation
        self._first = first_calculation

    def _add(self, name: str, selector: Any, where: str) -> ir.ActionProfile:
        if name in self.profiles:
            malformed(f"two action profiles are called {name}", where)
        chosen = None
        if selector is not None:
            node = {"name": f"selector of {name}", "algo": selector["algo"], "input": selector["input"]}
            chosen = self._calculation(self._first + len(self.calculations), node)
            self.calculations.append(chosen)
        self.profiles[name] = profile = ir.ActionProfile(name, len(self.profiles), chosen)
        return profile

    def pipeline(self, node: Any) -> None:
        """Those that stand beside the tables."""
        read_each(
            node,
            "action_profiles",
            "action profile",
            lambda entry: self._add(name_of(entry, "action_profiles"), entry.get("selector"), f"{entry['name']}"),
        )

    def of_table(self, node: Any, where: str) -> ir.ActionProfile | None:
        """That of a table, which in the older form stands within it; None for a table with actions of its own."""
        kind = node["type"]
        if kind == "simple":
            return None
        if kind not in (INDIRECT, WITH_SELECTOR):
            malformed(f"type {kind!r}", where)
        if "action_profile" in node:
            if node["action_profile"] not in self.profiles:
                malformed(f"there is no action profile {node['action_profile']}", where)
            profile = self.profiles[node["action_profile"]]
        else:
            selector = node["selector"] if kind == WITH_SELECTOR else None
            profile = self._add(node["act_prof_name"], selector, where)
        if kind == WITH_SELECTOR and profile.selector is None:
            malformed(f"action profile {profile.name} has no selector", where)
        if "entries" in node or (node.get("default_entry") or {}).get("action_const"):
            malformed("entries or a constant default action beside an action profile", where)
        return profile
