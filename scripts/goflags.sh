#!/bin/sh
# goflags.sh prints the flags with which `go build` makes bin/stoker, without those for the linker.
# docs/decisions/0044-size-of-the-binary.md has the reasons.
set -eu

# The tags leave out unused parts of the command line library.
printf '%s\n' -trimpath -buildvcs=false -tags=urfave_cli_no_docs,urfave_cli_no_suggest

# Packages whose speed does not matter are compiled without inlining, which makes them smaller.
for cold in \
	'net/http/...' 'crypto/tls/...' 'crypto/x509/...' 'vendor/...' \
	'github.com/nats-io/...' 'github.com/vishvananda/...' github.com/urfave/cli/v2 gopkg.in/yaml.v3 'golang.org/x/text/...' \
	./cmd/stoker ./internal/cmdline ./internal/display ./internal/layout ./internal/daemon ./internal/service ./internal/access './netinit/...' ./internal/config ./internal/layeredyaml './jvm/...' './hooks/...' ./internal/api ./agent; do
	printf '%s\n' "-gcflags=$cold=-l"
done
