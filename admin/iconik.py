"""The endpoints of iconik that only the administrator's commands need.

https://app.iconik.io/docs/reference.html
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from storage_plugin.background.iconik import USER, BackgroundIconik
from storage_plugin.errors import AccessDenied, IconikError, NotFound
from storage_plugin.iconik import FILES, id_of, lacking, needs, text_of, text_or_none
from storage_plugin.pages import rows_of
from storage_plugin.rest import Row

CUSTOM_ACTIONS = "/API/assets/v1/custom_actions/"


class User(NamedTuple):
    """A user; `name` is the e-mail address, or else the id; None: iconik did not send the field."""

    name: str
    is_admin: bool | None


@dataclass(frozen=True)
class CustomAction:
    """A custom action; `status`: HEALTHY or FAILING; `repr` omits `headers` with their secret."""

    id: str
    context: str
    title: str
    url: str
    type: str | None
    headers: Mapping[str, str] = field(repr=False)
    is_disabled: bool
    status: str | None
    last_error: str

    def __str__(self) -> str:
        return f"{self.title} ({self.context})"


class AdminIconik(BackgroundIconik):
    """The part of iconik that the commands need."""

    @needs("can_write_storages")
    def can_delete_on(self, storage_id: str) -> bool | None:
        """Return whether iconik may delete files on a storage; None: unknown."""
        path = f"{FILES}/storages/{storage_id}/verifications/permissions/"
        try:
            can_delete = self._rest.get(path).get("delete_access")
        except (AccessDenied, IconikError):  # The plugin itself does not need that role.
            return None
        return can_delete if isinstance(can_delete, bool) else None

    @needs()
    def current_user(self) -> User:
        """Return the token's user."""
        row = self._rest.get(USER)
        return User(text_or_none(row, "email") or id_of(row), row.get("is_admin"))

    @needs()
    def current_roles(self) -> list[str]:
        """List the roles of the token's user."""
        roles = self._rest.get(f"{USER}roles/").get("objects")
        return [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else []

    @needs("can_read_custom_actions")
    def custom_actions(self) -> list[CustomAction]:
        """List the custom actions of all contexts; iconik sends them on one page."""
        return [_custom_action(row) for row in rows_of(self._rest.get(CUSTOM_ACTIONS))]

    @needs("can_write_custom_actions")
    def create_custom_action(self, action: Row) -> None:
        """Create a custom action."""
        self._rest.send("POST", f"{CUSTOM_ACTIONS}{action['context']}/", json=action)

    @needs("can_write_custom_actions")
    def update_custom_action(self, action_id: str, action: Row) -> None:
        """Change a custom action, except its context."""
        path = f"{CUSTOM_ACTIONS}{action['context']}/{action_id}/"
        self._rest.send("PATCH", path, json=action)

    @needs("can_delete_custom_actions")
    def delete_custom_action(self, action: CustomAction) -> None:
        """Delete a custom action. If it is gone already, do nothing."""
        with suppress(NotFound):
            self._rest.send("DELETE", f"{CUSTOM_ACTIONS}{action.context}/{action.id}/")


def _custom_action(row: Row) -> CustomAction:
    headers, context = row.get("headers"), text_of(row, "context")
    headers = headers if isinstance(headers, dict) else {}
    last_error = text_or_none(row, "last_error") or ""
    for value in headers.values():  # The error may quote the headers, which contain a secret.
        last_error = last_error.replace(str(value), "***") if value else last_error
    if not re.fullmatch(r"[A-Z_]+", context):
        raise lacking("a proper context")  # It enters URLs.
    return CustomAction(
        id=id_of(row),
        context=context,
        title=text_or_none(row, "title") or "",
        url=text_or_none(row, "url") or "",
        type=text_or_none(row, "type"),
        headers=headers,
        is_disabled=bool(row.get("disabled")),
        status=text_or_none(row, "status"),
        last_error=last_error,
    )
