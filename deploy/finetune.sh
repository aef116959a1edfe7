#!/usr/bin/env bash
# A new version of a model: train it, measure it, and where it passes its gates name it in LATEST.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=commands.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/commands.sh"

usage() {
    cat <<'END_OF_HELP'
finetune.sh VERSION --models=MODELS [--processes=N]
            --train options of pipelines.finetune --gold options of pipelines.evaluate

  VERSION      what the new checkpoint is called, such as a date: it is published into MODELS/VERSION
  --models     the folder of all versions of a model, on a disk or in a bucket; LATEST in it names the one that counts
  --processes  processes that train together, one a GPU, by torchrun (default: 1)
  --train      what follows is for pipelines.finetune, which gets MODELS/VERSION as --output
  --gold       what follows is for pipelines.evaluate, which gets MODELS/VERSION as --model: at least one gate, such as
               --min_accuracy=0.9, and rows with known labels (default: those of --train, split test); --output is
               VERSION in MODELS-gold, --device and --threads are those of --train

Commands, one after the other, run by PYTHON (default: that of .venv beside this folder, else python3); before the
first, both look whether they are called well:
  pipelines.finetune and what is given: what was killed goes on, what is published stays
  pipelines.evaluate --overwrite --promote and what is given, which wins

exit codes: 0 published, all gates passed, and LATEST names it; 1 failed; 2 wrong usage; 3 published, but a gate did not
pass, or LATEST was moved meanwhile: it is as it was; 129, 130, 143 ended by SIGHUP, SIGINT, SIGTERM, which the command
at work gets
END_OF_HELP
}

given() { # FLAG WORDS: whether the flag is among them
    local flag=$1 word
    for word in "${@:2}"; do
        [[ $word != "$flag" && $word != "$flag="* ]] || return 0
    done
    return 1
}

section='' versions=() models='' processes=1 train=() gold=() with_gold=''
while (($#)); do
    case $section,$1 in
        *,-h | *,--help) usage && exit 0 ;;
        *,--train) section=train ;;
        *,--gold) section=gold with_gold=yes ;;
        train,*) train+=("$1") ;;
        gold,*) gold+=("$1") ;;
        *,--models=*) models=${1#*=} ;;
        *,--processes=*) processes=${1#*=} ;;
        *,--models | *,--processes) set -- "$1=${2-}" "${@:3}" && continue ;;
        *,-*) refuse "$1: expected --models, --processes, --train or --gold; options of commands come after the last two" ;;
        *) versions+=("$1") ;;
    esac
    shift
done

((${#versions[@]} == 1)) || refuse "which version? one name, such as a date, not ${#versions[@]}: ${versions[*]-}"
version=${versions[0]}
[[ $version =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$ && $version != LATEST ]] ||
    refuse "$version: expected the name of a folder, of letters, digits and . _ -"
[[ -n $models ]] || refuse "--models is missing: the folder of all versions of the model"
[[ $processes =~ ^[1-9][0-9]{0,2}$ ]] || refuse "--processes=$processes: expected a number of processes"
((${#train[@]})) || refuse "--train is missing: name the data and the base behind it"
[[ -n $with_gold ]] || refuse "--gold is missing: name a gate behind it, such as --min_accuracy=0.9"
for flag in --output --overwrite; do # what LATEST may name is never replaced
    ! given "$flag" "${train[@]}" || refuse "$flag: the checkpoint goes into a new folder of --models, named by VERSION"
done
! given --model "${gold[@]}" || refuse "--model: what is measured is what was trained"

while [[ $models == */ && $models != *:// && $models != / ]]; do
    models=${models%/}
done
model=${models%/}/$version

same=()
if [[ -z $(last --output "${gold[@]}") ]]; then
    evaluations=$(beside --models "$models" MODELS)
    same+=("--output=$evaluations/$version")
fi
given --input "${gold[@]}" || given --data "${gold[@]}" || given --labeled "${gold[@]}" ||
    same+=("--data=$(last --data "${train[@]}")")
for flag in --device --threads; do
    value=$(last "$flag" "${train[@]}")
    [[ -z $value ]] || same+=("$flag=$value")
done
train+=("--output=$model")
gold=(--overwrite --promote "--model=$model" "${same[@]}" "${gold[@]}")

find_python

say "$model"
# Before the hours of training. torchrun ends with 1, whatever its processes end with: so 2 is found here, too.
run pipelines.finetune --only_check "${train[@]}"
((code == 0)) || exit "$code"
run pipelines.evaluate --only_check "${gold[@]}"
((code == 0)) || exit "$code"

((processes == 1)) || launcher=(-m torch.distributed.run --standalone "--nproc_per_node=$processes")
run pipelines.finetune "${train[@]}"
((code == 0)) || exit "$code"
launcher=()
run pipelines.evaluate "${gold[@]}"
exit "$code"
