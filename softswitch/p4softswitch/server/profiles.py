# SPDX-License-Identifier: Apache-2.0
"""The action profiles of a pipeline, and what the entries of its tables refer to in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from finsy.proto import p4r

from ..engine_api import Action, Engine, ProfileRef
from . import entries
from .changes import Change, Changes, Kind
from .entries import Key
from .hold import Hold
from .profile import ActionProfile
from .schema import Schema, Table
from .status import Code, P4Error, invalid


class Profiles:
    """The action profiles of one pipeline, and what the entries of its tables refer to. Not thread-safe."""

    def __init__(self, schema: Schema, engine: Engine, changes: Changes) -> None:
        self._schema = schema
        self._changes = changes
        self._profiles = {number: ActionProfile(p, schema, engine) for number, p in schema.profiles.items()}
        self._references: dict[tuple[int, Key], ProfileRef] = {}
        self._pending: tuple[ActionProfile, ProfileRef] | None = None

    def _of(self, number: int) -> ActionProfile:
        if number not in self._profiles:
            raise invalid(f"Invalid P4 id: there is no action profile {number:#010x}")
        return self._profiles[number]

    def _selected(self, number: int) -> list[ActionProfile]:
        return [self._of(number)] if number else list(self._profiles.values())

    def held(self) -> str | None:
        """See `Pipeline.held`."""
        found = next((profile.profile for profile in self._profiles.values() if not profile.is_empty), None)
        return None if found is None else f"what is in action profile {found.name}"

    def member_write(self, update: int, member: Any) -> None:
        """A p4.v1.ActionProfileMember of a Write.

        Raises:
            P4Error: nothing was changed.
        """
        self._of(member.action_profile_id).member_write(update, member)
        self._changes.note(Kind.MEMBER, member.action_profile_id, member.member_id, refers=True)

    def group_write(self, update: int, group: Any) -> None:
        """A p4.v1.ActionProfileGroup of a Write.

        Raises:
            P4Error: nothing was changed.
        """
        self._of(group.action_profile_id).group_write(update, group)
        self._changes.note(Kind.GROUP, group.action_profile_id, group.group_id, refers=True)

    def member_read(self, member: Any, hold: Hold) -> Iterator[Any]:
        """The same of a Read: profile 0 is every action profile, member 0 every member, as they are at one moment."""
        for profile in self._selected(member.action_profile_id):
            with hold():
                found = profile.members(member.member_id)
            for number, call in found:
                yield profile.member_entity(number, call)

    def group_read(self, group: Any, hold: Hold) -> Iterator[Any]:
        """The same of a Read: profile 0 is every action profile, group 0 every group, as they are at one moment."""
        for profile in self._selected(group.action_profile_id):
            with hold():
                found = profile.groups(group.group_id)
            for number, max_size, weights in found:
                yield profile.group_entity(number, max_size, weights)

    def entity_of(self, change: Change) -> tuple[Any, Any | None]:
        """See `Pipeline.entity_of`."""
        name = p4r.Entity()
        profile, number = self._of(change.owner), change.key
        assert isinstance(number, int)
        if change.kind is Kind.MEMBER:
            name.action_profile_member.action_profile_id, name.action_profile_member.member_id = change.owner, number
            return name, next((profile.member_entity(*found) for found in profile.members(number)), None)
        name.action_profile_group.action_profile_id, name.action_profile_group.group_id = change.owner, number
        return name, next((profile.group_entity(*found) for found in profile.groups(number)), None)

    @staticmethod
    def reference_of(entity: Any) -> Change | None:
        """See `Pipeline.reference_of`."""
        if entity.HasField("action_profile_member"):
            member = entity.action_profile_member
            return Change(Kind.MEMBER, member.action_profile_id, member.member_id)
        if entity.HasField("action_profile_group"):
            return Change(
                Kind.GROUP, entity.action_profile_group.action_profile_id, entity.action_profile_group.group_id
            )
        return None

    # Tables: `action` while an entry is checked, `commit` once the engine has it, `settle` whatever came of it.

    def action(self, table: Table, entry: Any) -> Action:
        """What a p4.v1.TableEntry that `entries.check_action` has admitted refers to, or calls where the table has no
        action profile.

        Raises:
            P4Error: see the specification, 9.1.2.
        """
        if table.profile is None:
            return entries.action_call(self._schema, entry.action.action)
        profile = self._of(table.profile)
        reference = profile.reference(entry.action)
        if reference.group and reference.handle in profile.one_shots:
            self._pending = (profile, reference)
        return reference

    def commit(self, table: Table, key: Key, action: Action) -> None:
        """The entry is in the table with that action; what it had before is let go."""
        if not isinstance(action, ProfileRef) or table.profile is None:
            return
        self._pending = None
        profile = self._of(table.profile)
        before = self._references.get((table.id, key))
        self._references[table.id, key] = action
        profile.uses[action] += 1
        if before is not None:
            self._let_go(profile, before)

    def forget(self, table: Table, key: Key) -> None:
        """The entry is gone."""
        reference = self._references.pop((table.id, key), None)
        if reference is not None and table.profile is not None:
            self._let_go(self._of(table.profile), reference)

    @staticmethod
    def _let_go(profile: ActionProfile, reference: ProfileRef) -> None:
        profile.uses[reference] -= 1
        if not profile.uses[reference]:
            del profile.uses[reference]
            profile.release(reference)

    def settle(self) -> None:
        """A one-shot group whose entry was refused after it had been made ends."""
        pending, self._pending = self._pending, None
        if pending is not None:
            profile, reference = pending
            profile.release(reference)

    def written(self, table: Table, reference: ProfileRef) -> Any:
        """The p4.v1.TableAction of an entry that is read, not to be changed. While nothing is written."""
        if table.profile is None:
            raise P4Error(Code.INTERNAL, f"table {table.name}: an entry has no action")
        return self._of(table.profile).written(reference)
