#!/usr/bin/env bash
# Install Prism, Beam's engine of one machine, in the version of the Beam that this project runs on.
set -euo pipefail

usage() {
    cat <<'END_OF_HELP'
install.sh    go install github.com/apache/beam/sdks/v2/go/cmd/prism@vVERSION

VERSION is that of apache-beam in PYTHON (default: that of .venv, else python3). It takes Go, and what Go downloads, and comes
into Go's bin folder, or into GOBIN, where --runner=PrismRunner finds it. Nothing else here downloads anything.
END_OF_HELP
}

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../services.sh
. "$here/../services.sh"
case ${1-} in
    '') ;;
    -h | --help) usage && exit 0 ;;
    *) refuse "$1: it takes no words" ;;
esac
need go "build Prism, which is written in it: install Go (https://go.dev/dl)"
python=$(python_of "$here/../..")
version=$("$python" -c 'import importlib.metadata as m; print(m.version("apache-beam"))' 2>/dev/null) ||
    refuse "$python has no apache-beam: name in PYTHON the Python that has this project"
module=github.com/apache/beam/sdks/v2/go/cmd/prism@v$version
say "go install $module (some minutes, the first time)"
go install "$module"
bin=$(go env GOBIN)
[[ -n $bin ]] || bin=$(go env GOPATH | cut -d: -f1)/bin
say "$bin/prism is there"
