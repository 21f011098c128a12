"""Holds the requests that the sandbox gets in tests against iconik's description of its API.

The description is iconik's and not part of this project: the environment variable ICONIK_OPENAPI
names the file. Without it these checks are skipped.
"""

import functools
import json
import os
from pathlib import Path

import flask
from openapi_core import OpenAPI
from openapi_core.contrib.werkzeug import WerkzeugOpenAPIRequest

DESCRIPTION = Path(os.environ.get("ICONIK_OPENAPI", "unset"))


@functools.cache
def api() -> OpenAPI:
    """Return the description; what it does not name counts as a mistake, unlike at iconik."""
    description = json.loads(DESCRIPTION.read_text())
    description["servers"] = [{"url": "/"}]
    for schema in description["components"]["schemas"].values():
        schema.setdefault("additionalProperties", False)
    # Here the description is stricter than iconik: in practice a PATCH names what changes alone.
    job = description["components"]["schemas"]["JobSchema"]
    patch = description["paths"]["/API/jobs/v1/jobs/{job_id}/"]["patch"]
    changes = {name: value for name, value in job.items() if name != "required"}
    patch["requestBody"]["content"]["application/json"]["schema"] = changes
    return OpenAPI.from_dict(description)


def enforce(app: flask.Flask) -> list[str]:
    """Check the requests that an application gets, and return the list that mistakes go to."""
    mistakes: list[str] = []

    @app.before_request
    def check() -> None:
        result = api().unmarshal_request(WerkzeugOpenAPIRequest(flask.request))
        unknown = flask.request.args.keys() - result.parameters.query.keys()
        request = f"{flask.request.method} {flask.request.url}"
        mistakes.extend(f"{request}: {mistake!r}" for mistake in [*result.errors, *unknown])

    return mistakes
