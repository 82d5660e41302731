package plugin

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Options configure a Set.
type Options struct {
	Reader  Reader
	Version string // of stoker
	// Stoker is the path of stoker's binary, for commands that begin with "stoker".
	Stoker string
	// StateFile keeps the switches of operators; empty: they end with the container.
	StateFile string
	// StateDirs are folders for the plugins' state folders, best first.
	StateDirs []string
	// Restore reads what an earlier supervisor of this container gave to Save.
	Restore func(state any) (found bool, err error)
	// Save keeps a value for the next supervisor.
	Save func(state any) error
	// OnChange is called for every plugin with another state, one at a time and in their order. It
	// must not call back.
	OnChange func(p Info)
	// OnHooks is called when the hooks of the plugins have changed. It must not call back.
	OnHooks func(hooks []hooks.ResolvedHook)
	// Warn logs a warning.
	Warn func(text string)
}

// Set is the plugins of a container. It is safe for concurrent use; nothing but another Refresh waits while it reads the disk.
type Set struct {
	opts      Options
	reading   sync.Mutex // held while folders are read
	switching sync.Mutex // held by one switch, also while the state file is written

	mu          sync.Mutex // guards what follows
	cfg         Config
	facts       hooks.Facts
	flavor      string // in force, if there are plugins
	folders     []*Folder
	readErr     string // why the plugins' folder cannot be read; empty: it can
	saved       savedState
	evaluations []*evaluation
	lastHooks   string // that OnHooks was called with
	lastSaved   string // the state that Save was called with
}

// New makes a Set without plugins, which knows the earlier switches. Configure must follow.
func New(o Options) *Set {
	p := &Set{opts: o, saved: newSavedState()}
	p.restore()
	return p
}

// Configure applies another configuration.
func (p *Set) Configure(cfg Config, facts hooks.Facts) {
	p.reading.Lock()
	p.mu.Lock()
	p.cfg, p.facts = cfg, facts
	p.mu.Unlock()
	p.reading.Unlock()
	p.Refresh()
}

// Refresh reads the folders again. It may wait for the disk.
func (p *Set) Refresh() {
	p.reading.Lock()
	defer p.reading.Unlock()
	p.mu.Lock()
	dir, facts := p.cfg.Dir, p.facts
	p.mu.Unlock()
	folders, readErr := p.read(dir)
	flavor := ""
	if len(folders) > 0 && facts.Flavor != nil {
		flavor = facts.Flavor()
	}
	for _, f := range folders {
		f.scope = p.scopeOf(f)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if readErr != "" && readErr != p.readErr {
		p.opts.Warn("there are no plugins: " + readErr)
	}
	p.readErr, p.folders, p.flavor = readErr, folders, flavor
	p.update()
}

// read reads all plugins of a folder, by name.
func (p *Set) read(dir string) (out []*Folder, readErr string) {
	if dir == "" {
		return nil, ""
	}
	entries, err := untrusted.ReadDir(dir, maxFiles) // in byte order
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ""
	case err != nil:
		return nil, fmt.Sprintf("cannot read %s: %v", dir, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		_, linkErr := os.Lstat(path)
		f := &Folder{Name: e.Name(), Dir: path, Manifest: &Manifest{}, Enforces: err != nil}
		switch {
		case strings.HasPrefix(e.Name(), "."), err == nil && !info.IsDir(), errors.Is(linkErr, fs.ErrNotExist):
			continue // a file beside them, or what an image build has left, or removed meanwhile
		case err != nil:
			f.problem("cannot look at %s: %v", path, untrusted.Cause(err))
		case !ValidName(e.Name()):
			f.problem("%s: the name of a plugin has small letters, digits, _ . and -", path)
		default:
			f = p.opts.Reader.Read(path)
		}
		out = append(out, f)
	}
	return out, ""
}

// scopeOf finds the folders of a plugin, and makes its state folder.
func (p *Set) scopeOf(f *Folder) scope {
	s := scope{pluginDir: f.Dir, stoker: p.opts.Stoker}
	if dir, err := filepath.Abs(f.Dir); err == nil {
		s.pluginDir = dir
	}
	s.stateErr = errors.New("there is no folder where a state could be kept")
	for _, parent := range p.opts.StateDirs {
		dir := filepath.Join(parent, f.Name)
		// A JVM of another user may read what a hook has put there.
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			s.stateDir, s.stateErr = dir, nil
			break
		}
		s.stateErr = fmt.Errorf("cannot make the folder for the state: %w", err)
	}
	return s
}

// update evaluates all plugins, saves the state and reports changes. p.mu is held.
func (p *Set) update() {
	p.evaluations = nil
	var all []hooks.ResolvedHook
	for _, f := range p.folders {
		e := p.evaluation(f)
		e.evaluate(p.opts.Version)
		p.evaluations = append(p.evaluations, e)
		if e.isActive() {
			all = append(all, p.activeHooks(e)...)
		} else {
			all = append(all, p.teardownHooks(e)...)
		}
	}
	p.reportChanges()
	p.save()
	if text, err := json.Marshal(all); err != nil || string(text) != p.lastHooks {
		p.lastHooks = string(text)
		p.opts.OnHooks(all)
	}
}

