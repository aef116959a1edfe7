#!/usr/bin/env bash
# Make the bundled sentiment checkpoint again, with the commands that anybody has.
#
#     bash benchmarks/sentiment.sh DATA WORK
#
# DATA holds sst2/{train_full,dev,test-labeled}.tsv and imdb/{train,test}.parquet. WORK/sentiment lies in
# seqcls_beam/sentiment, with more in its card. What is in WORK already is not made again. Two hours on two cores.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$(cd "$1" && pwd)
export PYTHONPATH="${here%/benchmarks}"
mkdir -p "$2"
cd "$2"
ln -sfn "$data" data
encoder=$(python -c 'from benchmarks.small_base import encoder; print(encoder())')
sst2=(--text_column=sentence --labels=0:negative,1:positive)
set -x

# A teacher: the encoder learns reviews, then the phrases of SST-2, then sentences of reviews that it labels itself.
python -m pipelines.prepare --input_train data/imdb/train.parquet --max_length=128 --model="$encoder" --output=imdb
python -m pipelines.finetune --data=imdb --model="$encoder" --recipe="$here/recipes/imdb.json" --epochs=1 --output=critic
python -m pipelines.prepare --input_train data/sst2/train_full.tsv --input_validation data/sst2/dev.tsv "${sst2[@]}" \
    --max_length=128 --model="$encoder" --output=phrases
python -m pipelines.finetune --data=phrases --model=critic --recipe="$here/recipes/sst2.json" --output=first
[ -f sentences.jsonl ] || python -m benchmarks.sentences split --reviews data/imdb/train.parquet --to sentences.jsonl
python -m pipelines.classify --input sentences.jsonl --keep_columns=text,review --model=first --dtype=bfloat16 --output=labels
[ -f agreeing.tsv ] || python -m benchmarks.sentences agreeing --labels labels/labels --to agreeing.tsv
files=(--input_validation data/sst2/dev.tsv --input_test data/sst2/test-labeled.tsv)
python -m pipelines.prepare --input_train data/sst2/train_full.tsv agreeing.tsv "${files[@]}" "${sst2[@]}" \
    --max_length=128 --model="$encoder" --output=sentences
python -m pipelines.finetune --data=sentences --model=critic --recipe="$here/recipes/sst2-sentences.json" --output=teacher

# The teacher, made small, learns the same and whole reviews.
[ -f small/config.json ] || python -m benchmarks.small_base --model teacher --to small --texts data/sst2/train_full.tsv data/imdb/train.parquet
[ -f reviews.tsv ] || python -m benchmarks.sentences reviews --reviews data/imdb/train.parquet --to reviews.tsv
python -m pipelines.prepare --input_train data/sst2/train_full.tsv agreeing.tsv reviews.tsv "${files[@]}" "${sst2[@]}" \
    --max_length=256 --model=small --output=small-data
python -m pipelines.finetune --data=small-data --model=small --recipe="$here/recipes/sentiment.json" --output=sentiment

# Is it good enough?
python -m pipelines.evaluate --data=small-data --split=validation --model=./sentiment --min_accuracy=0.88 --output=dev --overwrite
python -m pipelines.evaluate --data=small-data --split=test --model=./sentiment --output=test --overwrite
python -m pipelines.evaluate --input data/imdb/test.parquet --max_length=256 --model=./sentiment --output=imdb-test --overwrite
