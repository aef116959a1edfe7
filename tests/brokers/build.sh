#!/bin/sh
# Builds the broker of the tests, once for each state of its sources, into build/ of the checkout; prints its path.
set -eu
cd "$(dirname "$0")"
digest=$(cat main.go go.mod go.sum build.sh | sha256sum | cut -c1-12)
built="$(cd ../.. && pwd)/build/broker-$digest"
if [ ! -x "$built" ]; then
    mkdir -p "$(dirname "$built")"
    CGO_ENABLED=0 go build -trimpath -o "$built.$$" . >&2
    mv "$built.$$" "$built"
fi
echo "$built"
