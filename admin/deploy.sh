#!/bin/sh
# Deploys the function, and what it needs at Google, with the settings of .env.yaml.
#
#   make deploy                      create what is missing, and deploy
#   make deploy OPTIONS=--dry-run    only say what that would create and change
#
# Repeat it at any time, also after an error: it creates only what is missing. Choose where with
# gcloud config set project PROJECT, and gcloud config set functions/region REGION.
set -eu
cd "$(dirname "$0")/.."
export CLOUDSDK_CORE_DISABLE_PROMPTS=1
dry_run=${1-} python=${PYTHON:-python3} value='' again='' work=$(mktemp -d)
trap finish EXIT
trap 'stop Interrupted.' INT TERM

# Ends the script. After an error, prints its message, usually gcloud's own, and what to do.
finish() {
    status=$? message=$(cat "$work/message") remedy=''
    rm -rf "$work"
    [ "$status" != 0 ] || return 0
    case $message in
    *[Bb]illing*) remedy="Link a billing account to the project $project." ;;
    *resourceLocations*) remedy='Choose a region with gcloud config set functions/region REGION.' ;;
    *constraints/*) remedy='An administrator of your organization must allow this, or run it.' ;;
    *denied* | *DENIED*) remedy='Ask an owner of the project to run this, or to give you the role.' ;;
    esac
    printf '%s\n' '' "$message" ${again:+'' ${remedy:+"$remedy"} "$again"} >&2
}

stop() { echo "$1" >"$work/message" && exit 1; }
say() { printf '  %-8s %s\n' "$1" "$2"; }

# What gcloud says while not all of Google knows a new account, role or service, which takes up to
# two minutes, or when somebody else changes a policy at the same moment.
not_yet='NOT_FOUND
has not been used in project
[Ss]ervice account .*(does not exist|was not found)
iam\.service[Aa]ccounts\.[A-Za-z]+. denied
missing permission on the build service account
must grant Storage Object Viewer
repositories/gcf-artifacts
concurrent policy changes'

# look WORDS...: prints what a command of gcloud prints; nothing if what it looks for is missing.
look() {
    gcloud "$@" 2>"$work/message" </dev/null || grep -Eq "$not_yet" "$work/message"
}

# change VERB WHAT WORDS...: changes something with gcloud, and tries again while Google does not
# know what is new. gcloud reads the value of a secret, which is in $value, from standard input.
change() {
    say "$1" "$2"
    shift 2
    [ -z "$dry_run" ] || return 0
    for pause in 10 20 40 60 0; do
        if printf %s "$value" | gcloud "$@" >/dev/null 2>"$work/message"; then return 0; fi
        if [ $pause = 0 ] || ! grep -Eq "$not_yet" "$work/message"; then break; fi
        say '' "Google needs a moment to know what is new. The next attempt is in $pause s."
        sleep $pause
    done
    printf '\nThe command was: gcloud %s\n' "$*" >>"$work/message"
    grep -q '\.create).*already exists' "$work/message" # An earlier attempt has succeeded.
}

# ensure LINES LINE VERB WHAT WORDS...: changes something if a line is not among some lines.
ensure() {
    if printf '%s\n' "$1" | grep -Fqx "$2"; then say ok "$4"; else shift 2 && change "$@"; fi
}

# grant ACCOUNT ROLE GROUP RESOURCE [PLACE]: gives a role on a resource of a group of gcloud's.
# shellcheck disable=SC2086 # The words of a group are separate arguments.
grant() {
    member=serviceAccount:$1@$domain role=roles/$2
    members=$(look $3 get-iam-policy "$4" ${5:+"$5"} --format='value(bindings.members)' \
        --flatten='bindings[].members' --filter="bindings.role=$role AND NOT bindings.condition:*")
    # A resource in a place has no conditions.
    ensure "$members" "$member" grant "$1: $2 on ${4%%@*}" $3 add-iam-policy-binding "$4" \
        "${5:---condition=None}" --member="$member" --role="$role"
}

case $dry_run in '' | --dry-run) ;; *) stop 'The only option is --dry-run.' ;; esac
command -v gcloud >/dev/null || stop 'gcloud is not installed. Work in https://shell.cloud.google.com,
or see https://cloud.google.com/sdk/docs/install.'
project=$(gcloud config get-value project 2>"$work/message")
region=$(gcloud config get-value functions/region 2>"$work/message")
[ -n "$project" ] || stop 'No project is selected: run gcloud config set project PROJECT.'
"$python" -m admin settings "$project" "$region" >"$work/env.yaml" 2>"$work/message"
cat "$work/message"
domain=$project.iam.gserviceaccount.com url=https://$region-$project.cloudfunctions.net/iconik_handler
timeout=60s queue=''
if grep -q "^'TASK_QUEUE'" "$work/env.yaml"; then timeout=1800s; fi
if grep -q "'projects/$project/locations/$region/queues/iconik'" "$work/env.yaml"; then queue=iconik; fi

again='Run the same command again: it continues where it stopped.'
echo "This deploys to the project $project, in the region $region.${dry_run:+ A dry run changes nothing.}"

enabled=$(look services list --enabled --format='value(config.name)')
apis=$(printf '%s.googleapis.com\n' artifactregistry cloudbuild cloudfunctions iam run \
    secretmanager ${queue:+cloudtasks} | grep -Fvx "${enabled:-none}" | xargs)
# shellcheck disable=SC2086 # Each API is an argument.
ensure "$apis" '' enable "${apis:-APIs}" services enable $apis

# The function runs as one account, is built by another, and receives tasks from a third.
accounts=$(look iam service-accounts list --format='value(email)')
for name in iconik-plugin iconik-build ${queue:+iconik-queue}; do
    ensure "$accounts" "$name@$domain" create "account $name" iam service-accounts create "$name"
done
grant iconik-build cloudbuild.builds.builder projects "$project"

# The secrets stay in the function's region: some organizations allow no other.
secrets=$(look secrets list --format='value(name.basename())')
for secret in bz-shared-secret iconik-token; do
    ensure "$secrets" "$secret" create "secret $secret" secrets create "$secret" \
        --replication-policy=user-managed --locations="$region"
    state=$(look secrets versions list "$secret" --limit=1 --format='value(state)')
    value=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    if [ "$secret" = iconik-token ] && [ "$state" != enabled ] && [ -z "$dry_run" ]; then
        ask='  Paste the application token of iconik (it is not shown): '
        value=$("$python" -c "from getpass import getpass; print(getpass('$ask'))" 2>/dev/null) || true
        [ -n "$value" ] || stop 'No token was entered.'
    fi
    ensure "$state" enabled store "the value of $secret" secrets versions add "$secret" --data-file=-
    grant iconik-plugin secretmanager.secretAccessor secrets "$secret"
done

if [ -n "$queue" ]; then
    queues=$(look tasks queues list --location="$region" --format='value(name.basename())')
    ensure "$queues" iconik create 'queue iconik' tasks queues create iconik --location="$region"
    change set 'its limits' tasks queues update iconik --location="$region" \
        --max-concurrent-dispatches=1 --max-attempts=20 --min-backoff=30s --max-backoff=300s
    grant iconik-plugin cloudtasks.enqueuer 'tasks queues' iconik --location="$region"
    grant iconik-plugin iam.serviceAccountUser 'iam service-accounts' "iconik-queue@$domain"
fi

# SOURCE_DATE_EPOCH keeps compiled Python files valid in the image.
change deploy 'iconik_handler, which takes two or three minutes' functions deploy iconik_handler \
    --gen2 --region="$region" --runtime=python313 --trigger-http --timeout="$timeout" \
    --memory=512Mi --cpu=1 --concurrency=4 --max-instances=4 --env-vars-file="$work/env.yaml" \
    --service-account="iconik-plugin@$domain" --set-build-env-vars=SOURCE_DATE_EPOCH=1 \
    --build-service-account="projects/$project/serviceAccounts/iconik-build@$domain"

# Everyone may call the function, because iconik cannot log in; the function verifies a secret.
# If a policy forbids everyone as a member, Google recommends disabling the check of members:
# https://cloud.google.com/run/docs/authenticating/public
change open 'iconik_handler to everyone' run services add-iam-policy-binding iconik-handler \
    --region="$region" --member=allUsers --role=roles/run.invoker ||
    change open 'iconik_handler without a check: a policy forbids everyone' run services update \
        iconik-handler --region="$region" --project="$project" --no-invoker-iam-check

[ -z "$dry_run" ] || exit 0
printf '{"project": "%s", "region": "%s", "url": "%s"}\n' "$project" "$region" "$url" >.deployment.json
printf '\nThe function is at %s\nNext: make actions, then make doctor.\n' "$url"
