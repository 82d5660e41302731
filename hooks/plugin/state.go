package plugin

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/reference"
	"github.com/stoker-init/stoker/internal/statefile"
)

// failure is what befell a plugin.
type failure struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Carried says that its options count all the same: only a hook has failed.
	OptionsApply bool `json:"carried,omitempty"`
}

// pluginMemory is what of the plugins outlives the supervisor, in the bag. A
// supervisor of another version may read it: fields are added, and keep their
// meaning.
type savedState struct {
	// Switches are the operator's, by plugin.
	Switches map[string]Switch `json:"switches,omitempty"`
	// Undecided is why it is not known what was switched before; empty: it is. Then a
	// plugin counts when an operator has switched it on again.
	Undecided string `json:"undecided,omitempty"`
	// Unsaved is why they are not in the state file; empty: they are.
	Unsaved string             `json:"unsaved,omitempty"`
	Failed  map[string]failure `json:"failed,omitempty"`
	// Carried are the plugins whose options a service's latest process was started
	// with, by service.
	StartedWith map[string][]string `json:"carried,omitempty"`
	// Missing are the plugins with hooks of pre-stop that did not count when a service's
	// latest process was started, by service.
	StartedWithout map[string][]string `json:"missing,omitempty"`
	// Trials are those that a service is started without to see whether they were the
	// cause of its end.
	Trials map[string][]string `json:"trials,omitempty"`
	// Cleared are those that were found not to be it.
	Exonerated map[string][]string `json:"cleared,omitempty"`
	// Deferred are processes that are not restarted for what a switch changed.
	Deferred map[string]int `json:"deferred,omitempty"`
	// Owed is what a change of the plugins has to be followed by, and has not been.
	Pending *PendingRestart `json:"owed,omitempty"`
	// Told are the states that were told.
	Reported map[string]string `json:"told,omitempty"`
}

// maxReason bounds what is kept of a failure, in bytes: the bag is small.
const maxReason = 500

func newSavedState() savedState {
	return savedState{Switches: map[string]Switch{}, Failed: map[string]failure{}, StartedWith: map[string][]string{},
		StartedWithout: map[string][]string{}, Trials: map[string][]string{},
		Exonerated: map[string][]string{}, Deferred: map[string]int{}, Reported: map[string]string{}}
}

// readPluginMemory reads what an earlier supervisor of this container has kept.
func readSavedState(data []byte) (savedState, error) {
	m := newSavedState()
	err := json.Unmarshal(data, &m)
	return m, err
}

// switchFile is what the operator's words are kept in, over the container's end.
type switchFile struct {
	Plugins map[string]Switch `json:"plugins"`
	// Undecided is that of the pluginMemory.
	Undecided string `json:"undecided,omitempty"`
}

// maxStateFile bounds it, in bytes.
const maxStateFile = 1 << 20

// stateFile is the file; ok is false where there is no folder for it.
func (p *Set) stateFile() (f statefile.File, ok bool) {
	return statefile.File{Path: p.opts.StateFile, Kind: "plugins", Max: maxStateFile}, p.opts.StateFile != ""
}

// recall reads what was switched before. What cannot be read is undecided, and a damaged
// file is replaced by one that says so, which keeps it.
func (p *Set) loadSwitches() {
	file, ok := p.stateFile()
	if !ok {
		return
	}
	var s switchFile
	err := file.Read(&s)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err == nil:
		maps.Copy(p.saved.Switches, s.Plugins)
		p.saved.Undecided = s.Undecided
		return
	}
	why := err.Error()
	p.saved.Undecided = why
	if errors.As(err, new(*statefile.DamagedError)) {
		p.saved.Undecided += "; it is kept as " + filepath.Base(file.Path) + ".bad"
		if p.saveSwitches() != nil {
			p.saved.Undecided = why // it stays in its place, and says so again
		}
	}
	p.opts.Warn(p.saved.Undecided + ": a plugin counts once it is switched on again")
}

// save writes what was switched.
func (p *Set) saveSwitches() error {
	file, ok := p.stateFile()
	if !ok {
		return errors.New("there is no folder for it")
	}
	p.mu.Lock()
	s := switchFile{maps.Clone(p.saved.Switches), p.saved.Undecided}
	p.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(file.Path), 0o755); err != nil {
		return err
	}
	return file.Write(s)
}

// brief is a text as a reason that is kept.
func shorten(text string) string {
	return reference.Shorten(strings.Join(strings.Fields(text), " "), maxReason)
}
