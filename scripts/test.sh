#!/bin/sh
# test.sh unit|container|matrix runs the Go tests. "container" runs those with the build tag
# container, which need Docker and the images; "matrix" one of them with all pairs of a JDK and a
# Tomcat, or those in STOKER_MATRIX, without Docker. As root it installs what is missing, else it
# prints it. Without Docker the container tests fail. Skipped tests are listed.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

# Any value means 1.
[ -z "${STOKER_CI:-}" ] || export STOKER_CI=1

go=$(scripts/go.sh)
trap 'docker_stop; rm -f "${progress_log:-}"' EXIT
trap 'exit 130' INT TERM

# packages_doing and tests_doing print the progress of go test.
packages_doing() {
	echo "$(grep -cE '^(ok|FAIL|[?])[[:space:]]+[^ ]+/' "$progress_log") of $packages packages; $(go_doing)"
}
tests_doing() {
	echo "$(grep -c '^--- ' "$progress_log") tests have ended; last: $(sed -n 's/^--- //p' "$progress_log" | tail -n 1)"
}

case ${1:-unit} in
unit)
	tomcat=$(tomcat_version)
	# The race detector needs cgo and a C compiler. zsh and fish are for the tests of completion.
	need gcc libc6-dev zsh fish groff=groff-base ps=procps setsid=util-linux ip=iproute2 ping=iputils-ping libjacoco-java libasm-java \
		"java=$(jre_package)" "javac=$(jdk_package)" "tomcat$tomcat-common" "libtomcat$tomcat-java" "tomcat$tomcat-user"
	scripts/agent.sh # without it the tests of the agent are missing
	packages=$("$go" list ./... | wc -l)
	progress_doing=packages_doing
	# On a busy machine a package may need more than the default of 10 minutes. Each process with the race detector
	# would wait a second before it exits, and the tests start hundreds.
	progress_shown "make test" env CGO_ENABLED=1 GORACE=atexit_sleep_ms=10 "$go" test -race -timeout 20m ./...
	progress_doing=go_doing
	# A module of its own, with real servers. Its tests mostly wait.
	progress_shown "tests with NATS" "$go" -C tests/nats test -parallel 8 ./...
	# Another one, with the clients of Kubernetes.
	progress_shown "tests with kubectl" "$go" -C tests/kube test -parallel 4 ./...
	# Another one, with a real browser. Its screenshots are in ARTIFACTS, or in a temporary folder.
	need chromium=chromium node=nodejs npm=npm
	scripts/page.sh
	(cd tests/page && npm ci --ignore-scripts >/dev/null) || die "cannot take axe-core from npm"
	progress_shown "tests of the page" "$go" -C tests/page test ./...
	;;
container)
	tomcat=$(tomcat_version)
	need_docker
	need perl bash unshare=util-linux nsenter=util-linux prlimit=util-linux ip=iproute2 ping=iputils-ping libjacoco-java libasm-java unzip \
		"java=$(jre_package)" "javac=$(jdk_package)" "jlink=$(jdk_package)" "tomcat$tomcat-common" "libtomcat$tomcat-java" "tomcat$tomcat-user"
	docker_start || die "the container tests need Docker, and none of them was run: $docker_why"
	scripts/image.sh broken
	# A kernel with cgroup v2. Tests that need it are skipped without it.
	scripts/vm.sh >/dev/null || [ -z "${STOKER_CI:-}" ] || exit 1
	# The three pairs of the matrix.
	scripts/matrix.sh >/dev/null || [ -z "${STOKER_CI:-}" ] || exit 1
	[ -d tests ] || die "cannot find the container tests: there is no folder tests"
	# shellcheck disable=SC2034 # for progress
	progress_doing=tests_doing
	# Parallel tests mostly wait.
	progress_shown "container tests" "$go" test -v -count=1 -timeout 25m -parallel 6 -tags container ./tests/...
	skipped=$(sed -n 's/^ *--- SKIP: \([^ ]*\).*/\1/p' "$progress_log")
	# shellcheck disable=SC2086 # a list of names
	[ -z "$skipped" ] || say "NOT EVERYTHING WAS TESTED, skipped were:" $skipped
	;;
matrix)
	need unshare=util-linux nsenter=util-linux ip=iproute2 "javac=$(jdk_package)"
	STOKER_MATRIX=${STOKER_MATRIX:-all}
	export STOKER_MATRIX STOKER_CI=1 # nothing may be skipped
	# shellcheck disable=SC2086 # a list of pairs
	scripts/matrix.sh $STOKER_MATRIX >/dev/null
	# shellcheck disable=SC2034 # for progress
	progress_doing=tests_doing
	progress_shown "the matrix" "$go" test -v -count=1 -timeout 60m -tags container -run '^TestMatrix$' ./tests
	;;
*) die "usage: test.sh unit|container|matrix" ;;
esac
