"""Tests with processes, wires and clients that are not this project's."""
