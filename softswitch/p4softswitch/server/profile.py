# SPDX-License-Identifier: Apache-2.0
"""One action profile: members, groups and one-shot action sets (P4Runtime specification 9.2).

The engine knows handles, this module what they stand for. Handles are given out as BMv2 does it (the lowest that is
free), and a member of weight w stands in a group by w handles of its own: so both switches choose the same member for a
packet. Unlike there, a change is one step with respect to packets, and what is refused has changed nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from finsy.proto import p4r

from ..engine_api import ActionCall, Engine, EngineError, ProfileRef
from . import entries
from .handles import Handles, Weights
from .schema import Prefix, Profile, Schema, Scope
from .status import Code, P4Error, invalid, unimplemented

_MAX_MEMBERS_OF_GROUP = 1 << 12
"""Where the p4info says nothing."""


@dataclass
class _Member:
    """handles: one, and more as far as a group has it with a larger weight."""

    call: ActionCall
    handles: list[int]
    weights: Weights = field(default_factory=Weights)


@dataclass
class _Group:
    handle: int
    max_size: int
    weights: dict[int, int] = field(default_factory=dict)


@dataclass
class _OneShot:
    """A group that an entry brought with it: the p4.v1.TableAction of it, the handles of its members."""

    handle: int
    action: Any
    members: list[int]


class ActionProfile:
    """One action profile. Raises P4Error with nothing changed."""

    def __init__(self, profile: Profile, schema: Schema, engine: Engine) -> None:
        self.profile = profile
        self._schema = schema
        self._engine = engine
        self._member_handles = Handles(f"action profile {profile.name}")
        self._group_handles = Handles(f"action profile {profile.name}")
        self._members: dict[int, _Member] = {}
        self._groups: dict[int, _Group] = {}
        self._member_ids: dict[int, int] = {}
        """By the handle that entries refer to, a member's first."""
        self._group_ids: dict[int, int] = {}
        self.one_shots: dict[int, _OneShot] = {}
        self.uses: Counter[ProfileRef] = Counter()

    # -------------------------------------------------------------------- checks

    def _where(self, text: str) -> str:
        return f"action profile {self.profile.name}: {text}"

    def _call(self, action: Any) -> ActionCall:
        number = action.action_id
        if number >> 24 != Prefix.ACTION or number not in self._schema.actions:
            raise invalid(f"Invalid P4 id: there is no action {number:#010x}")
        self._check_admitted(number)
        return entries.action_call(self._schema, action)

    def _check_admitted(self, number: int) -> None:
        """Every table of the profile may refer to whatever is in it, so its entries must be able to have the action."""
        tables, name = self.profile.tables, self._schema.actions[number].name
        if not any(number in table.actions for table in tables):
            raise invalid(self._where(f"action {name} is none of its tables'"))
        for table in tables:
            scope = table.actions.get(number)
            if scope is None:
                raise invalid(self._where(f"table {table.name}, which refers to it too, has no action {name}"))
            if scope is Scope.DEFAULT_ONLY:
                raise P4Error(
                    Code.PERMISSION_DENIED,
                    self._where(f"in table {table.name} {name} can only be the default action"),
                )

    def _check_watch(self, message: Any) -> None:
        if message.watch_port or message.watch:
            raise unimplemented(self._where("watch ports are not supported"))

    def _check_weights(self, weights: list[int], limit: int) -> None:
        if any(weight <= 0 for weight in weights):
            raise invalid(self._where("the weight of a member is a positive number"))
        if sum(weights) > (limit or _MAX_MEMBERS_OF_GROUP):
            raise P4Error(Code.RESOURCE_EXHAUSTED, self._where("the weights exceed the size of the group"))

    def manual(self) -> None:
        """Members and groups by id: not while entries bring their own."""
        if self.one_shots:
            raise invalid(self._where("entries bring their own actions; the two ways are not to be mixed"))

    # ------------------------------------------------------------------- members

    def member_write(self, update: int, proto: Any) -> None:
        """A p4.v1.ActionProfileMember."""
        self.manual()
        number = proto.member_id
        found = self._members.get(number)
        if update == p4r.Update.DELETE:
            self._delete_member(number, found)
            return
        call = self._call(proto.action)
        if update == p4r.Update.INSERT:
            if not number:
                raise invalid(self._where("member 0 stands for all of them"))
            if found is not None:
                raise P4Error(Code.ALREADY_EXISTS, self._where(f"there is a member {number}"))
            member = self._members[number] = _Member(call, self._new_members(call, 1))
            self._member_ids[member.handles[0]] = number
        elif update == p4r.Update.MODIFY:
            if found is None:
                raise self._no_member(number)
            self._engine.profile_members_set(self.profile.name, found.handles, call)
            found.call = call
        else:
            raise invalid("the update type is not set, or unknown")

    def _no_member(self, number: int) -> P4Error:
        return P4Error(Code.NOT_FOUND, self._where(f"there is no member {number}"))

    def _new_members(self, call: ActionCall, count: int) -> list[int]:
        handles = self._member_handles.take(count)
        try:
            self._engine.profile_members_set(self.profile.name, handles, call)
        except EngineError:
            self._member_handles.give(handles)
            raise
        return handles

    def _drop_members(self, handles: list[int]) -> None:
        for handle in handles:
            self._engine.profile_member_delete(self.profile.name, handle)
        self._member_handles.give(handles)

    def _delete_member(self, number: int, found: _Member | None) -> None:
        if found is None:
            raise self._no_member(number)
        if found.weights or self.uses[ProfileRef(found.handles[0])]:
            raise P4Error(Code.UNKNOWN, self._where(f"member {number} is used by a group or an entry"))
        del self._members[number]
        del self._member_ids[found.handles[0]]
        self._drop_members(found.handles)

    # -------------------------------------------------------------------- groups

    def group_write(self, update: int, proto: Any) -> None:
        """A p4.v1.ActionProfileGroup."""
        self.manual()
        if not self.profile.with_selector:
            raise invalid(self._where("it has no selector, so it has no groups"))
        number = proto.group_id
        found = self._groups.get(number)
        if update == p4r.Update.INSERT:
            self._insert_group(number, proto)
        elif update not in (p4r.Update.MODIFY, p4r.Update.DELETE):
            raise invalid("the update type is not set, or unknown")
        elif found is None:
            raise P4Error(Code.NOT_FOUND, self._where(f"there is no group {number}"))
        elif update == p4r.Update.MODIFY:
            if proto.max_size and proto.max_size != found.max_size:
                raise invalid(self._where("max_size of a group is set when it is inserted"))
            self._set_group(found, self._weights(proto, found.max_size))
        else:
            if self.uses[ProfileRef(found.handle, group=True)]:
                raise P4Error(Code.UNKNOWN, self._where(f"group {number} is used by an entry"))
            self._engine.profile_group_delete(self.profile.name, found.handle)
            del self._groups[number]
            del self._group_ids[found.handle]
            self._group_handles.give([found.handle])
            self._weigh(found.weights, {})
            self._drop_copies(found.weights)

    def _insert_group(self, number: int, proto: Any) -> None:
        limit = self.profile.max_group_size
        if not number:
            raise invalid(self._where("group 0 stands for all of them"))
        if proto.max_size < 0 or (limit and proto.max_size > limit):
            raise invalid(self._where(f"max_size of a group is 0 to {limit or 'any number'}"))
        if number in self._groups:
            raise P4Error(Code.ALREADY_EXISTS, self._where(f"there is a group {number}"))
        weights = self._weights(proto, proto.max_size)
        group = _Group(self._group_handles.take()[0], proto.max_size)
        try:
            self._set_group(group, weights)
        except (P4Error, EngineError):
            self._group_handles.give([group.handle])
            raise
        self._groups[number] = group
        self._group_ids[group.handle] = number

    def _weights(self, proto: Any, max_size: int) -> dict[int, int]:
        limits = [n for n in (max_size, self.profile.max_group_size) if n]
        self._check_weights([m.weight for m in proto.members], min(limits, default=0))
        weights: dict[int, int] = {}
        for member in proto.members:
            self._check_watch(member)
            if member.member_id not in self._members:
                raise self._no_member(member.member_id)
            if member.member_id in weights:
                raise invalid(self._where(f"member {member.member_id} stands twice in a group; it can have a weight"))
            weights[member.member_id] = member.weight
        return weights

    def _set_group(self, group: _Group, weights: dict[int, int]) -> None:
        """Copies for the weights, the group in one step, then without the copies that nothing needs any more."""
        before = group.weights
        try:
            for number, weight in sorted(weights.items()):
                member = self._members[number]
                missing = weight - len(member.handles)
                if missing > 0:
                    member.handles += self._new_members(member.call, missing)
            handles = [h for number, weight in weights.items() for h in self._members[number].handles[:weight]]
            self._engine.profile_group_set(self.profile.name, group.handle, handles)
            self._weigh(before, weights)
            group.weights = weights
        finally:
            self._drop_copies(before.keys() | weights.keys())

    def _weigh(self, before: Mapping[int, int], after: Mapping[int, int]) -> None:
        """A group has other members, or others of their weights."""
        for number, weight in before.items():
            self._members[number].weights.remove(weight)
        for number, weight in after.items():
            self._members[number].weights.add(weight)

    def _drop_copies(self, members: Iterable[int]) -> None:
        """Those that no group needs."""
        for number in members:
            member = self._members[number]
            needed = max(1, member.weights.largest())
            if len(member.handles) > needed:
                member.handles, surplus = member.handles[:needed], member.handles[needed:]
                self._drop_members(surplus)

    # ------------------------------------------------------------------- entries

    def reference(self, action: Any) -> ProfileRef:
        """What an entry with a p4.v1.TableAction refers to; one-shot groups are made, and stand in `one_shots`."""
        kind = action.WhichOneof("type")
        if kind == "action_profile_action_set":
            return self._one_shot(action.action_profile_action_set)
        self.manual()
        if kind == "action_profile_member_id" and action.action_profile_member_id in self._members:
            return ProfileRef(self._members[action.action_profile_member_id].handles[0])
        if kind == "action_profile_group_id" and action.action_profile_group_id in self._groups:
            return ProfileRef(self._groups[action.action_profile_group_id].handle, group=True)
        raise invalid(self._where("there is no such member or group"))

    def _one_shot(self, action_set: Any) -> ProfileRef:
        if self._members or self._groups:
            raise invalid(self._where("it has members or groups; the two ways are not to be mixed"))
        if not self.profile.with_selector:
            raise invalid(self._where("it has no selector, so it takes no action sets"))
        if not action_set.action_profile_actions:
            raise unimplemented(self._where("an action set without an action"))
        self._check_weights([a.weight for a in action_set.action_profile_actions], self.profile.max_group_size)
        actions: list[tuple[ActionCall, int]] = []
        written = p4r.TableAction()
        for item in action_set.action_profile_actions:
            self._check_watch(item)
            call = self._call(item.action)
            actions.append((call, item.weight))
            told = written.action_profile_action_set.action_profile_actions.add(weight=item.weight)
            told.action.CopyFrom(entries.write_action(self._schema, call))
        members: list[int] = []
        handle = self._group_handles.take()[0]
        try:
            for call, weight in actions:
                members += self._new_members(call, weight)
            self._engine.profile_group_set(self.profile.name, handle, members)
        except (P4Error, EngineError):
            self._drop_members(members)
            self._group_handles.give([handle])
            raise
        self.one_shots[handle] = _OneShot(handle, written, members)
        return ProfileRef(handle, group=True)

    def release(self, reference: ProfileRef) -> None:
        """Nothing refers to it any more: the end of a one-shot group."""
        found = self.one_shots.pop(reference.handle, None) if reference.group else None
        if found is not None:
            self._engine.profile_group_delete(self.profile.name, found.handle)
            self._group_handles.give([found.handle])
            self._drop_members(found.members)

    # --------------------------------------------------------------------- reads

    def written(self, reference: ProfileRef) -> Any:
        """The p4.v1.TableAction of an entry with it, not to be changed."""
        if not reference.group:
            return p4r.TableAction(action_profile_member_id=self._member_ids[reference.handle])
        if reference.handle in self.one_shots:
            return self.one_shots[reference.handle].action
        return p4r.TableAction(action_profile_group_id=self._group_ids[reference.handle])

    def members(self, wanted: int) -> list[tuple[int, ActionCall]]:
        """One member, or all for 0; one that is not there is no error, as on BMv2."""
        if wanted:
            return [(wanted, self._members[wanted].call)] if wanted in self._members else []
        return [(number, member.call) for number, member in self._members.items()]

    def groups(self, wanted: int) -> list[tuple[int, int, dict[int, int]]]:
        """Number, size and weights of one group, or of all for 0; one that is not there is no error, as on BMv2."""
        numbers = [wanted] if wanted in self._groups else [] if wanted else list(self._groups)
        return [(number, self._groups[number].max_size, self._groups[number].weights) for number in numbers]

    @property
    def is_empty(self) -> bool:
        """No member, no group, no action set."""
        return not (self._members or self._groups or self.one_shots)

    def member_entity(self, number: int, call: ActionCall) -> Any:
        """The p4.v1.Entity of a member."""
        entity = p4r.Entity()
        found = entity.action_profile_member
        found.action_profile_id, found.member_id = self.profile.id, number
        found.action.CopyFrom(entries.write_action(self._schema, call))
        return entity

    def group_entity(self, number: int, max_size: int, weights: dict[int, int]) -> Any:
        """The p4.v1.Entity of a group."""
        entity = p4r.Entity()
        found = entity.action_profile_group
        found.action_profile_id, found.group_id, found.max_size = self.profile.id, number, max_size
        for member, weight in sorted(weights.items()):
            found.members.add(member_id=member, weight=weight)
        return entity
