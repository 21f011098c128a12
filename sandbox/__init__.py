"""An iconik in memory, served over HTTP: what the tests and the demo run against. Not deployed."""
