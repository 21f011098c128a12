"""A thin client of iconik's REST API: one method per endpoint.

https://app.iconik.io/docs/reference.html
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from storage_plugin.errors import (
    AccessDenied,
    AdministratorError,
    IconikBusy,
    IconikError,
    IconikTimeout,
    NotFound,
)
from storage_plugin.webhook import is_uuid

MAX_IDS = 500
"""Ids that one bulk call takes."""

PAGE = 100
"""Rows asked for at once, the most that iconik documents for any list."""

DEFAULT_PAGE = 10
"""Rows that iconik sends where it is not asked for more: a shorter page is certainly the last."""

TIMEOUT = (3.05, 10.0)
"""Seconds to connect, and to wait for each part of an answer."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Storage:
    """A storage; `method` tells what it is made of: FILE, B2, S3 and others."""

    id: str
    name: str
    method: str


@dataclass(frozen=True)
class Format:
    """A format of an asset, for instance ORIGINAL; None: iconik did not say."""

    id: str
    name: str
    status: str | None


@dataclass(frozen=True)
class File:
    """A file's record; `size` in bytes; None: iconik did not say."""

    id: str
    file_set_id: str
    format_id: str
    storage_id: str
    original_name: str
    type: str | None
    status: str | None
    file_set_status: str | None
    size: int | None
    checksum: str | None


@dataclass(frozen=True)
class Item:
    """An object in a collection or a search result; `type` as in `object_type` of bulk calls."""

    id: str
    type: str


def new_session() -> requests.Session:
    """Return a session for many clients and threads: nothing that iconik sends is kept in it."""
    session = requests.Session()
    session.trust_env = False  # No .netrc, no proxy: the token goes to iconik alone.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


