"""The function for an iconik that is faster than the real one; see soak.py."""

import os

from storage_plugin.iconik import pace

pace.WINDOW /= float(os.environ["SPEED"])

from main import iconik_handler  # noqa: E402, F401 - Its modules use the changed pace.
