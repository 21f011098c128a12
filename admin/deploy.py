"""Deploys the function and the resources that it needs at Google, if they are missing.

https://cloud.google.com/functions/docs/deploy
"""

import hashlib
import json
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from admin import files
from admin.gcloud import Gcloud, GcloudError
from storage_plugin.background.task import ATTEMPTS
from storage_plugin.errors import AdministratorError
from storage_plugin.secret_manager import ICONIK_TOKEN, SHARED_SECRET
from storage_plugin.settings import Settings

ROOT = Path(__file__).parent.parent
FUNCTION, SERVICE, ACCOUNT = "iconik_handler", "iconik-handler", "iconik-plugin"
"""The function, the Cloud Run service behind it, and the account that it runs as."""

APIS = ("artifactregistry", "cloudbilling", "cloudbuild", "cloudfunctions", "run", "secretmanager")

OPTIONS = (
    "--gen2 --runtime=python313 --trigger-http --memory=512Mi --cpu=1 --concurrency=4 "
    "--max-instances=4 --set-build-env-vars=SOURCE_DATE_EPOCH=1"
)
"""Options of the function; SOURCE_DATE_EPOCH keeps its compiled code valid in the image."""

QUEUE_OPTIONS = (
    f"--max-concurrent-dispatches=1 --max-attempts={ATTEMPTS} --min-backoff=30s --max-backoff=300s"
)

BILLING = "https://console.cloud.google.com/billing/linkedaccount?project="

REMEDIES = {
    "billing": f"Link a billing account to the project: {BILLING}PROJECT.",
    "permitted customer|organization policy": "Your organization forbids functions that are open "
    "to everyone, and iconik cannot log in. An administrator of the organization can allow this "
    f"one with gcloud run services update {SERVICE} --region=REGION --no-invoker-iam-check.",
    "build failed": "See the log of the build. In a new project, first wait two minutes until the "
    "roles take effect everywhere.",
    "permission": "Ask an owner of the project to deploy, or to give you the role.",
    "": "See the message of gcloud above.",
}
"""Remedies, by a pattern for the message of gcloud. The first match counts."""


@dataclass(frozen=True)
class Target:
    """The project and region to deploy to, and the environment of the function there."""

    project: str
    region: str
    environment: Mapping[str, str]
    makes_queue: bool

    @property
    def account(self) -> str:
        """The e-mail address of the account that the function runs as."""
        return files.email(ACCOUNT, self.project)


def deploy(gcloud: Gcloud, ask_token: Callable[[], str]) -> str:
    """Deploy this project with the settings of .env.yaml, and return the function's URL.

    Args:
        gcloud: runs the commands.
        ask_token: returns the application token.

    Raises:
        AdministratorError: a step failed; the message says what to do. Another call continues from
            there.
    """
    try:
        target = _find_target(gcloud)
        gcloud = replace(gcloud, project=target.project)
        gcloud.say("\nServices")
        _enable_services(gcloud, APIS)
        _check_place(gcloud, target)
        _store_secrets(gcloud, ask_token)
        gcloud.say("\nService account")
        _create_account(gcloud, ACCOUNT)
        _grant_roles(gcloud, target)
        if target.makes_queue:
            _create_queue(gcloud, target)
        deployment = _deploy_function(gcloud, target)
        if not gcloud.is_dry:
            deployment.write()
        _open_function(gcloud, target)
    except GcloudError as error:
        remedy = next(REMEDIES[words] for words in REMEDIES if re.search(words, str(error), re.I))
        raise AdministratorError(
            f"\n{error}\n\n{remedy}\nThen deploy again. The command continues where it stopped."
        ) from None
    return deployment.url


