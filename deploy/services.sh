# shellcheck shell=bash
# What starts and stops services of one machine: each has a name, a log and a file with its process below a folder.
# To be sourced, with `folder` set to that folder.
# shellcheck disable=SC2154
((BASH_VERSINFO[0] >= 5)) || { echo "${0##*/}: bash 5 or newer is needed, and this is $BASH_VERSION" >&2 && exit 2; }

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

refuse() {
    say "$*"
    exit 2
}

need() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || refuse "$1 is not there, and is needed to $2"
}

python_of() { # CHECKOUT: the Python that has this project
    local python=${PYTHON:-python3}
    [[ -n ${PYTHON-} || ! -x $1/.venv/bin/python ]] || python=$1/.venv/bin/python
    command -v "$python" || refuse "$python is not there: name in PYTHON the Python that has seqcls_beam"
}

born() { # PID: when it began, in ticks since the machine did, which another process of that number did not
    local told
    { read -r told </proc/sys/kernel/random/boot_id; } 2>/dev/null && printf '%s ' "$told"
    { read -r -d '' told || true; } 2>/dev/null <"/proc/$1/stat" || return 1
    told=${told##*) }
    cut -d' ' -f20 <<<"$told"
}

process_of() { # NAME: its process, if it runs
    local pid='' when=''
    { read -r pid && read -r when; } 2>/dev/null <"$folder/run/$1" || return 1
    [[ $(born "$pid") == "$when" ]] || return 1
    # A process that has ended, and nobody has asked how, is none.
    [[ $(ps -o stat= -p "$pid") != Z* ]] || return 1
    printf '%s' "$pid"
}

runs() { process_of "$1" >/dev/null; }

answers() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; } # HOST PORT

free() { # HOST PORT VARIABLE: refuse where somebody is there
    ! answers "$1" "$2" || refuse "port $2 of $1 is taken: name another one in $3, or stop what listens there"
}

start() { # NAME COMMAND: in a group of its own, so that all that it starts ends with it
    local name=$1
    shift
    mkdir -p "$folder/run" "$folder/log"
    set -m
    nohup "$@" >>"$folder/log/$name.log" 2>&1 </dev/null 9>&- &
    set +m
    printf '%s\n%s\n' "$!" "$(born "$!")" >"$folder/run/$name"
    started+=("$name")
}

own() { # FOLDER VARIABLE: make a folder that can be written, and print its whole path
    { mkdir -p "$1" && [[ -w $1 ]]; } 2>/dev/null || refuse "$1 cannot be written: name another folder in $2"
    (cd "$1" && pwd)
}

has_project() { # PYTHON: refuse one that has not what workers run
    "$1" -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("apache_beam") and u.find_spec("seqcls_beam")))' ||
        refuse "$1 has no seqcls_beam, or no apache_beam: name in PYTHON the Python that has this project"
}

alone() { # until this script ends: of two starts in one folder the second is refused
    need flock "keep two starts apart: install util-linux"
    need ps "see what runs: install procps"
    exec 9>"$folder/lock"
    flock -n 9 || refuse "another start.sh is at work in $folder"
}

started=()
wait_until() { # SECONDS WHAT COMMAND: until the command holds; refuse where it never does, or a service ends before
    local until=$((SECONDS + $1)) what=$2 name
    shift 2
    until "$@"; do
        for name in "${started[@]}"; do
            runs "$name" || fail "$name ended as it started"
        done
        ((SECONDS < until)) || fail "$what took too long"
        sleep 0.2
    done
}

fail() {
    say "$*: see $folder/log"
    exit 1
}

group_of() { # NAME: the group that a service began in, while anything of it is there
    local pid='' when='' now
    { read -r pid && read -r when; } 2>/dev/null <"$folder/run/$1" || return 1
    now=$(born "$pid") || now=''
    # The service may be gone and what it had started not; a stranger that has its number by now is not of it.
    [[ -z $now || $now == "$when" ]] && lives "$pid" || return 1
    printf '%s' "$pid"
}

lives() { # GROUP: whether anything is in it that has not ended
    # shellcheck disable=SC2009 # not every pgrep tells what has ended and is still there
    ps -eo pgid=,stat= | grep -Eq "^ *$1 +[^Z]"
}

patience=10
stop() { # NAMES: ask all of them to end, make them after so many seconds, and wait until they are gone
    local name group until groups=()
    for name; do
        group=$(group_of "$name") || continue
        groups+=("$group")
        kill -TERM -- "-$group" 2>/dev/null || true
    done
    until=$((SECONDS + patience))
    for group in "${groups[@]}"; do
        while lives "$group" && ((SECONDS < until)); do sleep 0.1; done
        kill -KILL -- "-$group" 2>/dev/null || true
        while lives "$group"; do sleep 0.1; done
    done
    for name; do rm -f "$folder/run/$name"; done
}

stop_these() { # NAMES: those, or all there are; says which
    local each file names=()
    need ps "see what runs: install procps"
    for file in "$folder"/run/*; do
        [[ ! -f $file ]] || names+=("${file##*/}")
    done
    (($#)) || set -- "${names[@]}"
    for each; do
        [[ " ${names[*]} " == *" $each "* ]] || refuse "$each: none of that name was started in $folder"
    done
    stop "$@"
    for each; do rm -rf "${folder:?}/tmp/$each"; done
    (($# == 0)) || say "$*: stopped"
}
