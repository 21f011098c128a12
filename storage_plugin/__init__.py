"""iconik custom actions that copy assets to one storage and delete them from it again."""

__version__ = "3.0.0"
