#!/usr/bin/env bash
# Put the templates into a bucket, and before that, if asked, build their images with Cloud Build.
set -euo pipefail

usage() {
    cat <<'END_OF_HELP'
build.sh --image=NAME --tag=TAG --templates=gs://BUCKET/FOLDER [--launcher=IMAGE [--torch_index=URL] [--project=P]] [--dry_run]

  --image        NAME:TAG is the image of classify and stream, NAME:TAG-prepare that of prepare
  --templates    where classify.json, stream.json and prepare.json are put
  --launcher     build and push the images first, by Cloud Build; the image is Google's launcher base for Python templates, of the
                 Python that constraints.txt names
  --torch_index  as the image's build argument of that name: for CPUs
  --project      whose Cloud Build it is (default: gcloud's)
  --dry_run      print what would be called, and the templates

Templates name the images by their digests, so that a job's workers stay what they were when it was launched. Both are printed in
the end: Terraform wants the first one as its `image`.
exit codes: 0 done; 2 wrong usage; else that of what failed
END_OF_HELP
}

refuse() {
    printf 'build: %s\n' "$*" >&2
    exit 2
}

matches() { # VALUE PATTERN: whether all of it is of that, by the letters of ASCII in any locale
    local LC_ALL=C
    [[ $1 =~ ^($2)$ ]]
}

image='' tag='' templates='' launcher='' torch_index='' project='' dry_run='' given=' '
for word; do
    [[ $given != *" ${word%%=*} "* ]] || refuse "${word%%=*} is given twice"
    given+="${word%%=*} "
    case $word in
        -h | --help) usage && exit 0 ;;
        --image=?*) image=${word#*=} ;;
        --tag=?*) tag=${word#*=} ;;
        --templates=?*) templates=${word#*=} ;;
        --launcher=?*) launcher=${word#*=} ;;
        --torch_index=*) torch_index=${word#*=} ;;
        --project=?*) project=${word#*=} ;;
        --dry_run) dry_run=yes ;;
        *) refuse "$word: --help says what there is" ;;
    esac
done
[[ -n $image ]] || refuse "--image is missing"
matches "$image" '[a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)+' ||
    refuse "--image=$image: expected REGISTRY/REPOSITORY/NAME, without a tag or a digest"
matches "$tag" '[A-Za-z0-9_][A-Za-z0-9_.-]{0,119}' || refuse "--tag=$tag: expected a version, such as a commit"
matches "$templates" 'gs://[a-z0-9][-_.a-z0-9]+[a-z0-9](/[-A-Za-z0-9._~+=,:@]+)*/?' ||
    refuse "--templates=$templates: expected gs://BUCKET/FOLDER, without blanks and patterns"
# Among the substitutions a | would begin another one, and Cloud Build reads what follows a $ as one.
[[ -z $launcher ]] || matches "$launcher" '[A-Za-z0-9][-A-Za-z0-9._:/@]*' ||
    refuse "--launcher=$launcher: expected an image, such as REGISTRY/NAME:TAG"
[[ -z $torch_index ]] || matches "$torch_index" 'https?://[-A-Za-z0-9._~%+=,:@/?&]+' ||
    refuse "--torch_index=$torch_index: expected the URL of an index, http(s)://…"
[[ -z $project ]] || matches "$project" '[a-z][-a-z0-9:.]{4,}[a-z0-9]' ||
    refuse "--project=$project: expected the id of a project, such as my-project-1, not its number"
templates=${templates%/}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}

call() {
    if [[ -n $dry_run ]]; then
        printf '%q ' "$@"
        printf '\n'
    else
        "$@"
    fi
}

digest_of() { # IMAGE: the same by its digest
    if [[ -n $dry_run ]]; then
        printf '%s' "$1"
    else
        gcloud artifacts docker images describe "$1" --format='value(image_summary.fully_qualified_digest)'
    fi
}

put() { # IMAGE TEMPLATE
    local spec
    spec=$("$python" "$here/container_spec.py" "$1" "$here/templates/$2.json")
    [[ -z $dry_run ]] || printf '%s\n' "$spec"
    call gcloud storage cp - "$templates/$2.json" <<<"$spec"
}

if [[ -n $launcher ]]; then
    values=("_IMAGE=$image" "_TAG=$tag" "_LAUNCHER=$launcher" "_TORCH_INDEX=$torch_index")
    # Another sign between them than a comma, which may be in a value.
    joined=$(printf '|%s' "${values[@]}")
    call gcloud builds submit "$here/../.." "--config=$here/cloudbuild.yaml" "--substitutions=^|^${joined:1}" \
        ${project:+"--project=$project"}
fi
labelling=$(digest_of "$image:$tag")
preparing=$(digest_of "$image:$tag-prepare")
[[ -n $labelling && -n $preparing ]] || refuse "the registry says no digest of $image:$tag and $image:$tag-prepare"
put "$labelling" classify
put "$labelling" stream
put "$preparing" prepare
printf 'classify, stream: %s\nprepare: %s\n' "$labelling" "$preparing"
