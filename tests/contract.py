"""Holds what the sandbox gets and answers in tests against iconik's description of its API.

The description is iconik's and not part of this project: the environment variable ICONIK_OPENAPI
names the file. Without it these checks are skipped.
"""

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import flask

DESCRIPTION = Path(os.environ.get("ICONIK_OPENAPI", "unset"))
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What was checked before, whatever its ids: a check takes some milliseconds, and most repeat.
_faultless: set[tuple[object, ...]] = set()


@cache
def api() -> Any:
    """Return the description; what it does not name counts as a mistake, unlike at iconik."""
    from openapi_core import Config, OpenAPI

    description: dict[str, Any] = json.loads(DESCRIPTION.read_text())
    description["servers"] = [{"url": "/"}]
    schemas = description["components"]["schemas"]
    for schema in schemas.values():
        schema.setdefault("additionalProperties", False)
        # The description rarely says what may be null, and in practice much is.
        for field in schema.get("properties", {}).values():
            field["nullable"] = True
            # iconik's moments name no time zone, which the format of the description demands.
            if field.get("format") == "date-time":
                del field["format"]
            field.get("enum", []).append(None)
    # iconik's own description of 2026 knows this, and describes no more of what a search finds.
    schemas["CustomActionSchema"]["properties"]["read_access_for_everyone"] = {"type": "boolean"}
    schemas["SearchDocumentSchema"]["additionalProperties"] = True
    # The description is of May 2025, and these types and this status are newer.
    schemas["JobSchema"]["properties"]["status"]["enum"].append("DISCARDED")
    schemas["FileSetSchema"]["properties"]["type"] = {"type": "string", "nullable": True}
    schemas["FileSchema"]["properties"]["type"]["enum"].append("SEQUENCE")
    # In practice a PATCH names what changes alone.
    changes = {name: value for name, value in schemas["JobSchema"].items() if name != "required"}
    patch = description["paths"]["/API/jobs/v1/jobs/{job_id}/"]["patch"]
    patch["requestBody"]["content"]["application/json"]["schema"] = changes
    # It describes a body where by the status there is none, and errors as the default, which would
    # allow any status; here a good one must be named, and all errors must look as described.
    operations = (each for path in description["paths"].values() for each in path.values())
    for operation in [each for each in operations if "responses" in each]:
        named = operation["responses"]
        good = {status: answer for status, answer in named.items() if status.startswith("2")}
        good |= {"204": {"description": "no content"}} if "204" in good else {}
        operation["responses"] = good | {"4XX": named["default"], "5XX": named["default"]}
    # The description itself is not checked, which takes a second.
    return OpenAPI.from_dict(description, config=Config(spec_validator_cls=None))


def enforce(app: flask.Flask) -> list[str]:
    """Check what an application gets and answers, and return the list that mistakes go to."""
    mistakes: list[str] = []
    api()  # It takes seconds, which no request may wait for.

    @app.after_request
    def check(answer: flask.Response) -> flask.Response:
        request = flask.request
        texts = (request.full_path, request.get_data(as_text=True), answer.get_data(as_text=True))
        ids = tuple(ID.sub("id", text) for text in texts)
        exchange = (request.method, *request.headers.keys(), *ids, answer.status, answer.mimetype)
        if exchange not in _faultless:
            what = f"{request.method} {request.url}: {answer.status}"
            found = {f"{what}: {mistake}" for mistake in _mistakes(request, answer)}
            mistakes.extend(sorted(found))
            _faultless.update([] if found else [exchange])
        return answer

    return mistakes


def _mistakes(request: flask.Request, answer: flask.Response) -> Iterator[str]:
    """Yield what is wrong with a request and its answer, field by field where it is a body."""
    from openapi_core.contrib.werkzeug import WerkzeugOpenAPIRequest, WerkzeugOpenAPIResponse

    asked = WerkzeugOpenAPIRequest(request)
    result = api().unmarshal_request(asked)
    yield from request.args.keys() - result.parameters.query.keys()
    answered = api().iter_response_errors(asked, WerkzeugOpenAPIResponse(answer))
    for error in (*result.errors, *answered):
        fields = getattr(error.__cause__, "schema_errors", ())
        yield from [f"{each.json_path}: {each.message}" for each in fields] or [
            f"{error!r} {error.__cause__ or error}"
        ]
