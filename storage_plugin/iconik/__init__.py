"""A thin client of iconik's REST API.

https://app.iconik.io/docs/reference.html
"""
