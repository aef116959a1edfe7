#!/usr/bin/env bash
# A Flink cluster that runs this project, on one machine or a part of it on each of several.
set -euo pipefail

usage() {
    cat <<'END_OF_HELP'
start.sh      set up what is missing, start what does not run, wait until it answers, and say the command that uses it

It takes no words; these variables say what is to be otherwise:
  FLINK_FOLDER        where all of it lies: programs and logs; each machine's own (default: .flink in the checkout)
  FLINK_PROGRAMS      where Flink and Beam's runner for it lie, or are put (default: FLINK_FOLDER)
  FLINK_ROLES         what runs on this machine, of jobmanager taskmanager jobserver pool (default: all four)
  FLINK_HOST          by which address others reach this machine (default: 127.0.0.1, which nobody else does)
  FLINK_JOBMANAGER    the address of the machine with the JobManager (default: FLINK_HOST)
  FLINK_TASKMANAGERS  TaskManagers on this machine (default: 2)
  FLINK_SLOTS         tasks that each of them does at once (default: 1)
  FLINK_HEAP          Java's memory of each of them for tasks (default: 256m), which takes 900m more; models lie in the workers
  FLINK_REST_PORT     8081, FLINK_RPC_PORT 6123: of the JobManager
  FLINK_JOB_PORT      8099, FLINK_ARTIFACT_PORT 8098, FLINK_EXPANSION_PORT 8097: of the job server
  FLINK_POOL_PORT     50000: of the pool of workers, which TaskManagers of this machine ask for theirs
  FLINK_OPTIONS       further settings of Flink, such as -Dslot.request.timeout=10000
  PYTHON              that of the workers, with this project (default: that of .venv, else python3)

What a service says is in FOLDER/log. Where one has died, start.sh starts it again and leaves the others alone.
exit codes: 0 all of it answers, or runs already; 1 something did not start; 2 wrong usage
END_OF_HELP
}

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
folder=${FLINK_FOLDER:-$here/../../.flink}
# shellcheck source-path=SCRIPTDIR source=../services.sh
. "$here/../services.sh"
case ${1-} in
    '') ;;
    -h | --help) usage && exit 0 ;;
    *) refuse "$1: it takes no words, --help says which variables" ;;
esac

roles=${FLINK_ROLES:-jobmanager taskmanager jobserver pool}
host=${FLINK_HOST:-127.0.0.1} jobmanager=${FLINK_JOBMANAGER:-${FLINK_HOST:-127.0.0.1}}
taskmanagers=${FLINK_TASKMANAGERS:-2} slots=${FLINK_SLOTS:-1} heap=${FLINK_HEAP:-256m}
rest=${FLINK_REST_PORT:-8081} rpc=${FLINK_RPC_PORT:-6123}
job=${FLINK_JOB_PORT:-8099} artifact=${FLINK_ARTIFACT_PORT:-8098} expansion=${FLINK_EXPANSION_PORT:-8097}
pool=${FLINK_POOL_PORT:-50000}
read -r -a options <<<"${FLINK_OPTIONS-}"
for each in $roles; do
    [[ " jobmanager taskmanager jobserver pool " == *" $each "* ]] || refuse "FLINK_ROLES=$roles: $each is none"
done
[[ $taskmanagers =~ ^[1-9][0-9]?$ ]] || refuse "FLINK_TASKMANAGERS=$taskmanagers: expected a number from 1 to 99"
[[ $slots =~ ^[1-9][0-9]?$ ]] || refuse "FLINK_SLOTS=$slots: expected a number from 1 to 99"
[[ $heap =~ ^[1-9][0-9]*m$ ]] || refuse "FLINK_HEAP=$heap: expected megabytes, such as 256m"
for each in "$rest" "$rpc" "$job" "$artifact" "$expansion" "$pool"; do
    [[ $each =~ ^[1-9][0-9]{0,4}$ ]] || refuse "$each: expected a port"
done

has() { [[ " $roles " == *" $1 "* ]]; }