// activeHooks are the hooks of an active plugin. Those of pre-stop do not run for processes that were
// started without it: there is nothing of it to stop. p.mu is held.
func (p *Set) activeHooks(e *evaluation) []hooks.ResolvedHook {
	out := slices.Clone(e.hooks)
	for k := range out {
		if out[k].Event == lifecycle.PreStop {
			out[k].Except = p.servicesWhere(func(s *serviceState) bool { return slices.Contains(s.Without, e.info.Name) })
		}
	}
	return out
}

// servicesWhere returns the names of the services that holds selects. p.mu is held.
func (p *Set) servicesWhere(holds func(*serviceState) bool) []string {
	all := slices.Sorted(maps.Keys(p.saved.Services))
	return slices.DeleteFunc(all, func(name string) bool { return !holds(p.saved.Services[name]) })
}

// teardownHooks are the hooks at the end of processes that were started with a plugin which is now
// inactive: it ends what it has begun. p.mu is held.
func (p *Set) teardownHooks(e *evaluation) (out []hooks.ResolvedHook) {
	services := p.servicesWhere(func(s *serviceState) bool { return slices.Contains(s.With, e.info.Name) })
	for _, b := range e.hooks {
		if b.Event != lifecycle.PreStop && b.Event != lifecycle.Exited && b.Event != lifecycle.Stopped {
			continue
		}
		if len(b.Services) == 0 {
			b.Services = services
		} else {
			b.Services = slices.DeleteFunc(slices.Clone(b.Services), func(s string) bool { return !slices.Contains(services, s) })
		}
		if len(b.Services) > 0 {
			out = append(out, b)
		}
	}
	return out
}

// evaluation collects what decides about a plugin. p.mu is held.
func (p *Set) evaluation(f *Folder) *evaluation {
	e := &evaluation{folder: f, override: p.cfg.Enabled[f.Name], operator: p.saved.Switches[f.Name], flavor: p.flavor, scope: f.scope}
	e.scope.env, e.scope.labels = p.facts.Env, p.facts.Labels
	if e.operator.Enabled == nil {
		e.undecided = p.saved.Undecided
	}
	if failed, ok := p.saved.Failed[f.Name]; ok {
		e.failed = &failed
	}
	return e
}

// reportChanges calls OnChange. p.mu is held.
func (p *Set) reportChanges() {
	exists := map[string]bool{}
	for _, e := range p.evaluations {
		exists[e.info.Name] = true
		state := string(e.info.State) + " " + shorten(e.info.Why)
		if p.saved.Reported[e.info.Name] == state {
			continue
		}
		p.saved.Reported[e.info.Name] = state
		p.opts.OnChange(e.info)
	}
	maps.DeleteFunc(p.saved.Reported, func(name, _ string) bool { return !exists[name] })
}

// NotFoundError means that there is no such plugin or action.
type NotFoundError struct{ What, Hint string }

func (e *NotFoundError) Error() string { return e.What }

// find returns the evaluation of a plugin, or a NotFoundError. p.mu is held.
func (p *Set) find(name string) (*evaluation, error) {
	var names []string
	for _, e := range p.evaluations {
		if e.info.Name == name {
			return e, nil
		}
		names = append(names, e.info.Name)
	}
	what := fmt.Sprintf("there is no plugin %q in %s", name, cmp.Or(p.cfg.Dir, "this mode"))
	return nil, &NotFoundError{what, suggest.Hint(name, names)}
}

// Get returns a plugin.
func (p *Set) Get(name string) (Info, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, err := p.find(name)
	if err != nil {
		return Info{}, err
	}
	return e.info, nil
}

// List returns all plugins by name, as of the last Refresh.
func (p *Set) List() []Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Info, 0, len(p.evaluations))
	for _, e := range p.evaluations {
		out = append(out, e.info)
	}
	return out
}

// Blocked is why no service may start: a required plugin has failed, or the folder of the plugins, which
// may have one, cannot be read. nil: they may.
func (p *Set) Blocked() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr != "" {
		return fmt.Errorf("the plugins are not known: %s", p.readErr)
	}
	for _, e := range p.evaluations {
		if !e.info.Required || e.info.State != Failed || e.isActive() {
			continue
		}
		why := "is required"
		if e.folder.Manifest.Required == nil {
			why = "has options of the layer enforced, or may have,"
		}
		return fmt.Errorf("the plugin %s %s and has failed: %s", e.info.Name, why, e.info.Why)
	}
	return nil
}

// JVMOptions returns what the active plugins add to JVMs, by name, without some of them.
func (p *Set) JVMOptions(without []string) []JVMOptions {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []JVMOptions
	for _, e := range p.evaluations {
		if e.isActive() && len(e.options.Options) > 0 && !slices.Contains(without, e.info.Name) {
			out = append(out, e.options)
		}
	}
	return out
}

// Watched returns the files and folders whose change may change a plugin.
func (p *Set) Watched() (files, dirs []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.folders {
		files = append(files, filepath.Join(f.Dir, ManifestName))
		dirs = append(dirs, filepath.Join(f.Dir, "jvm.d"))
	}
	return files, dirs
}
