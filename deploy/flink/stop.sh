#!/usr/bin/env bash
# Stop what start.sh has started on this machine, and nothing else.
set -euo pipefail

usage() {
    cat <<'END_OF_HELP'
stop.sh [NAMES]   stop these, or all: jobmanager, taskmanager-1 and so on, jobserver, pool; harmless where none runs

They are asked to end, and killed after 10 seconds; what workers they had ends with the pool. FLINK_FOLDER names the folder that
start.sh was given. Programs and logs stay in it.
END_OF_HELP
}

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
folder=${FLINK_FOLDER:-$here/../../.flink}
# shellcheck source-path=SCRIPTDIR source=../services.sh
. "$here/../services.sh"
case ${1-} in
    -h | --help) usage && exit 0 ;;
esac
stop_these "$@"
