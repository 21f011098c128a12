"""The part of iconik's REST API that the plugin uses, over a `World`.

https://app.iconik.io/docs/reference.html
"""

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar
from urllib.parse import urlencode

import flask
from flask import abort, request
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy
from werkzeug.routing import UUIDConverter
from werkzeug.test import Client
from werkzeug.wrappers import Response

from sandbox.faults import DRIP, HANG, REFUSALS, RESET_AFTER, RESET_BEFORE, TRUNCATED, Faults
from sandbox.world import Row, World, insert

ASSET = "/API/files/v1/assets/<id:asset_id>"
STORAGE = "/API/files/v1/storages/<id:id>"

T = TypeVar("T")
WSGIApplication = Callable[..., Iterable[bytes]]


class IdConverter(UUIDConverter):
    """A UUID in a path, as text."""

    to_python = str  # type: ignore[assignment]
    to_url = str  # type: ignore[assignment]


api = flask.Flask("sandbox", static_folder=None)
api.url_map.converters["id"] = IdConverter
world: World = LocalProxy(lambda: flask.current_app.config["WORLD"])  # type: ignore[assignment]


def create_app(of: World) -> flask.Flask:
    """Return the WSGI application that serves a world; what it does not know is answered 501."""
    app = flask.Flask("sandbox", static_folder=None)
    app.config["WORLD"] = of
    # All worlds share the routes, because compiling them takes 10 ms.
    app.url_map, app.view_functions = api.url_map, api.view_functions
    app.before_request(authenticate)
    app.register_error_handler(HTTPException, refuse)
    return app


def authenticate() -> None:
    given = (request.headers.get("App-ID"), request.headers.get("Auth-Token"))
    if given != (world.app_id, world.token):
        abort(401)
    if world.denied & {*(request.view_args or {}).values()}:
        abort(403)
    verb = "read" if request.method == "GET" else "write"
    for kind in ("jobs", "transfers"):
        if f"/{kind}" in request.path and f"can_{verb}_{kind}" not in world.roles:
            abort(403)
    world.quirks.on_call(request.method, request.path)


def refuse(error: HTTPException) -> tuple[Row, int]:
    # Without a rule it is Flask's router that refuses: a wrong URL shall fail a test.
    code = error.code if request.url_rule or error.code == 401 else 501
    return {"errors": [error.name]}, code or 500


@api.get("/API/assets/v1/assets/<id:id>/", endpoint="asset", defaults={"table": "assets"})
@api.get("/API/jobs/v1/jobs/<id:id>/", endpoint="job", defaults={"table": "jobs"})
@api.get(f"{STORAGE}/verifications/permissions/", defaults={"table": "permissions"})
def row(table: str, id: str) -> Row:
    return known(getattr(world, table).get(id))


@api.get("/API/assets/v1/collections/<id:id>/contents/", defaults={"table": "collections"})
@api.get("/API/search/v1/search/saved/<id:id>/", defaults={"table": "saved_searches"})
def contents(table: str, id: str) -> Row:
    return numbered_page(known(getattr(world, table).get(id)), world.quirks.withheld)


@api.get("/API/files/v1/storages/", endpoint="storages", defaults={"table": "storages"})
@api.get("/API/jobs/v1/jobs/", endpoint="jobs", defaults={"table": "jobs"})
def rows(table: str) -> Row:
    filters = {name: request.args[name] for name in request.args.keys() & {"type", "status"}}
    found = [row for row in getattr(world, table).values() if filters.items() <= row.items()]
    return numbered_page(found)


@api.post(f"{STORAGE}/bulk/")
def bulk(id: str) -> tuple[Row, int]:
    known(world.storages.get(id))
    if not 1 <= len(request.get_json()["object_ids"]) <= 500:
        abort(400)
    job_id = world.copy(id, request.get_json())
    return {"job_id": job_id, "success": f"Queued copying to storage {id}"}, 202


@api.get(f"{STORAGE}/transfers_from/")
def transfers_from(id: str) -> Row:
    rows = world.transfers.values() if world.quirks.lists_transfers_from else ()
    return cursor_page([row for row in rows if row["original_storage_id"] == id])


