package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/internal/reference"
	"github.com/stoker-init/stoker/internal/statefile"
)

// failure is why a plugin was disabled.
type failure struct {
	Reason string `json:"reason"`
	// OptionsApply means that only a hook has failed: the options still apply.
	OptionsApply bool `json:"options_apply,omitempty"`
}

// savedState is what outlives the supervisor.
type savedState struct {
	// Switches are the operator's, by plugin.
	Switches map[string]Switch `json:"switches"`
	// Undecided is why the earlier switches are unknown; empty: they are known. A plugin is then
	// active only once an operator has switched it on again.
	Undecided string                   `json:"undecided,omitempty"`
	Failed    map[string]failure       `json:"failed"`
	Services  map[string]*serviceState `json:"services"`
	// Pending is the restart that a change requires and that is not done.
	Pending *PendingRestart `json:"pending,omitempty"`
	// Reported are the states that OnChange knows.
	Reported map[string]string `json:"reported"`
}

// serviceState is about the latest start of a service.
type serviceState struct {
	// With are the plugins whose options its process has; Without are those with hooks of
	// pre-stop that were inactive at its start.
	With    []string `json:"with,omitempty"`
	Without []string `json:"without,omitempty"`
	// Trial are suspects without which it was started; Exonerated are those that were not the cause.
	Trial      []string `json:"trial,omitempty"`
	Exonerated []string `json:"exonerated,omitempty"`
	// DeferredPid is a process that is not restarted for what was switched.
	DeferredPid int `json:"deferred_pid,omitempty"`
}

// PendingRestart says that JVMs must be restarted with other options.
type PendingRestart struct {
	By     string `json:"by"`
	Plugin string `json:"plugin,omitempty"` // that was switched; empty: the configuration has changed
	Later  bool   `json:"later,omitempty"`  // running JVMs are left as they are
	// Before is the digest of the options before the change; empty: they may be equal.
	Before string `json:"before,omitempty"`
}

// maxReason bounds the reason of a failure, in bytes.
const maxReason = 500

func newSavedState() savedState {
	return savedState{Switches: map[string]Switch{}, Failed: map[string]failure{}, Services: map[string]*serviceState{},
		Reported: map[string]string{}}
}

// service returns the state of a service.
func (s *savedState) service(name string) *serviceState {
	if s.Services[name] == nil {
		s.Services[name] = &serviceState{}
	}
	return s.Services[name]
}

// restore reads the state of an earlier supervisor, or else the state file.
func (p *Set) restore() {
	found, err := p.opts.Restore(&p.saved)
	if err != nil {
		p.opts.Warn("cannot read the kept state of the plugins: " + err.Error())
		p.saved = newSavedState()
		p.saved.Undecided = "the state that an earlier supervisor kept cannot be read"
	}
	if !found || err != nil {
		p.loadSwitches()
	}
}

// save saves the state for the next supervisor if it has changed. p.mu is held.
func (p *Set) save() {
	maps.DeleteFunc(p.saved.Services, func(_ string, s *serviceState) bool {
		return len(s.With)+len(s.Without)+len(s.Trial)+len(s.Exonerated)+s.DeferredPid == 0
	})
	text, err := json.Marshal(p.saved)
	if err == nil && string(text) == p.lastSaved {
		return
	}
	if err = p.opts.Save(&p.saved); err != nil {
		p.opts.Warn("the state of the plugins is not kept: " + err.Error())
		return
	}
	p.lastSaved = string(text)
}

// switchFile is the state file, which outlives the container.
type switchFile struct {
	Plugins   map[string]Switch `json:"plugins"`
	Undecided string            `json:"undecided,omitempty"` // as in savedState
}

// maxStateFile bounds the state file, in bytes.
const maxStateFile = 1 << 20

func (p *Set) stateFile() statefile.File {
	return statefile.File{Path: p.opts.StateFile, Kind: "plugins", Max: maxStateFile}
}

// loadSwitches reads the state file. If it cannot be read the switches are unknown; a damaged file is
// replaced by one that says so, and kept.
func (p *Set) loadSwitches() {
	if p.opts.StateFile == "" {
		return
	}
	var s switchFile
	err := p.stateFile().Read(&s)
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
		p.saved.Undecided += "; it is kept as " + filepath.Base(p.opts.StateFile) + ".bad"
		if p.saveSwitches() != nil {
			p.saved.Undecided = why // the damaged file stays
		}
	}
	p.opts.Warn(p.saved.Undecided + ": a plugin is active once it is switched on again")
}

// saveSwitches writes the state file.
func (p *Set) saveSwitches() error {
	if p.opts.StateFile == "" {
		return errors.New("there is no folder for it")
	}
	p.mu.Lock()
	s := switchFile{maps.Clone(p.saved.Switches), p.saved.Undecided}
	p.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(p.opts.StateFile), 0o755); err != nil {
		return err
	}
	return p.stateFile().Write(s)
}

// shorten makes one short line of a reason.
func shorten(text string) string {
	return reference.Shorten(strings.Join(strings.Fields(text), " "), maxReason)
}

// RequireRestart notes that JVMs must be restarted if the configuration that follows changes options.
func (p *Set) RequireRestart(by string) {
	before := p.digest()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved.Pending = &PendingRestart{By: by, Before: before}
	p.save()
}

// PendingRestart returns the restart that is not done, of an earlier supervisor too.
func (p *Set) PendingRestart() (r PendingRestart, ok bool) {
	now := p.digest()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saved.Pending == nil || p.saved.Pending.Before == now {
		return PendingRestart{}, false
	}
	return *p.saved.Pending, true
}

// RestartDone forgets the pending restart.
func (p *Set) RestartDone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.saved.Pending != nil {
		p.saved.Pending = nil
		p.save()
	}
}

// digest identifies the options of all active plugins.
func (p *Set) digest() string {
	sum := sha256.Sum256(fmt.Append(nil, p.JVMOptions(nil))) // maps are printed sorted
	return hex.EncodeToString(sum[:])
}

// DeferRestart leaves a process as it is, whatever was switched.
func (p *Set) DeferRestart(service string, pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saved.service(service).DeferredPid = pid
	p.save()
}

// RestartDeferred reports whether a process is left as it is.
func (p *Set) RestartDeferred(service string, pid int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pid != 0 && p.saved.service(service).DeferredPid == pid
}
