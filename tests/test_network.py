"""The limits of the tests themselves."""

import socket

import pytest


def test_no_test_speaks_to_the_world() -> None:
    """A connection to another machine is an error that the code under test cannot handle."""
    with pytest.raises(UserWarning, match=r"tried to use socket\.socket\.connect"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
