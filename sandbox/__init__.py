"""An iconik in memory, served over HTTP: what the tests and the demo run against. Not deployed."""

import os

# The proxies of the environment are not for this machine's own addresses.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "127.0.0.1"]))
