"""A client of iconik for the administrator's commands."""

from storage_plugin.iconik.client import Iconik
from storage_plugin.iconik.pace import Deadline, Pace
from storage_plugin.iconik.rest import Rest, new_session
from storage_plugin.secret_manager import Secret
from storage_plugin.settings import Settings


def connect(settings: Settings, token: Secret) -> Iconik:
    """Return a client of iconik for an administrator, who may take time to answer questions."""
    session, deadline = new_session(), Deadline(3600)
    return Iconik(Rest(session, settings, read_token=token.read, pace=Pace(), deadline=deadline))
