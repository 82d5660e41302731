#!/bin/sh
# test.sh unit|container runs the Go tests. "container" runs those with the
# build tag of that name, which need Docker and the images; both install what
# they need when they are run as root and name it when they are not.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

go=$(scripts/go.sh)
case ${1:-unit} in
unit)
	tomcat=$(tomcat_version)
	# The race detector needs cgo, and so a C compiler. The shells complete commands.
	need gcc libc6-dev zsh fish groff=groff-base ps=procps setsid=util-linux libjacoco-java libasm-java \
		"java=$(jre_package)" "javac=$(jdk_package)" "tomcat$tomcat-common" "libtomcat$tomcat-java" "tomcat$tomcat-user"
	CGO_ENABLED=1 exec "$go" test -race ./...
	;;
container)
	tomcat=$(tomcat_version)
	need_docker
	need perl bash unshare=util-linux prlimit=util-linux libjacoco-java libasm-java unzip \
		"java=$(jre_package)" "javac=$(jdk_package)" "tomcat$tomcat-common" "libtomcat$tomcat-java" "tomcat$tomcat-user"
	trap docker_stop EXIT
	trap 'exit 130' INT TERM
	docker_start || {
		[ -z "${STOKER_CI:-}" ] || die "no Docker daemon answers, and none can be started"
		say "skipped: no Docker daemon answers, and none can be started"
		exit 0
	}
	scripts/image.sh broken
	# A virtual machine with cgroup v2; its tests say so themselves where it is missing.
	scripts/vm.sh >/dev/null || [ -z "${STOKER_CI:-}" ] || exit 1
	[ -d tests ] || die "cannot find the container tests: there is no folder tests"
	# Most of what runs in parallel waits for something.
	"$go" test -count=1 -timeout 20m -parallel 6 -tags container ./tests/...
	;;
*) die "usage: test.sh unit|container" ;;
esac
