package daemon

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stateFolder returns the folder of state that outlives the container: below $XDG_STATE_HOME if set, else below /var/lib, or below
// ~/.local/state for a user that cannot write there. Empty: none.
func stateFolder(uid int, env func(string) string) string {
	const system = "/var/lib/stoker"
	if dir := env("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "stoker")
	}
	if uid == 0 || unix.Access(system, unix.W_OK) == nil {
		return system
	}
	if home := env("HOME"); filepath.IsAbs(home) {
		if info, err := os.Stat(home); err == nil && info.IsDir() {
			return filepath.Join(home, ".local/state/stoker")
		}
	}
	return ""
}
