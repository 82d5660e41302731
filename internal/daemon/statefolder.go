package daemon

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stateFolder is where what must outlive the container's restart is kept, each
// part in a folder of its own below it, which it makes: $XDG_STATE_HOME/stoker where
// that is set, else /var/lib/stoker, and for who is not root and may not write that
// ~/.local/state/stoker. Empty: there is none.
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
