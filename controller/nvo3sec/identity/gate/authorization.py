# SPDX-License-Identifier: Apache-2.0
"""Who may call what, about what: one table, denied by default. Pure.

A rule is (method, role, scope): a caller of that role may call that method about what lies within that scope. What a
message is about (its VNs, its devices) is said by the method's `subject`, a function of the message; who serves which
VN is said by `Membership`. Both are given by the service; the decision is made here, and tests enumerate it in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Any, Protocol

from nvo3sec.errors import AuthorizationError
from nvo3sec.identity.certificate import Identity
from nvo3sec.identity.gate.limits import MethodLimits
from nvo3sec.identity.names import DeviceName, Role

NO_SUCH_CALL = "may not call this method"
"""How the refusal of a call ends that is in no rule, be it for the role or because there is no such method."""


@unique
class Scope(Enum):
    """What a message may be about. The VNs and the devices of its subject are checked, each one."""

    ANYTHING = "anything"
    """Everything in the domain."""
    NOTHING = "nothing"
    """Nothing in particular: a message that names a VN or a device is refused."""
    SELF = "self"
    """Only the caller itself, and no VN."""
    SERVED_VNS = "served-vns"
    """VNs that the caller serves, and no device but the caller itself."""


@dataclass(frozen=True)
class Subject:
    """What a message is about: VNs by their VNI, devices by their names."""

    vnis: frozenset[int] = frozenset()
    devices: frozenset[DeviceName] = frozenset()


SubjectOf = Callable[[Any], Subject]
"""From a request message to its subject. May raise AuthorizationError for a message that does not say it."""


class Membership(Protocol):
    """Who serves which VN; asked for each message, so that a change takes effect at once."""

    def vnis_of(self, device: DeviceName) -> frozenset[int]:
        """The VNs that a device serves now; none for a device that is unknown."""


@dataclass(frozen=True)
class Method:
    """A method: its full name (`/package.Service/Method`), what it takes, and what its messages are about."""

    name: str
    limits: MethodLimits
    subject: SubjectOf | None = None


@dataclass(frozen=True)
class Rule:
    """Callers of `role` may call `method` about what lies within `scope`."""

    method: str
    role: Role
    scope: Scope


@dataclass(frozen=True)
class AccessTable:
    """All methods of a server and all rules about them. What no rule allows is refused.

    Raises ValueError at construction for a table that would not say what it seems to.
    """

    methods: Sequence[Method]
    rules: Sequence[Rule]
    _methods: Mapping[str, Method] = field(init=False, repr=False, compare=False)
    _scopes: Mapping[tuple[str, Role], Scope] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        methods = {method.name: method for method in self.methods}
        scopes = {(rule.method, rule.role): rule.scope for rule in self.rules}
        if len(methods) != len(self.methods):
            raise ValueError("a method is there twice")
        if len(scopes) != len(self.rules):
            raise ValueError("two rules are about the same method and role")
        for rule in self.rules:
            if rule.method not in methods:
                raise ValueError(f"a rule is about {rule.method}, which is no method of the table")
            if rule.scope is not Scope.ANYTHING and methods[rule.method].subject is None:
                raise ValueError(f"{rule.method} has a scope but does not say what its messages are about")
        object.__setattr__(self, "_methods", methods)
        object.__setattr__(self, "_scopes", scopes)

    def matrix(self) -> Iterator[tuple[Method, Role, Scope | None]]:
        """Every method with every role: its scope, or None where the call is refused."""
        for method in self.methods:
            for role in Role:
                yield method, role, self._scopes.get((method.name, role))

    def call(self, method: str, identity: Identity) -> tuple[Method, Scope]:
        """Whether `identity` may call `method` at all, before any message is read. Raises AuthorizationError."""
        known = self._methods.get(method)
        scope = self._scopes.get((method, identity.role))
        if known is None or scope is None:
            # The same for a method that does not exist: a caller learns nothing about what there is.
            raise AuthorizationError(f"a caller of role {identity.role.value} {NO_SUCH_CALL}")
        return known, scope

    def message(self, method: Method, scope: Scope, identity: Identity, message: Any, membership: Membership) -> None:
        """Whether `identity` may send this message in a call that `call` allowed. Raises AuthorizationError."""
        if scope is Scope.ANYTHING:
            return
        if method.subject is None:
            raise AuthorizationError("the message does not say what it is about")
        _check_subject(scope, identity.device, method.subject(message), membership)

    def explain(self, method: str, device: DeviceName, subject: Subject, membership: Membership) -> Verdict:
        """What a call of `device` with a message about `subject` would be answered, and why: for operators."""
        known, scope = self._methods.get(method), self._scopes.get((method, device.role))
        if known is None:
            return Verdict(False, None, "there is no such method")
        if scope is None:
            roles = sorted(rule.role.value for rule in self.rules if rule.method == method)
            return Verdict(
                False,
                None,
                f"no rule is about role {device.role.value}; there are rules about: {', '.join(roles) or 'none'}",
            )
        if scope is not Scope.ANYTHING:
            try:
                _check_subject(scope, device, subject, membership)
            except AuthorizationError as refused:
                return Verdict(False, scope, str(refused))
        return Verdict(True, scope, f"a rule lets role {device.role.value} call it, within {scope.value}")


@dataclass(frozen=True)
class Verdict:
    """What a call would be answered. scope: that of the rule about it, or None if there is none."""

    allowed: bool
    scope: Scope | None
    reason: str


def _check_subject(scope: Scope, device: DeviceName, subject: Subject, membership: Membership) -> None:
    if subject.devices - (frozenset() if scope is Scope.NOTHING else {device}):
        raise AuthorizationError("the message is about another device")
    allowed = membership.vnis_of(device) if scope is Scope.SERVED_VNS else frozenset()
    strange = sorted(subject.vnis - allowed)
    if strange:
        shown = ", ".join(map(str, strange[:4])) + (", ..." if len(strange) > 4 else "")
        raise AuthorizationError(f"the caller does not serve the VN {shown}")
