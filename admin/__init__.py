"""The administrator's commands. Not deployed."""

__version__ = "2.0.0"