@api.get(f"{STORAGE}/transfers_to/")
def transfers_to(id: str) -> Row:
    # These rows have some fields that the others have not, and lack some.
    own = {"local_storage_id": id, "destination_file_set_name": "Copy"}
    unknown = {"destination_storage_id", "original_file_set_id"}
    rows = () if world.quirks.lists_transfers_from else world.transfers.values()
    found = [row for row in rows if row["destination_storage_id"] == id]
    return cursor_page([{key: row[key] for key in row.keys() - unknown} | own for row in found])


@api.get(f"{ASSET}/formats/")
def formats(asset_id: str) -> Row:
    return cursor_page(known(world.formats_of(asset_id) or None))


@api.get(f"{ASSET}/file_sets/")
def all_file_sets(asset_id: str) -> Row:
    rows = list(world.file_sets.of_asset[asset_id].values())
    if request.args.get("file_count") == "true":
        rows = [{"file_count": world.count_files(row["id"]), **row} for row in rows]
    return cursor_page(known(rows or None))


@api.get(f"{ASSET}/files/")
def files(asset_id: str) -> Row:
    page = cursor_page(known(list(world.files.of_asset[asset_id].values()) or None))
    for number, row in enumerate(page["objects"]):
        status = world.file_sets[row["file_set_id"]]["status"]
        page["objects"][number] = {"file_set_status": status} | row | world.quirks.unsaid
    return page


@api.delete(f"{ASSET}/file_sets/<id:file_set_id>/")
def delete(asset_id: str, file_set_id: str) -> tuple[Row | str, int]:
    quirks = world.quirks
    if quirks.take("refusals"):
        abort(429)
    if quirks.take("failures"):
        abort(500)
    row = of_asset(asset_id, file_set_id)
    is_immediate = request.args.get("immediately") == "true" and quirks.knows_immediately
    if quirks.deletions_work:
        world.delete(file_set_id)
        if is_immediate:
            world.purge(file_set_id)
    if quirks.take("lost"):
        abort(500)
    status = quirks.deletion_status or (204 if is_immediate else 200)
    return row if status == 200 else "", status


@api.delete(f"{ASSET}/file_sets/<id:file_set_id>/purge/")
def purge(asset_id: str, file_set_id: str) -> tuple[str, int]:
    if of_asset(asset_id, file_set_id)["status"] != "DELETED":
        abort(400)
    if world.quirks.deletions_work:
        world.purge(file_set_id)
    return "", world.quirks.deletion_status or 204


@api.post("/API/jobs/v1/jobs/")
def create_job() -> tuple[Row, int]:
    return world.add_job(request.get_json()), 201


@api.patch("/API/jobs/v1/jobs/<id:job_id>/")
def update_job(job_id: str) -> Row:
    job, changes = known(world.jobs.get(job_id)), request.get_json()
    world.job_changes.append(changes)
    metadata = job["metadata"] | changes.get("metadata", {})
    job |= {**changes, "metadata": metadata, "date_modified": world.now()}
    return job


@api.get("/API/users/v1/users/current/")
def current_user() -> Row:
    user = {"id": world.user_id, "first_name": "Plugin", "email": "plugin@example.com"}
    return user | {"type": "STANDARD", "is_admin": world.is_admin}


@api.get("/API/users/v1/users/current/roles/", endpoint="roles", defaults={"table": "roles"})
@api.get("/API/assets/v1/custom_actions/", defaults={"table": "custom_actions"})
def whole(table: str) -> Row:
    rows = getattr(world, table)
    return {"objects": rows if isinstance(rows, list) else [*rows.values()]}


@api.post("/API/assets/v1/custom_actions/<context>/")
def create_custom_action(context: str) -> tuple[Row, int]:
    if context != request.get_json()["context"]:
        abort(400)
    return world.add_custom_action(request.get_json()), 201


