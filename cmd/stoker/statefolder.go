package main

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stateFolder is where what must outlive the container's restart is kept, each
// part in a folder of its own below it, which it makes: /var/lib/stoker, and for
// who is not root $XDG_STATE_HOME/stoker, else the first of /var/lib/stoker and
// ~/.local/state/stoker that it may write. Empty: there is none.
func stateFolder(uid int, env func(string) string) string {
	const system = "/var/lib/stoker"
	if uid == 0 {
		return system
	}
	if dir := env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "stoker")
	}
	if unix.Access(system, unix.W_OK) == nil {
		return system
	}
	if home := env("HOME"); filepath.IsAbs(home) {
		if info, err := os.Stat(home); err == nil && info.IsDir() {
			return filepath.Join(home, ".local/state/stoker")
		}
	}
	return ""
}
