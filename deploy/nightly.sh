#!/usr/bin/env bash
# One night: label what is new, measure the model where there are gold rows, judge what was published.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=commands.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/commands.sh"

usage() {
    cat <<'END'
nightly.sh (DATE | FROM..TO | --job=NAME [--days_before=N]) --input=PATTERN --output=OUT [options of pipelines.classify]
           [--gates options of pipelines.approve] [--gold options of pipelines.evaluate]

  DATE           the night, YYYY-MM-DD; FROM..TO are all nights from the one to the other
  --job=NAME     the night is the day for which a Job of a Kubernetes CronJob was due: its name ends in the minutes from
                 1970 to then; days are those of the time zone that TZ names
  --days_before  so many days before that day (default: 0)
  --gates        what follows is for pipelines.approve
  --gold         what follows is for pipelines.evaluate, which measures the model on rows with known labels; options of
                 the model are those of pipelines.classify, --output is a folder for that model in OUT-gold

Commands, one after the other, run by PYTHON (default: that of .venv beside this folder, else python3):
  pipelines.classify --only_new --catch_up=7 --run_date=DATE --report_texts=0 and what is given, which wins
  pipelines.evaluate --overwrite --report_texts=0 and what is given, with --gold only
  pipelines.approve OUT and what is given

exit codes: 0 published, and all gates passed; 1 failed, but what a failed pipelines.classify published was judged;
2 wrong usage; 3 a gate did not pass; 129, 130, 143 ended by SIGHUP, SIGINT, SIGTERM, which the command at work gets
END
}

check_zone() { # date takes a zone that it does not know for UTC, without a word
    local folder=${TZDIR:-/usr/share/zoneinfo} magic=''
    if [[ ${TZ-} =~ ^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$ && -f $folder/$TZ ]]; then
        IFS= read -r -N 4 magic <"$folder/$TZ" || true
    fi
    [[ $magic == TZif ]] ||
        refuse "TZ='${TZ-}' is no time zone of $folder: set TZ=Europe/Berlin, say; without the folder install tzdata"
}

gold_of() { # OUT MODEL REVISION THRESHOLD: a folder for that model beside OUT, so that nights of several keep their own
    local base name sum
    base=$(beside --output "$1" OUT)
    name=${2%"${2##*[!/]}"} name=${name##*/}
    name=$(printf '%s' "${name:-default}" | LC_ALL=C tr -c 'A-Za-z0-9._-' _ | cut -c 1-60)
    sum=$(printf '%s\n' "$2" "$3" "$4" | cksum) # models of one name may come from several places
    printf '%s' "$base/$name-${sum%% *}"
}

day_of() { # JOB DAYS: the day so many days before the one for which the Job was due
    local minutes=${1##*-} day
    # No Job was due before 2020: smaller numbers are dates that somebody wrote, such as 20261120.
    if ! [[ $1 == *-* && $minutes =~ ^[1-9][0-9]{7}$ ]] || ((minutes < 26297280)); then
        refuse "--job=$1 does not end in minutes since 1970, as Jobs of a CronJob do since Kubernetes 1.21: give a DATE"
    fi
    [[ $2 =~ ^[0-9]{1,4}$ ]] || refuse "--days_before=$2: expected a number of days"
    [[ $(date --version 2>/dev/null) == *GNU* ]] || refuse "--job needs the date command of GNU: give a DATE"
    check_zone
    day=$(date --date="@$((minutes * 60))" +%F)
    # By days of the calendar, at noon UTC: not every day has 24 hours.
    date --utc --date="$day 12:00 $2 days ago" +%F
}

section=classify classify=() gates=() gold=() nights=() job='' days_before='' with_gold=''
while (($#)); do
    case $section,$1 in
        *,-h | *,--help) usage && exit 0 ;;
        *,--gates) section=gates ;;
        *,--gold) section=gold with_gold=yes ;;
        gates,*) gates+=("$1") ;;
        gold,*) gold+=("$1") ;;
        *,--job=*) job=${1#*=} ;;
        *,--days_before=*) days_before=${1#*=} ;;
        *,--job | *,--days_before) set -- "$1=${2-}" "${@:3}" && continue ;;
        *,--run_date | *,--run_date=*) refuse "$1: the night is named first, as DATE, FROM..TO or --job" ;;
        *,-*) classify+=("$1") ;;
        *) if ((${#classify[@]})); then classify+=("$1"); else nights+=("$1"); fi ;;
    esac
    shift
done

if [[ -n $job ]]; then
    nights+=("$(day_of "$job" "${days_before:-0}")")
elif [[ -n $days_before ]]; then
    refuse "--days_before=$days_before is for --job"
fi
((${#nights[@]} == 1)) || refuse "which night? one of DATE, FROM..TO and --job, not ${#nights[@]}: ${nights[*]-}"
night=${nights[0]} date='[0-9]{4}-[0-9]{2}-[0-9]{2}'
[[ $night =~ ^$date(\.\.$date)?$ ]] || refuse "$night: expected a night as YYYY-MM-DD, or FROM..TO"
output=$(last --output "${classify[@]}")
[[ -n $output ]] || refuse "--output is missing"
evaluation=$(last --output "${gold[@]}")
if [[ -n $with_gold && -z $evaluation ]]; then
    model=$(last --model "${classify[@]}" "${gold[@]}")
    revision=$(last --revision "${classify[@]}" "${gold[@]}") threshold=$(last --threshold "${classify[@]}" "${gold[@]}")
    evaluation=$(gold_of "$output" "$model" "$revision" "$threshold")
fi

find_python

say "the night of $night"
run pipelines.classify --only_new --catch_up=7 --run_date="$night" --report_texts=0 "${classify[@]}"
labelled=$code
((labelled <= 1)) || exit "$labelled"

judged=0
if [[ -n $with_gold ]]; then
    # The same model, fed the same texts in the same way; prepared data are tokens already.
    flags=(model revision problem_type threshold dtype device threads batch_tokens) same=()
    [[ -n $(last --data "${gold[@]}") ]] || flags+=(max_length overflow stride pooling)
    for flag in "${flags[@]}"; do
        value=$(last "--$flag" "${classify[@]}")
        [[ -z $value ]] || same+=("--$flag=$value")
    done
    run pipelines.evaluate --overwrite --output="$evaluation" --report_texts=0 "${same[@]}" "${gold[@]}"
    # Without an evaluation nothing can be judged: an older one would speak for this one.
    ((code == 0 || code == 3)) || exit "$code"
    judged=$code
    gates=(--evaluation="$evaluation" "${gates[@]}")
fi

run pipelines.approve "$output" "${gates[@]}"
((code == 0 || code == 3)) || exit "$code"
((labelled == 0)) || exit "$labelled"
((code == 0)) || exit "$code"
exit "$judged"
