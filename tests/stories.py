"""Stories: a removal of three assets, with one thing that goes wrong or one act of an editor.

The function runs in process, against an iconik and a queue in memory, on a clock of its own. All
its threads are replaced by one, so the calls of a story have numbers.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, NamedTuple
from unittest.mock import patch

import flask
import functions_framework
import requests
from requests.adapters import BaseAdapter

from sandbox.server import create_app
from sandbox.site import CLIP, Site, payload
from sandbox.world import Row, World
from storage_plugin.iconik.rows import ENDED
from tests.worlds import answer_of

FAULTS = ("429", "500", "500, but done", "404", "403", "401", "HTML", "no answer", "kill")
ACTS = ("abort", "pause", "delete the job", "add again", "the same click", "redeploy")
DELIVERIES = ("twice", "25 hours late")
DAY, MOST_DELIVERIES = 86_400.0, 60


class Killed(BaseException):
    """The instance is killed."""


class Story(NamedTuple):
    """A removal, and what happens in it.

    Attributes:
        has_queue: whether the function has a queue.
        archives: whether files without a master are copied first.
        what: a fault, an act, or something about a delivery.
        number: the number of the call, or of the delivery, that it happens at.
    """

    has_queue: bool
    archives: bool
    what: str = ""
    number: int = -1
