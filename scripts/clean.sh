#!/bin/sh
# clean.sh removes bin/, man/, the JaCoCo agent, what came from npm, the images made by image.sh, its cached
# root file system and the JDKs and Tomcats of matrix.sh. Packages that were installed stay.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

rm -rf bin man plugins/jacoco/lib web/node_modules tests/page/node_modules internal/page/npm/*.gz internal/tzdata/*.gz \
	jvm/drain/class/*.class
rm -rf "${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/stoker"
if has docker && docker_answers; then
	images=$(docker images -q --filter 'label=stoker.recipe')
	# shellcheck disable=SC2086 # a list of ids
	[ -z "$images" ] || docker rmi -f $images >/dev/null
fi