python=$(python_of "$here/../..")
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
need "$java" "run Flink: install Java 17 (Debian: apt-get install openjdk-17-jre-headless)"
need curl "ask Flink how it is"
folder=$(own "$folder" FLINK_FOLDER)
alone
programs=${FLINK_PROGRAMS:-$folder}
[[ -d $programs ]] || own "$programs" FLINK_PROGRAMS >/dev/null
programs=$(cd "$programs" && pwd)

names=()
! has jobmanager || names+=(jobmanager)
! has taskmanager || for ((n = 1; n <= taskmanagers; n++)); do names+=("taskmanager-$n"); done
! has jobserver || names+=(jobserver)
! has pool || names+=(pool)
missing=()
for each in "${names[@]}"; do runs "$each" || missing+=("$each"); done
((${#missing[@]})) || { say "all of it runs already, in $folder: stop.sh stops it" && exit 0; }
lacks() { [[ " ${missing[*]} " == *" $1 "* ]]; }
! lacks jobmanager || { free "$host" "$rest" FLINK_REST_PORT && free "$host" "$rpc" FLINK_RPC_PORT; }
! lacks jobserver || { free "$host" "$job" FLINK_JOB_PORT && free "$host" "$artifact" FLINK_ARTIFACT_PORT; }
! lacks jobserver || free "$host" "$expansion" FLINK_EXPANSION_PORT
! lacks pool || { free 127.0.0.1 "$pool" FLINK_POOL_PORT && has_project "$python"; }

property() { sed -n "s|.*<$1>\\(.*\\)</$1>.*|\\1|p" "$here/pom.xml"; }

set_up() { # FOLDER COMMAND: what the command makes in a folder that takes its name when all is there
    [[ ! -d $1 ]] || return 0
    [[ -w $programs ]] || refuse "$1 is not there, and $programs cannot be written: name another folder in FLINK_PROGRAMS"
    exec 8>"$programs/lock" # for clusters in other folders, which have their programs from here, too
    flock 8
    if [[ ! -d $1 ]]; then
        rm -rf "$1.new" && mkdir -p "$1.new"
        "$2" "$1.new" || { say "$(basename "$1") could not be fetched, for the reason above" && exit 1; }
        mv "$1.new" "$1"
    fi
    exec 8>&-
}

fetch_flink() { # a package of Python has Flink's programs; tables and SQL are not needed
    say "fetching Flink $flink (250 MB) from the package index of Python"
    "$python" -m pip download --quiet --no-deps --dest "$1" "apache-flink-libraries==$flink" &&
        tar -xzf "$1"/*.tar.gz -C "$1" --strip-components=3 "apache-flink-libraries-$flink/deps/lib" &&
        rm "$1"/*.tar.gz "$1"/flink-[!d]*.jar
}

fetch_beam() {
    need mvn "fetch Beam's runner for Flink (Debian: apt-get install maven)"
    say "fetching Beam's runner for Flink $(property beam.version) (160 MB) by Maven"
    # The job server sends every jar that it runs from along with every job, 160 MB, but not those of such a path: here
    # Flink has them itself, and a job starts sooner.
    mvn -q -B -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
        -DoutputDirectory="$1/gradle/wrapper" >&2
}

flink=$(property flink.version)
set_up "$programs/flink-$flink" fetch_flink
set_up "$programs/beam-$(property beam.version)" fetch_beam
beam=$programs/beam-$(property beam.version)/gradle/wrapper

opens=()
for each in java.{io,lang,lang.reflect,net,nio,text,time,util,util.concurrent,util.concurrent.atomic,util.concurrent.locks} sun.nio.ch; do
    opens+=("--add-opens=java.base/$each=ALL-UNNAMED")
done
opens+=(--add-exports=java.base/sun.net.util=ALL-UNNAMED)

classes="$programs/flink-$flink/*" # of Flink first, which has its own logger, too
for each in "$beam"/*.jar; do
    case ${each##*/} in flink-* | slf4j-*) ;; *) classes+=:$each ;; esac
done

run_flink() { # NAME CLASS MEGABYTES OPTIONS
    local name=$1 class=$2 megabytes=$3
    shift 3
    mkdir -p "$folder/tmp/$name"
    start "$name" "$java" "-Xmx${megabytes}m" "${opens[@]}" "-Djava.io.tmpdir=$folder/tmp/$name" \
        "-Dlog4j.configurationFile=$here/conf/log4j.properties" -cp "$classes" \
        "org.apache.flink.runtime.$class" --configDir "$here/conf" -D "jobmanager.rpc.address=$jobmanager" \
        -D "jobmanager.rpc.port=$rpc" -D "rest.address=$jobmanager" -D "rest.port=$rest" \
        -D "io.tmp.dirs=$folder/tmp/$name" "$@" "${options[@]}"
}

run_jobmanager() {
    run_flink jobmanager entrypoint.StandaloneSessionClusterEntrypoint 512 -D jobmanager.memory.process.size=1024m \
        -D "jobmanager.bind-host=$host" -D "rest.bind-address=$host" -D "web.tmpdir=$folder/tmp/jobmanager"
}

registered=() # names of TaskManagers that were started, each of which no other ever has
run_taskmanager() { # NAME
    registered+=("$host-$1-$RANDOM$RANDOM")
    # All of these, for it takes none for granted where no script of its own starts it.
    run_flink "$1" taskexecutor.TaskManagerRunner "$((${heap%m} + 128))" -D "taskmanager.host=$host" \
        -D "taskmanager.bind-host=$host" -D "taskmanager.resource-id=${registered[-1]}" \
        -D "taskmanager.numberOfTaskSlots=$slots" -D "taskmanager.cpu.cores=$slots.0" -D external-resources=none \
        -D "taskmanager.memory.task.heap.size=$heap" -D taskmanager.memory.task.off-heap.size=0b \
        -D taskmanager.memory.framework.heap.size=128m -D taskmanager.memory.framework.off-heap.size=128m \
        -D taskmanager.memory.managed.size=128m -D taskmanager.memory.network.min=64m \
        -D taskmanager.memory.network.max=64m -D taskmanager.memory.jvm-metaspace.size=256m \
        -D taskmanager.memory.jvm-overhead.min=192m -D taskmanager.memory.jvm-overhead.max=192m
}

run_jobserver() {
    mkdir -p "$folder/artifacts"
    start jobserver "$java" -Xmx512m "${opens[@]}" -Dorg.slf4j.simpleLogger.showDateTime=true \
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS" -cp "$beam/*" \
        org.apache.beam.runners.flink.FlinkJobServerDriver --flink-master "$jobmanager:$rest" --job-host "$host" \
        --job-port "$job" --artifact-port "$artifact" --expansion-port "$expansion" --artifacts-dir "$folder/artifacts"
}

run_pool() { start pool "$python" "$here/pool.py" "--port=$pool"; }

for each in "${missing[@]}"; do
    case $each in
        taskmanager-*) run_taskmanager "$each" ;;
        *) "run_$each" ;;
    esac
done

# shellcheck disable=SC2317 # called by wait_until
are_registered() {
    local found each
    found=$(curl -fs --noproxy '*' --max-time 5 "http://$jobmanager:$rest/taskmanagers") || return 1
    for each in "${registered[@]}"; do [[ $found == *"\"$each\""* ]] || return 1; done
}
wait_until 90 "the cluster at $jobmanager:$rest" are_registered
! lacks jobserver || wait_until 60 "the job server at $host:$job" answers "$host" "$job"
! lacks pool || wait_until 60 "the pool at port $pool" answers 127.0.0.1 "$pool"
say "${missing[*]}: started; logs are in $folder/log, and the JobManager's page at http://$jobmanager:$rest"
how="--runner=FlinkRunner --flink_master=$jobmanager:$rest"
[[ $job == 8099 ]] || how+=" --job_endpoint=$host:$job"
[[ $pool == 50000 ]] || how+=" --environment_config=localhost:$pool"
say "python -m pipelines.classify … $how"
