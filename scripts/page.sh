#!/bin/sh
# page.sh puts the parts of the page that come from npm, by the lock file in web, into internal/page/npm, where
# they are embedded. Without node and npm it says so, and the page has no terminal.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh

out=internal/page/npm
made=$out/xterm.mjs.gz
[ ! -e "$made" ] || [ -n "$(find web/package-lock.json scripts/page.sh -newer "$made")" ] || exit 0
if ! has node || ! has npm; then
	say "no node and npm: the page will have no terminal"
	exit 0
fi
# shellcheck disable=SC2034 # for progress
progress_doing=
(cd web && progress "taking the terminal from npm" npm ci --omit=dev --ignore-scripts) || {
	say "cannot take the terminal from npm: the page will have none"
	exit 0
}
# A module is a file already: they are only compressed, the same each time.
modules=web/node_modules/@xterm
rm -f "$out"/*.gz
for file in xterm/css/xterm.css addon-fit/lib/addon-fit.mjs addon-search/lib/addon-search.mjs \
	addon-unicode-graphemes/lib/addon-unicode-graphemes.mjs xterm/lib/xterm.mjs; do
	grep -v '^//# sourceMappingURL=' "$modules/$file" | gzip -9n >"$out/${file##*/}.gz"
done