class Iconik:
    """iconik, as one request of the plugin uses it.

    All methods raise AdministratorError where iconik refuses the token, AccessDenied where it
    refuses the call, NotFound where it knows no such object, IconikBusy over its limit,
    IconikTimeout and else IconikError.

    Args:
        session: as `new_session` returns it; it may be shared.
        url: scheme and host.
        app_id: the application token's App ID.
        token: returns the application token, given the seconds that it may have been kept.

    Attributes:
        calls: the number of requests sent.
    """

    def __init__(
        self, session: requests.Session, url: str, app_id: str, token: Callable[..., str]
    ) -> None:
        self.calls = 0
        self._session = session
        self._url = url
        self._app_id = app_id
        self._read_token = token
        self._token = token()
        self._token_was_renewed = False

    def storages(self) -> Iterator[Storage]:
        """List all storages. The filter by name is not used: it need not be exact."""
        for row in self._pages("/API/files/v1/storages/", "can_read_storages"):
            yield Storage(row["id"], _text(row, "name"), _text(row, "method"))

    def copy(
        self,
        storage_id: str,
        object_type: str,
        object_ids: Sequence[str],
        *,
        format_name: str,
        file_path: str,
        preferred_source: str | None,
    ) -> str | None:
        """Have one format of up to 500 objects copied to a storage.

        Args:
            object_type: `assets`, `collections` (with all that is below) or `saved_searches`.
            file_path: the folder on the storage.
            preferred_source: the id of the storage to copy from, where there is a choice.

        Returns:
            The id of iconik's job, where it tells.
        """
        body = {
            "object_type": object_type,
            "object_ids": list(object_ids),
            "format_name": format_name,
            "file_path": file_path,
        }
        if preferred_source:
            body["preferred_original_storage_id"] = preferred_source
        path = f"/API/files/v1/storages/{storage_id}/bulk/"
        response = self._send("POST", path, "can_read_files and can_write_transfers", json=body)
        # iconik documents no answer here, so none is required.
        job_id = (_json(response) if response.content else {}).get("job_id")
        return job_id if is_uuid(job_id) else None

    def formats(self, asset_id: str) -> list[Format]:
        """List the formats of an asset's current version; none where iconik knows none."""
        path = f"/API/files/v1/assets/{asset_id}/formats/"
        try:
            return [
                Format(row["id"], _text(row, "name"), _text_or_none(row, "status"))
                for row in self._pages(path, "can_read_formats", cursor=True)
            ]
        except NotFound:
            return []

    def files(self, asset_id: str) -> list[File]:
        """List the files of an asset, of all formats and storages; none where iconik knows none."""
        path = f"/API/files/v1/assets/{asset_id}/files/"
        query = {"generate_signed_url": "false"}
        try:
            return [
                _file(row) for row in self._pages(path, "can_read_files", cursor=True, query=query)
            ]
        except NotFound:
            return []

    def file_status(self, asset_id: str, file_id: str) -> str | None:
        """Return a file's status; None: iconik does not say."""
        return self._status(f"/API/files/v1/assets/{asset_id}/files/{file_id}/")

    def file_set_status(self, asset_id: str, file_set_id: str) -> str | None:
        """Return a file set's status; None: iconik does not say."""
        return self._status(f"/API/files/v1/assets/{asset_id}/file_sets/{file_set_id}/")

    def _status(self, path: str) -> str | None:
        try:
            return _text_or_none(_json(self._send("GET", path, "can_read_files")), "status")
        except NotFound:
            return "DELETED"

    def delete_file_set(self, asset_id: str, file_set_id: str) -> None:
        """Delete a file set and its files for good; one that is gone already is fine."""
        path = f"/API/files/v1/assets/{asset_id}/file_sets/{file_set_id}/"
        role = "can_delete_files"
        try:
            # Older systems do not know `immediately`: they put the file set into the recycle bin
            # and answer 200, not 204.
            response = self._send("DELETE", path, role, query={"immediately": "true"})
            if response.status_code != requests.codes.no_content:
                self._send("DELETE", f"{path}purge/", role)
        except NotFound:
            pass

    def collection_contents(self, collection_id: str) -> Iterator[Item]:
        """List the assets and collections directly in a collection."""
        path = f"/API/assets/v1/collections/{collection_id}/contents/"
        query = {"object_types": "assets,collections"}
        for row in self._pages(path, "can_read_collections", query=query):
            yield Item(row["id"], _text(row, "object_type"))

    def saved_search_results(self, search_id: str) -> Iterator[Item]:
        """Run a saved search and list what it finds."""
        path = f"/API/search/v1/search/saved/{search_id}/"
        query = {"include_results": "true"}
        for row in self._pages(path, "can_read_saved_searches and can_search", query=query):
            yield Item(row["id"], _text(row, "object_type"))

    def _pages(
        self, path: str, role: str, *, cursor: bool = False, query: Mapping[str, str] | None = None
    ) -> Iterator[Row]:
        """Yield the rows of all pages of a list, each once.

        iconik links the next page in some answers and not in others, so: a link is followed, to
        iconik alone; without one a full page is followed by the next page, or, in the lists that
        have a cursor, by the rows after its last. An empty page ends every list.
        """
        first = {"per_page": str(PAGE), **(query or {})}
        target, sent, page, is_linked = path, first, 1, True
        seen: set[str] = set()
        while True:
            try:
                answer = _json(self._send("GET", target, role, query=sent))
            except NotFound:
                if is_linked:
                    raise
                return
            rows = {row["id"]: row for row in map(_row, _list(answer, "objects"))}
            if rows and rows.keys() <= seen:
                raise IconikError(f"iconik sends one page of {path} again and again: try again.")
            yield from (row for id, row in rows.items() if id not in seen)
            seen |= rows.keys()
            page += 1
            is_linked = bool(answer.get("next_url"))
            if not rows:
                return
            if is_linked:
                target, sent = self._same_host(answer["next_url"]), {}
            elif not _may_go_on(answer, len(rows), None if cursor else page):
                return
            elif cursor:
                target, sent = path, {**first, "last_id": list(rows)[-1]}
            else:
                target, sent = path, {**first, "page": str(page)}

    def _same_host(self, link: object) -> str:
        """Return the path and query of a link to iconik itself."""
        try:
            url = urlsplit(urljoin(self._url, str(link)))
        except ValueError:
            url = urlsplit("")
        if f"{url.scheme}://{url.netloc}" == self._url and url.path.startswith("/API/"):
            return f"{url.path}?{url.query}"
        raise IconikError("iconik links its next page to another host: the link is not followed.")

    def _send(
        self,
        method: str,
        path: str,
        role: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Row | None = None,
    ) -> requests.Response:
        """Send one request and return iconik's answer, which is good.

        Args:
            role: what iconik's description of the endpoint demands.
        """
        call = f"{method} {urlsplit(path).path}"
        used = self._token
        response = self._try(call, method, path, query, json)
        if response.status_code == requests.codes.unauthorized and self._renew_token(used):
            response = self._try(call, method, path, query, json)
        if error := _error(call, response.status_code, role):
            raise error
        return response

    def _try(
        self, call: str, method: str, path: str, query: Row | None, json: Row | None
    ) -> requests.Response:
        if not (self._token.isascii() and self._token.isprintable()):
            raise AdministratorError(
                "The secret iconik-token holds characters that no token has: store it again."
            )
        self.calls += 1
        try:
            return self._session.request(
                method,
                self._url + path,
                params=query,
                json=json,
                headers={"App-ID": self._app_id, "Auth-Token": self._token},
                timeout=TIMEOUT,
                allow_redirects=False,
            )
        except requests.Timeout:
            raise IconikTimeout(f"iconik did not answer {call} in time: try again.") from None
        except requests.RequestException as error:
            # Its text is left out, for it may quote a header.
            raise IconikError(
                f"iconik cannot be reached for {call} ({type(error).__name__}): try again."
            ) from None

    def _renew_token(self, used: str) -> bool:
        """Read the token again, once; return whether it differs from the one used."""
        if not self._token_was_renewed:
            self._token_was_renewed = True
            self._token = self._read_token(max_age=0)
        return self._token != used


