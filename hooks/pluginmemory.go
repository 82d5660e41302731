package hooks

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/reference"
)

// failure is what befell a plugin.
type failure struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Carried says that its options count all the same: only a hook has failed.
	Carried bool `json:"carried,omitempty"`
}

// pluginMemory is what of the plugins outlives the supervisor, in the bag. A
// supervisor of another version may read it: fields are added, and keep their
// meaning.
type pluginMemory struct {
	// Switches are the operator's, by plugin.
	Switches map[string]Switch `json:"switches,omitempty"`
	// Unsaved is why they are not in the state file; empty: they are.
	Unsaved string             `json:"unsaved,omitempty"`
	Failed  map[string]failure `json:"failed,omitempty"`
	// Carried are the plugins whose options a service's latest process was started
	// with, by service.
	Carried map[string][]string `json:"carried,omitempty"`
	// Trials are those that a service is started without to see whether they were the
	// cause of its end.
	Trials map[string][]string `json:"trials,omitempty"`
	// Cleared are those that were found not to be it.
	Cleared map[string][]string `json:"cleared,omitempty"`
	// Deferred are processes that are not restarted for what a switch changed.
	Deferred map[string]int `json:"deferred,omitempty"`
	// Owed is what a change of the plugins has to be followed by, and has not been.
	Owed *Owed `json:"owed,omitempty"`
	// Told are the states that were told.
	Told map[string]string `json:"told,omitempty"`
}

// maxReason bounds what is kept of a failure, in bytes: the bag is small.
const maxReason = 500

func newPluginMemory() pluginMemory {
	return pluginMemory{Switches: map[string]Switch{}, Failed: map[string]failure{}, Carried: map[string][]string{}, Trials: map[string][]string{},
		Cleared: map[string][]string{}, Deferred: map[string]int{}, Told: map[string]string{}}
}

// readPluginMemory reads what an earlier supervisor of this container has kept.
func readPluginMemory(data []byte) (pluginMemory, error) {
	m := newPluginMemory()
	err := json.Unmarshal(data, &m)
	return m, err
}

// stateFile is what the operator's words are kept in, over the container's end.
type stateFile struct {
	Plugins map[string]Switch `json:"plugins"`
}

// maxStateFile bounds it, in bytes.
const maxStateFile = 1 << 20

// readSwitches reads the state file; without one there are no switches.
func readSwitches(path string) (map[string]Switch, error) {
	text, err := readText(path, maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var s stateFile
	if err == nil {
		err = json.Unmarshal([]byte(text), &s)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read what was switched before: %s: %w", path, err)
	}
	return s.Plugins, nil
}

// writeSwitches puts another state file in the place of the one before: whole, or
// not at all, and on the disk when it returns.
func writeSwitches(path string, switches map[string]Switch) (err error) {
	data, err := json.MarshalIndent(stateFile{switches}, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, ".plugins-*") // 0600: it may hold secrets
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // what is left of it does no harm
		}
	}()
	_, err = file.Write(append(data, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", file.Name(), cmp.Or(errors.Unwrap(err), err))
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// brief is a text as a reason that is kept.
func brief(text string) string {
	return reference.Shorten(strings.Join(strings.Fields(text), " "), maxReason)
}