def _find_target(gcloud: Gcloud) -> Target:
    """Return the target, and check the settings before anything is created."""
    if not (variables := files.read_variables()):
        raise AdministratorError(files.NO_SETTINGS)
    command = "auth list --filter=status:ACTIVE --format=value(account)"
    if not (account := gcloud.run(command, dry="ACCOUNT").strip()):
        raise AdministratorError("Nobody is logged in to gcloud: run gcloud auth login.")
    if not (project := gcloud.run("config get-value project", dry="PROJECT").strip()):
        raise AdministratorError(
            "No project is selected: run gcloud config set project PROJECT. gcloud projects list "
            "shows your projects."
        )
    region = gcloud.run("config get-value functions/region", dry="REGION").strip()
    gcloud.say(f"{account} deploys to the project {project}, in the region {region}.")
    gcloud.say("To choose another region, run gcloud config set functions/region REGION.")
    for text in files.unknown_variables():
        gcloud.say(f"Warning: {text}")
    environment = files.complete(variables, project, region)
    Settings.from_environment(environment)
    return Target(project, region, environment, variables.get("TASK_QUEUE") == files.AUTO)


def _enable_services(gcloud: Gcloud, names: Sequence[str]) -> None:
    enabled = gcloud.run("services list --enabled --format=value(config.name)").split()
    wanted = [f"{name}.googleapis.com" for name in names]
    if missing := [service for service in wanted if service not in enabled]:
        gcloud.run(f"services enable {' '.join(missing)}")


def _check_place(gcloud: Gcloud, target: Target) -> None:
    gcloud.say("\nBilling and region")
    command = f"billing projects describe {target.project} --format=value(billingEnabled)"
    try:
        has_billing = gcloud.run(command, dry="True").strip() == "True"
    except GcloudError:
        has_billing = True  # Not everyone may look. If billing is missing, a later step fails.
    if not has_billing:
        raise AdministratorError(
            f"The project has no billing account: link one at {BILLING}{target.project}."
        )
    command = "functions regions list --gen2 --format=value(locationId)"
    regions = gcloud.run(command, dry=target.region).split()
    if target.region not in regions:
        raise AdministratorError(
            f"Functions cannot run in the region {target.region}: run gcloud config set "
            f"functions/region REGION with one of {', '.join(sorted(regions))}."
        )


def _store_secrets(gcloud: Gcloud, ask_token: Callable[[], str]) -> None:
    gcloud.say("\nSecrets (gcloud reads them from its standard input)")
    names = gcloud.run("secrets list --format=value(name)").split()
    existing = [name.rpartition("/")[2] for name in names]
    new = {SHARED_SECRET[0]: lambda: secrets.token_hex(32), ICONIK_TOKEN[0]: ask_token}
    for name, value in new.items():
        if name not in existing:
            gcloud.run(f"secrets create {name} --data-file=-", stdin=value)
            continue
        latest = gcloud.run(f"secrets versions list {name} --limit=1 --format=value(state)")
        if latest.strip().upper() != "ENABLED":
            gcloud.run(f"secrets versions add {name} --data-file=-", stdin=value)


def _create_account(gcloud: Gcloud, name: str) -> None:
    existing = gcloud.run("iam service-accounts list --format=value(email)").split()
    if files.email(name, gcloud.project) not in existing:
        gcloud.run(f"iam service-accounts create {name}")


def _create_queue(gcloud: Gcloud, target: Target) -> None:
    """Create the queue and its account, and let the function use both."""
    gcloud.say("\nQueue")
    _enable_services(gcloud, ["cloudtasks"])
    _create_account(gcloud, files.QUEUE_ACCOUNT)
    place = f"--location={target.region}"
    queues = {row["name"]: row for row in gcloud.read(f"tasks queues list {place}")}
    queue = queues.get(target.environment["TASK_QUEUE"])
    if not queue:
        gcloud.run(f"tasks queues create {files.QUEUE} {place} {QUEUE_OPTIONS}")
    elif queue.get("retryConfig", {}).get("maxAttempts") != ATTEMPTS:
        gcloud.run(f"tasks queues update {files.QUEUE} {place} {QUEUE_OPTIONS}")
    name, sender = f"{files.QUEUE} {place}", target.environment["TASK_SERVICE_ACCOUNT"]
    _grant(gcloud, "tasks queues", name, who=target.account, role="roles/cloudtasks.enqueuer")
    role = "roles/iam.serviceAccountUser"
    _grant(gcloud, "iam service-accounts", sender, who=target.account, role=role)


