#!/bin/sh
# goflags.sh prints the flags with which `go build` makes bin/stoker, without those for the linker.
# docs/decisions/0044-size-of-the-binary.md has the reasons.
set -eu
cd "$(dirname "$0")/.."

# The tags leave out unused parts of the command line library. build.sh makes the compressed time zones.
zones=
[ ! -s internal/tzdata/zoneinfo.zip.gz ] || zones=,packed_zones
printf '%s\n' -trimpath -buildvcs=false "-tags=urfave_cli_no_docs,urfave_cli_no_suggest$zones"

# Packages whose speed does not matter are compiled without inlining, which makes them smaller.
for cold in \
	'net/http/...' net/textproto net/url 'mime/...' 'crypto/tls/...' 'crypto/x509/...' crypto/hpke math/big 'vendor/...' \
	'archive/...' 'debug/...' encoding/asn1 encoding/gob encoding/xml html os/user regexp/syntax 'text/...' \
	'github.com/nats-io/...' 'github.com/vishvananda/...' github.com/urfave/cli/v2 gopkg.in/yaml.v3 'golang.org/x/text/...' \
	'github.com/hashicorp/...' 'github.com/russross/...' 'github.com/cpuguy83/...' 'github.com/robfig/...' 'github.com/fsnotify/...' \
	./cmd/stoker ./internal/cmdline ./internal/display ./internal/layout ./internal/daemon ./internal/service ./internal/access \
	./internal/remote ./internal/page ./internal/cgroup ./internal/jacoco ./internal/console ./internal/console/audit \
	./internal/console/client ./internal/console/recording ./internal/config ./internal/layeredyaml ./internal/api \
	./executor/client ./executor/mesos ./executor/natsjob ./executor/schedule ./supervisor/incident ./supervisor/probe \
	'./netinit/...' './jvm/...' './hooks/...' ./agent; do
	printf '%s\n' "-gcflags=$cold=-l"
done
