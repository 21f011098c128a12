"""The administrator's commands. Not deployed."""

__version__ = "1.0.0"