def _grant_roles(gcloud: Gcloud, target: Target) -> None:
    """Let the function read its secrets, and let Google's builder build.

    https://cloud.google.com/functions/docs/troubleshooting#build-service-account
    """
    gcloud.say("\nRoles")
    role = "roles/secretmanager.secretAccessor"
    for name, _ in (SHARED_SECRET, ICONIK_TOKEN):
        _grant(gcloud, "secrets", name, who=target.account, role=role)
    suffix = "-compute@developer.gserviceaccount.com"
    command = f"builds get-default-service-account --region={target.region}"
    builder = gcloud.run(command, dry=f"NUMBER{suffix}").strip().rpartition("/")[2]
    if builder.endswith(suffix):  # In new projects this account has no role, unlike others.
        role = "roles/cloudbuild.builds.builder"
        _grant(gcloud, "projects", target.project, who=builder, role=role)


def _deploy_function(gcloud: Gcloud, target: Target) -> files.Deployment:
    """Deploy, unless the code, the options and the environment are those of the last deployment."""
    gcloud.say("\nFunction")
    timeout = "1800s" if "TASK_QUEUE" in target.environment else "60s"
    place = f"--service-account={target.account} --region={target.region}"
    options = f"{OPTIONS} --timeout={timeout} {place}"
    digest, last, found = _digest(options, target), files.Deployment.read(), _find(gcloud, target)
    if (last.digest, last.updated) == (digest, found.get("updateTime")):
        gcloud.say("The function is up to date.")
        return last
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "env.yaml")
        file.write_text(yaml.safe_dump(dict(target.environment), default_style="'"))
        gcloud.say("Deploying takes two or three minutes. The function gets these settings:")
        for name, value in target.environment.items():
            gcloud.say(f"  {name}: {value}")
        paths = f"--source={ROOT}", f"--env-vars-file={file}"
        gcloud.run(f"functions deploy {FUNCTION} {options}", *paths)
    found = _find(gcloud, target)
    url = found.get("url") or files.function_url(target.project, target.region)
    return files.Deployment(target.project, target.region, url, digest, found.get("updateTime", ""))


def _open_function(gcloud: Gcloud, target: Target) -> None:
    """Let everyone call the function, because iconik cannot log in."""
    gcloud.say("\nAccess for iconik")
    service = f"{SERVICE} --region={target.region}"
    row: Any = gcloud.read(f"run services describe {service}") or {}
    annotations = row.get("metadata", {}).get("annotations", {})
    if annotations.get("run.googleapis.com/invoker-iam-disabled", "").lower() != "true":
        _grant(gcloud, "run services", service, who="allUsers", role="roles/run.invoker")


def _grant(gcloud: Gcloud, group: str, resource: str, *, who: str, role: str) -> None:
    """Grant a role on a resource, unless it is granted already.

    Args:
        gcloud: runs the commands.
        group: the group of gcloud's commands.
        resource: the name of the resource, and the option with its location.
        who: a service account, or allUsers.
        role: the role to grant.
    """
    member = f"serviceAccount:{who}" if "@" in who else who
    policy: Any = gcloud.read(f"{group} get-iam-policy {resource}") or {}
    for binding in policy.get("bindings", []):
        if binding["role"] == role and member in binding["members"] and "condition" not in binding:
            return
    condition = "" if " " in resource else " --condition=None"  # Not for regional resources.
    command = f"{group} add-iam-policy-binding {resource}{condition}"
    gcloud.run(f"{command} --member={member} --role={role}")


def _find(gcloud: Gcloud, target: Target) -> dict[str, Any]:
    """Return the function as Google describes it; empty: there is none."""
    rows = gcloud.read(f"functions list --regions={target.region}")
    return next((row for row in rows if row["name"].endswith(f"/{FUNCTION}")), {})


def _digest(options: str, target: Target) -> str:
    """Return a digest of the code, the options and the environment."""
    digest = hashlib.sha256(json.dumps([options, target.environment], sort_keys=True).encode())
    code = sorted((ROOT / "storage_plugin").rglob("*.py"))
    for path in (ROOT / "main.py", ROOT / "requirements.txt", *code):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()
