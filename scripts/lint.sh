#!/bin/sh
# lint.sh checks what a reviewer should not have to: formatting, vet and the
# linters of .golangci.yml for Go, shellcheck for the scripts. The linter is
# built from its module, at one version for everybody.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

golangci=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
go=$(scripts/go.sh)
need shellcheck gcc libc6-dev

unformatted=$(find . -name '*.go' -not -path './.git/*' -exec "$(dirname "$go")/gofmt" -l {} +)
[ -z "$unformatted" ] || die "not formatted (make fmt does it): $unformatted"
shellcheck -x scripts/*.sh plugins/*/bin/* .ci/run
"$go" vet -tags container ./...
# The linters call the go command themselves.
PATH=$(dirname "$go"):$PATH
export PATH
go run "$golangci" run --build-tags container ./...
