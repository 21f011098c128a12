"""The function as it is deployed, but with Google's services on loopback."""

import functools
import importlib.util
import os
import sys
from pathlib import Path

import grpc
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager, tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from sandbox.secrets import connect  # noqa: E402

Client = tasks_v2.CloudTasksClient


def connect_tasks() -> Client:
    """Return the real client, connected to the sandbox's queue."""
    channel = grpc.insecure_channel(os.environ["SANDBOX_TASKS"])
    return Client(
        transport=CloudTasksGrpcTransport(channel=channel, credentials=AnonymousCredentials())
    )


if "SANDBOX_TASKS" in os.environ:
    tasks_v2.CloudTasksClient = connect_tasks
if "SANDBOX_SECRETS" in os.environ:
    secretmanager.SecretManagerServiceClient = functools.partial(
        connect, os.environ["SANDBOX_SECRETS"]
    )

spec = importlib.util.spec_from_file_location("main", ROOT / "main.py")
deployed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(deployed)
if "SANDBOX_TASKS" in os.environ:
    deployed.task_queue = deployed.TaskQueue(os.environ["SANDBOX_CERTIFICATES"])
iconik_handler = deployed.iconik_handler
