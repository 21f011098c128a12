"""The administrator's commands. Not deployed."""
