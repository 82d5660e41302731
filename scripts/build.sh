#!/bin/sh
# build.sh VERSION TAGS builds bin/stoker, one static binary.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

scripts/page.sh
go=$(scripts/go.sh)
# shellcheck disable=SC2034 # for progress
progress_doing=go_doing
progress "building bin/stoker" env CGO_ENABLED=0 "$go" build -trimpath -buildvcs=false -tags "$2" \
	-ldflags "-s -w -X main.version=$1" -o bin/stoker ./cmd/stoker
