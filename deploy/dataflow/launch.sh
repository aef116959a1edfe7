#!/usr/bin/env bash
# Launch a template: a job of Dataflow that labels files, labels a stream, or prepares data.
set -euo pipefail

usage() {
    cat <<'END_OF_HELP'
launch.sh (classify | stream | prepare) --project=P --region=R --templates=gs://BUCKET/FOLDER --job=NAME [--with=FIELD=VALUE ...]
          [--update [--rename=OLD=NEW ...]] [--validate | --dry_run] [NAME=VALUE ...]

  NAME=VALUE   a parameter of the template, which is an option of the command: output=gs://labels/reviews
  --job        what the job is called; Dataflow has one job of a name at work in a region
  --with       of the workers and of where things are put, by Dataflow's own names: maxWorkers=8, machineType=g2-standard-4,
               tempLocation=gs://BUCKET/temp, serviceAccountEmail=..., subnetwork=..., ipConfiguration=WORKER_IP_PRIVATE,
               additionalExperiments=... (may be given several times), additionalUserLabels=team=data (likewise)
  --templates  where build.sh put the templates
  --update     replace the stream of this name that runs
  --rename     with --update: the step OLD of the stream that runs is called NEW in the one that replaces it
  --validate   Dataflow looks at the request, and launches nothing
  --dry_run    print the request, and send nothing

It needs gcloud, which says who asks, curl and Python. What Dataflow answers goes to the standard output.
exit codes: 0 launched, validated or printed; 1 Dataflow refused it, or was not reached; 2 wrong usage
END_OF_HELP
}

say() { printf 'launch: %s\n' "$*" >&2; }

refuse() {
    say "$*"
    exit 2
}

matches() { # VALUE PATTERN: whether all of it is of that, by the letters of ASCII in any locale
    local LC_ALL=C
    [[ $1 =~ ^($2)$ ]]
}

project='' region='' dry_run='' template='' words=()
while (($#)); do
    case $1 in
        -h | --help) usage && exit 0 ;;
        --project=?*) [[ -z $project ]] || refuse "--project is given twice" && project=${1#*=} ;;
        --region=?*) [[ -z $region ]] || refuse "--region is given twice" && region=${1#*=} ;;
        --dry_run) [[ -z $dry_run ]] || refuse "--dry_run is given twice" && dry_run=yes ;;
        classify | stream | prepare) [[ -z $template ]] || refuse "$template or $1? one template a launch" && template=$1 ;;
        *) words+=("$1") ;;
    esac
    shift
done
[[ -n $template ]] || refuse "which template? classify, stream or prepare; --help says more"
[[ -n $project ]] || refuse "--project is missing"
[[ -n $region ]] || refuse "--region is missing"
# Both are part of the address that is called.
matches "$project" '[a-z][-a-z0-9:.]{4,}[a-z0-9]' ||
    refuse "--project=$project: expected the id of a project, such as my-project-1, not its number"
matches "$region" '[a-z]+-[a-z]+[0-9]+' ||
    refuse "--region=$region: expected a region, such as us-central1 or europe-west4, not a zone"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
request=$("${PYTHON:-python3}" "$here/launch_request.py" "$template" "${words[@]}") || exit 2
if [[ -n $dry_run ]]; then
    printf '%s\n' "$request"
    exit 0
fi
token=$(gcloud auth print-access-token) || { say "gcloud says nobody who asks: gcloud auth login" && exit 1; }
# By files, not by words: anybody on this machine sees the words of a process.
curl --silent --show-error --fail-with-body --request POST --header 'Content-Type: application/json' \
    --header @<(printf 'Authorization: Bearer %s\n' "$token") --data-binary @<(printf '%s' "$request") \
    "${DATAFLOW_ENDPOINT:-https://dataflow.googleapis.com}/v1b3/projects/$project/locations/$region/flexTemplates:launch" ||
    { say "Dataflow did not launch $template" && exit 1; }
