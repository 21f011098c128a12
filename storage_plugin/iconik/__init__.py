"""A thin client of iconik's REST API."""
