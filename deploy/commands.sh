# shellcheck shell=bash
# What the scripts of this folder share: commands of the project, one after the other, and what becomes of a signal.
# To be sourced.
((BASH_VERSINFO[0] >= 5)) || { echo "${0##*/}: bash 5 or newer is needed, and this is $BASH_VERSION" >&2 && exit 2; }
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
script=${0##*/} script=${script%.sh}

say() { printf '%s: %s\n' "$script" "$*" >&2; }

refuse() {
    say "$*"
    exit 2
}

child='' stop=''
# shellcheck disable=SC2317 # called by traps
pass_on() { # NAME NUMBER of a signal
    stop=$((128 + $2))
    say "SIG$1 is passed on; waiting for the end"
    [[ -z $child ]] || kill -s "$1" "$child" 2>/dev/null || true
}

trap 'pass_on HUP 1' HUP
trap 'pass_on INT 2' INT
trap 'pass_on TERM 15' TERM

find_python() {
    python=${PYTHON:-python3}
    [[ -n ${PYTHON-} || ! -x $here/../.venv/bin/python ]] || python=$here/../.venv/bin/python
    command -v "$python" >/dev/null || refuse "$python is not there: name in PYTHON the Python that has seqcls_beam"
}

launcher=() # words between Python and the command, which start it
run() { # MODULE WORDS: leaves the command's exit code in $code; does not come back where a signal asked for the end
    say "$1"
    set -m # in a group of its own it does not ignore SIGINT, as other background processes of a script do
    "$python" "${launcher[@]}" -m "$@" &
    child=$!
    set +m
    [[ -z $stop ]] || kill -s TERM "$child" 2>/dev/null || true # the signal came before the child
    while :; do
        code=0
        wait "$child" 2>/dev/null || code=$?
        kill -0 "$child" 2>/dev/null || break # there still: a signal ended the waiting, not the child
    done
    child=''
    say "$1 ended with code $code"
    [[ -z $stop ]] || exit "$stop"
}

last() { # FLAG WORDS: the last value that --flag=value or --flag value gives
    local flag=$1 found=''
    shift
    while (($#)); do
        case $1 in
            "$flag="*) found=${1#*=} ;;
            "$flag") found=${2-} ;;
        esac
        shift
    done
    printf '%s' "$found"
}

beside() { # OPTION FOLDER NAME: FOLDER-gold, for evaluations; the option says the folder, which is called NAME in --help
    local base=$2
    while [[ ($base == */ && $base != *://) || $base == */. ]]; do
        base=${base%/*}
    done
    [[ $base != . ]] || base=$(pwd -P)
    case $base in
        '' | / | .. | */..) refuse "$1=$2: give --gold an --output of its own, for there is no $3-gold" ;;
    esac
    [[ ! $base =~ ^[^/]+://[^/]*$ ]] ||
        refuse "$1 is a whole bucket, and $3-gold would be another one: give --gold an --output of its own"
    printf '%s' "$base-gold"
}