@api.patch("/API/assets/v1/custom_actions/<context>/<id:action_id>/")
def update_custom_action(context: str, action_id: str) -> Row:
    action = of_context(context, action_id)
    action |= request.get_json()
    return action


@api.delete("/API/assets/v1/custom_actions/<context>/<id:action_id>/")
def delete_custom_action(context: str, action_id: str) -> tuple[str, int]:
    del world.custom_actions[of_context(context, action_id)["id"]]
    return "", 204


@api.post("/API/users-notifications/v1/notifications/")
def notify() -> tuple[Row, int]:
    id = insert(world.notifications, request.get_json())
    return world.notifications[id], 201


def known(found: T | None) -> T:
    """Return what was found, else answer 404."""
    if found is None:
        abort(404)
    return found


def of_asset(asset_id: str, file_set_id: str) -> Row:
    return known(world.file_sets.of_asset[asset_id].get(file_set_id))


def of_context(context: str, action_id: str) -> Row:
    actions = {id: row for id, row in world.custom_actions.items() if row["context"] == context}
    return known(actions.get(action_id))


def numbered_page(rows: Sequence[Row], withheld: int = 0) -> Row:
    """Return the page of a list that `page` and `per_page` ask for."""
    page, total = request.args.get("page", 1, int), len(rows) + withheld
    count = {"page": page, "pages": -(-total // _per_page()), "total": total}
    return _page(rows, (page - 1) * _per_page(), count)


def cursor_page(rows: Sequence[Row]) -> Row:
    """Return the page of a list that `last_id` and `per_page` ask for."""
    ids, last_id = [None, *(row["id"] for row in rows)], request.args.get("last_id")
    if last_id not in ids:
        abort(400)  # The row has gone meanwhile.
    return _page(rows, ids.index(last_id), {"total": len(rows)})


def _per_page() -> int:
    return world.quirks.rows_per_page or min(request.args.get("per_page", 10, int), 100)


def _page(rows: Sequence[Row], start: int, count: Row) -> Row:
    """Return a page of rows and, where this world has it so, their count and a link."""
    per_page, end, url = _per_page(), start + _per_page(), None
    answer: Row = {"objects": [*rows[start:end]]}
    if world.quirks.counts_rows:
        answer |= {"per_page": per_page, **count}
    if world.quirks.links_pages:
        if end < len(rows):
            last = {"last_id": rows[end - 1]["id"]}
            page = {"page": count["page"] + 1} if "page" in count else last
            url = f"{request.path}?{urlencode({**request.args, 'per_page': per_page, **page})}"
        answer["next_url"] = url
    return answer


@contextmanager
def serve(
    app: WSGIApplication, faults: Faults | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Serve an application on a free port of loopback, and yield its URL without TLS.

    Connections stay open, as iconik's do, unless a fault cuts them.
    """
    client, treatment = Client(app, use_cookies=False), faults or Faults()
    lock, is_over = threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # One packet for an answer.
        disable_nagle_algorithm = True  # It does not wait for earlier ones of TLS.

        def handle(self) -> None:
            with suppress(ConnectionError):  # The client breaks off.
                super().handle()

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault, call = treatment.next(self.path), Row(method=self.command, data=body)
            while fault in (HANG, DRIP) and not is_over.wait(0.5):
                if fault == DRIP:
                    self.connection.sendall(b"x")
            if fault in REFUSALS:
                response = Response(b"<html>fault</html>", *REFUSALS[fault])
            elif fault not in (HANG, DRIP, RESET_BEFORE):
                with lock:  # The tables of a world know no locks.
                    response = client.open(self.path, headers=self.headers.items(), **call)
            self.close_connection |= fault is not None and fault not in REFUSALS
            if fault in (HANG, DRIP, RESET_BEFORE, RESET_AFTER):
                return  # No answer comes.
            self.send_response(response.status_code)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            size = len(response.data) // (2 if fault == TRUNCATED else 1)
            self.wfile.write(response.data[:size])

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

        def log_message(self, format: str, *args: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket.listen(128)  # Many connections come at once.
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            is_over.set()
            server.shutdown()