def _error(call: str, status: int, role: str) -> IconikError | AdministratorError | None:
    """Return what an HTTP status of iconik means, None where it is good."""
    if 200 <= status < 300:
        return None
    if status == requests.codes.unauthorized:
        return AdministratorError(
            "iconik refuses the application token: store a valid one in the secret iconik-token, "
            "and its App ID in ICONIK_ID."
        )
    if status == requests.codes.forbidden:
        return AccessDenied(
            f"iconik refuses {call}: the token's user needs {role}, and access to the object."
        )
    if status == requests.codes.not_found:
        return NotFound(f"iconik knows nothing at {call}.")
    if status == requests.codes.too_many_requests:
        return IconikBusy("iconik gets too many requests: try again in a minute.")
    return IconikError(f"iconik answered {call} with {status}: try again later.")


def _may_go_on(answer: Row, rows: int, page: int | None) -> bool:
    """Whether a page that links to no next one may have one all the same.

    Args:
        rows: the number of rows on this page.
        page: the number of the next page; None in a list that has a cursor.
    """
    pages, per_page = answer.get("pages"), answer.get("per_page")
    if page and isinstance(pages, int):
        return page <= pages
    return rows >= (per_page if isinstance(per_page, int) and per_page > 0 else DEFAULT_PAGE)


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _nonsense("no JSON object")
    return answer


def _list(answer: Row, field: str) -> list[Any]:
    rows = answer.get(field)
    if not isinstance(rows, list):
        raise _nonsense(f"no list of {field}")
    return rows


def _row(row: object) -> Row:
    """Return a row whose id may enter a URL."""
    if not isinstance(row, dict) or not is_uuid(row.get("id")):
        raise _nonsense("an object without an id")
    return row


def _file(row: Row) -> File:
    size = row.get("size")
    return File(
        id=row["id"],
        file_set_id=_id(row, "file_set_id"),
        format_id=_id(row, "format_id"),
        storage_id=_id(row, "storage_id"),
        original_name=_text(row, "original_name"),
        type=_text_or_none(row, "type"),
        status=_text_or_none(row, "status"),
        file_set_status=_text_or_none(row, "file_set_status"),
        size=size if type(size) is int and size >= 0 else None,
        checksum=_text_or_none(row, "checksum"),
    )


def _id(row: Row, field: str) -> str:
    if not is_uuid(row.get(field)):
        raise _nonsense(f"an object without {field}")
    return _text(row, field)


def _text(row: Row, field: str) -> str:
    if text := _text_or_none(row, field):
        return text
    raise _nonsense(f"an object without {field}")


def _text_or_none(row: Row, field: str) -> str | None:
    value = row.get(field)
    return value if isinstance(value, str) and value else None


def _nonsense(what: str) -> IconikError:
    return IconikError(f"iconik's answer holds {what}: nothing is done on the strength of it.")
