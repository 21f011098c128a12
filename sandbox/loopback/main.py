"""The function as it is deployed, but with Google's certificates on loopback."""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

spec = importlib.util.spec_from_file_location("main", ROOT / "main.py")
deployed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(deployed)
deployed.task_queue = deployed.TaskQueue(os.environ["SANDBOX_CERTIFICATES"])
iconik_handler = deployed.iconik_handler
