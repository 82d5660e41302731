#!/bin/sh
# lint.sh runs gofmt, go vet and the linters of .golangci.yml for Go, and shellcheck for the
# scripts. golangci-lint is built from its module at a fixed version.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

golangci=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
go=$(scripts/go.sh)
trap 'rm -f "${progress_log:-}"' EXIT
trap 'exit 130' INT TERM
need shellcheck gcc libc6-dev

unformatted=$(find . -name '*.go' -not -path './.git/*' -exec "$(dirname "$go")/gofmt" -l {} +)
[ -z "$unformatted" ] || die "not formatted (make fmt does it): $unformatted"
"$go" mod tidy -diff || die "go.mod is not tidy (go mod tidy does it)"
for module in tests/nats tests/kube tests/page; do
	"$go" -C "$module" mod tidy -diff || die "$module/go.mod is not tidy (cd $module && go mod tidy does it)"
done
shellcheck -x scripts/*.sh plugins/*/bin/* .ci/run
progress_shown "go vet" "$go" vet -tags container ./...
for module in tests/nats tests/kube tests/page; do
	progress_shown "go vet of $module" "$go" -C "$module" vet ./...
done
# The linters call the go command.
PATH=$(dirname "$go"):$PATH
export PATH
GOBIN=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/stoker/bin
export GOBIN
# shellcheck disable=SC2034 # for progress
progress_doing=go_doing
progress "building golangci-lint" go install "$golangci"
progress_doing=
progress_shown "golangci-lint" "$GOBIN/golangci-lint" run --build-tags container ./...
