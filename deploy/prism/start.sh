#!/usr/bin/env bash
# A Prism that stands, and a pool of workers beside it: for jobs that are sent from elsewhere, or one after the other.
set -euo pipefail

usage() {
    cat <<'END_OF_HELP'
start.sh      start what does not run of Prism and a pool of workers, wait until both answer, and say the command that uses it

For a run on one machine nothing has to stand: --runner=PrismRunner starts Prism itself.
It takes no words; these variables say what is to be otherwise:
  PRISM_FOLDER     where logs lie (default: .prism in the checkout)
  PRISM            its binary (default: that on PATH, else that in Go's bin folder); install.sh makes it
  PRISM_PORT       8073: where jobs are sent to
  PRISM_WEB_PORT   8074: its page
  PRISM_POOL_PORT  50000: of the pool of workers
  PYTHON           that of the workers, with this project (default: that of .venv, else python3)
END_OF_HELP
}

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
folder=${PRISM_FOLDER:-$here/../../.prism}
# shellcheck source-path=SCRIPTDIR source=../services.sh
. "$here/../services.sh"
case ${1-} in
    '') ;;
    -h | --help) usage && exit 0 ;;
    *) refuse "$1: it takes no words, --help says which variables" ;;
esac

port=${PRISM_PORT:-8073} web=${PRISM_WEB_PORT:-8074} pool=${PRISM_POOL_PORT:-50000}
for each in "$port" "$web" "$pool"; do
    [[ $each =~ ^[1-9][0-9]{0,4}$ ]] || refuse "$each: expected a port"
done
prism=${PRISM:-prism}
if [[ -z ${PRISM-} ]] && ! command -v prism >/dev/null && command -v go >/dev/null; then
    prism=$(go env GOBIN)
    prism=${prism:-$(go env GOPATH | cut -d: -f1)/bin}/prism
fi
need "$prism" "run jobs: $here/install.sh makes it"
python=$(python_of "$here/../..")
folder=$(own "$folder" PRISM_FOLDER)
alone

missing=()
for each in prism pool; do runs "$each" || missing+=("$each"); done
((${#missing[@]})) || { say "both run already, in $folder: stop.sh stops them" && exit 0; }
lacks() { [[ " ${missing[*]} " == *" $1 "* ]]; }
! lacks prism || { free 127.0.0.1 "$port" PRISM_PORT && free 127.0.0.1 "$web" PRISM_WEB_PORT; }
! lacks pool || { free 127.0.0.1 "$pool" PRISM_POOL_PORT && has_project "$python"; }

! lacks prism || start prism "$prism" --job_port="$port" --web_port="$web" --log_kind=text
if lacks pool; then # it starts workers by the name "python", whatever that is
    mkdir -p "$folder/bin"
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$python" >"$folder/bin/python"
    chmod +x "$folder/bin/python"
    PATH=$folder/bin:$PATH start pool "$python" -m apache_beam.runners.worker.worker_pool_main "--service_port=$pool"
fi
! lacks prism || wait_until 30 "Prism at port $port" answers 127.0.0.1 "$port"
! lacks pool || wait_until 60 "the pool at port $pool" answers 127.0.0.1 "$pool"
say "${missing[*]}: started; logs are in $folder/log, and Prism's page at http://127.0.0.1:$web"
say "python -m pipelines.classify … --runner=PrismRunner --job_endpoint=localhost:$port" \
    "--environment_type=EXTERNAL --environment_config=localhost:$pool"
