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
	"time"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// PluginsOptions are what Plugins work with.
type Options struct {
	Reader Reader
	// Version is stoker's.
	Version string
	// Stoker is the path of our own binary, for commands that begin with "stoker".
	Stoker string
	// StateFile keeps what operators switch; empty: nothing does.
	StateFile string
	// StateDirs are where a plugin's state folder may be, best first.
	StateDirs []string
	// Kept is what an earlier supervisor of this container gave to Keep; nil: nothing.
	Saved []byte
	// Keep keeps something for a later supervisor.
	Save func(data []byte) error
	// Changed is told of every plugin whose state has changed, one at a time and in
	// their order. It must not call back.
	OnChange func(p Info)
	// Renewed is told when the hooks of active plugins may be others. It must not call
	// back.
	OnHooks func(bound []hooks.ResolvedHook)
	// Warn gets what an operator should know.
	Warn func(text string)
}

// Plugins are the plugins of a container: which there are, which count, and what
// they add. It may be used by several goroutines; what reads the disk is done by one
// at a time, and the others do not wait for it.
type Set struct {
	opts    Options
	reading sync.Mutex // held while folders are read
	// switching is held by one switch at a time, also while the state file is written.
	switching sync.Mutex

	mu          sync.Mutex // guards what follows
	cfg         Config
	env         hooks.Facts
	folders     []*Folder
	scopes      map[string]scope // what of a plugin's scope was found on the disk
	readErr     string           // why the folder of the plugins cannot be read; empty: it can
	saved       savedState
	evaluations []*evaluation
	hooks       []byte // the hooks that were told, for comparing
	flavor      string // in force, if there are plugins
}

// NewPlugins knows what was switched before. Configure must follow.
func New(o Options) *Set {
	p := &Set{opts: o, saved: newSavedState(), scopes: map[string]scope{}}
	if o.Saved != nil {
		var err error
		if p.saved, err = readSavedState(o.Saved); err == nil {
			return p
		}
		o.Warn("cannot read the kept state of the plugins: " + err.Error())
		p.saved = newSavedState()
		p.saved.Undecided = "the state that an earlier supervisor kept cannot be read"
	}
	p.loadSwitches()
	return p
}

// Configure has another configuration count.
func (p *Set) Configure(cfg Config, where hooks.Facts) {
	p.reading.Lock()
	p.mu.Lock()
	p.cfg, p.env = cfg, where
	p.mu.Unlock()
	p.reading.Unlock()
	p.Refresh()
}

// Refresh reads the folders again. It may wait for the disk.
func (p *Set) Refresh() {
	p.reading.Lock()
	defer p.reading.Unlock()
	p.mu.Lock()
	dir, where := p.cfg.Dir, p.env
	p.mu.Unlock()
	folders, unread := p.read(dir)
	flavor := ""
	if len(folders) > 0 && where.Flavor != nil {
		flavor = where.Flavor()
	}
	scopes := map[string]scope{}
	for _, f := range folders {
		scopes[f.Name] = p.scopeOf(f)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if unread != "" && unread != p.readErr {
		p.opts.Warn("there are no plugins: " + unread)
	}
	p.readErr, p.folders, p.scopes = unread, folders, scopes
	p.flavor = flavor
	p.update()
}

// read reads every plugin of a folder, by name.
func (p *Set) read(dir string) (out []*Folder, unread string) {
	if dir == "" {
		return nil, ""
	}
	entries, err := untrusted.ReadDir(dir, maxPluginFiles) // in byte order
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ""
	case err != nil:
		return nil, fmt.Sprintf("cannot read %s: %v", dir, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		switch {
		case strings.HasPrefix(e.Name(), "."), err == nil && !info.IsDir():
			continue // a file beside them, or what an image build has left
		case err != nil:
			if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			out = append(out, &Folder{Name: e.Name(), Dir: path, Manifest: &Manifest{}, Enforces: true, Problems: []string{
				fmt.Sprintf("cannot look at %s: %v", path, untrusted.Cause(err))}})
			continue
		}
		if !ValidName(e.Name()) {
			out = append(out, &Folder{Name: e.Name(), Dir: path, Manifest: &Manifest{}, Problems: []string{
				path + ": the name of a plugin has small letters, digits, _ . and -"}})
			continue
		}
		out = append(out, p.opts.Reader.Read(path))
	}
	return out, ""
}

// place finds the folders of a plugin, and makes that of its state.
func (p *Set) scopeOf(f *Folder) scope {
	s := scope{pluginDir: f.Dir, stoker: p.opts.Stoker}
	if dir, err := filepath.Abs(f.Dir); err == nil {
		s.pluginDir = dir
	}
	s.stateErr = errors.New("there is no folder where a state could be kept")
	for _, around := range p.opts.StateDirs {
		dir := filepath.Join(around, f.Name)
		// Others look into it: a JVM of another user may read what a hook has put there.
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			s.stateDir, s.stateErr = dir, nil
			break
		}
		s.stateErr = fmt.Errorf("cannot make the folder for the state: %w", err)
	}
	return s
}

// settle finds out anew what everything comes to, keeps it and tells what has
// changed. p.mu is held.
func (p *Set) update() {
	p.evaluations = p.evaluations[:0:0]
	var bound []hooks.ResolvedHook
	for _, f := range p.folders {
		e := p.evaluation(f)
		e.evaluate(p.opts.Version)
		p.evaluations = append(p.evaluations, e)
		if e.isActive() {
			bound = append(bound, p.activeHooks(e)...)
		} else {
			bound = append(bound, p.teardownHooks(e)...)
		}
	}
	p.notify()
	p.save()
	if said, err := json.Marshal(bound); p.opts.OnHooks != nil && (err != nil || string(said) != string(p.hooks)) {
		p.hooks = said
		p.opts.OnHooks(bound)
	}
}

// forItsOwn are the hooks of a plugin that counts, without those of pre-stop for processes
// that were started without it: what it has not begun it is not to end. p.mu is held.
func (p *Set) activeHooks(e *evaluation) []hooks.ResolvedHook {
	out := slices.Clone(e.hooks)
	for k := range out {
		if out[k].Event != lifecycle.PreStop {
			continue
		}
		for _, service := range slices.Sorted(maps.Keys(p.saved.StartedWithout)) {
			if slices.Contains(p.saved.StartedWithout[service], e.info.Name) {
				out[k].Except = append(out[k].Except, service)
			}
		}
	}
	return out
}

// farewells are the hooks at the end of processes that were started with a plugin
// which does not count any more: what it has begun with them it is to end. p.mu is
// held.
func (p *Set) teardownHooks(e *evaluation) (out []hooks.ResolvedHook) {
	var services []string
	for _, service := range slices.Sorted(maps.Keys(p.saved.StartedWith)) {
		if slices.Contains(p.saved.StartedWith[service], e.info.Name) {
			services = append(services, service)
		}
	}
	for _, b := range e.hooks {
		if b.Event != lifecycle.PreStop && b.Event != lifecycle.Exited && b.Event != lifecycle.Stopped {
			continue
		}
		all := len(b.Services) == 0
		if b.Services = slices.DeleteFunc(slices.Clone(b.Services), func(s string) bool { return !slices.Contains(services, s) }); all {
			b.Services = services
		}
		if len(b.Services) > 0 {
			out = append(out, b)
		}
	}
	return out
}

// evaluation puts together what decides one plugin. p.mu is held.
func (p *Set) evaluation(f *Folder) *evaluation {
	e := &evaluation{folder: f, override: p.cfg.Enabled[f.Name], operator: p.saved.Switches[f.Name], env: p.env, flavor: p.flavor, scope: p.scopes[f.Name]}
	e.scope.env, e.scope.labels = p.env.Env, p.env.Labels
	if e.operator.Enabled == nil {
		e.undecided = p.saved.Undecided
	}
	if failed, ok := p.saved.Failed[f.Name]; ok {
		e.failed = &failed
	}
	return e
}

// tell tells of other states than before. p.mu is held.
func (p *Set) notify() {
	there := map[string]bool{}
	for _, e := range p.evaluations {
		there[e.info.Name] = true
		said := string(e.info.State) + " " + shorten(e.info.Why)
		if p.saved.Reported[e.info.Name] == said {
			continue
		}
		p.saved.Reported[e.info.Name] = said
		if p.opts.OnChange != nil {
			p.opts.OnChange(e.info)
		}
	}
	maps.DeleteFunc(p.saved.Reported, func(name, _ string) bool { return !there[name] })
}

// keep puts what outlives us into the bag. p.mu is held.
func (p *Set) save() {
	data, err := json.Marshal(p.saved)
	if err == nil {
		err = p.opts.Save(data)
	}
	if err != nil {
		p.opts.Warn("the state of the plugins is not kept: " + err.Error())
	}
}

// List gives all plugins as they were found last, by name.
func (p *Set) List() []Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Info, 0, len(p.evaluations))
	for _, e := range p.evaluations {
		out = append(out, e.info)
	}
	return out
}

// find gives the evaluation of a plugin; nil: there is none. p.mu is held.
func (p *Set) find(name string) *evaluation {
	k := slices.IndexFunc(p.evaluations, func(e *evaluation) bool { return e.info.Name == name })
	if k < 0 {
		return nil
	}
	return p.evaluations[k]
}

// Blocked says why no service may start: a plugin that is required has failed, or their
// folder, where such a one may be, cannot be read. nil: they may.
func (p *Set) Blocked() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.readErr != "" {
		return fmt.Errorf("the plugins are not known: %s", p.readErr)
	}
	for _, e := range p.evaluations {
		if !e.info.Required || e.info.State != Failed || e.failed != nil && e.failed.OptionsApply {
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

// Carried are what the plugins that count add to JVMs, by name, less those that are
// left out.
func (p *Set) JVMOptions(leave []string) []JVMOptions {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []JVMOptions
	for _, e := range p.evaluations {
		if e.isActive() && len(e.options.Options) > 0 && !slices.Contains(leave, e.info.Name) {
			out = append(out, e.options)
		}
	}
	return out
}

// Watched are the files and folders whose change may make another plugin of one.
func (p *Set) Watched() (files, dirs []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.folders {
		files = append(files, filepath.Join(f.Dir, ManifestName))
		dirs = append(dirs, filepath.Join(f.Dir, "jvm.d"))
	}
	return files, dirs
}

// NoPluginError says that there is no such plugin, or nothing of that name in it.
type NotFoundError struct{ What, Hint string }

func (e *NotFoundError) Error() string { return e.What }

// noPlugin says that there is none. p.mu is held.
func (p *Set) notFound(name string) error {
	var names []string
	for _, e := range p.evaluations {
		names = append(names, e.info.Name)
	}
	hint := suggest.Hint(name, names)
	if len(names) == 0 {
		hint = fmt.Sprintf("there are none in %s", cmp.Or(p.cfg.Dir, "this mode"))
	}
	return &NotFoundError{fmt.Sprintf("there is no plugin %q", name), hint}
}

// Get gives one plugin.
func (p *Set) Get(name string) (Info, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.find(name); e != nil {
		return e.info, nil
	}
	return Info{}, p.notFound(name)
}

// FailHook notes that a hook of a plugin has failed. One that stands before a start
// leaves the plugin out of it; after that its options go on counting, since no JVM is
// to be started anew for a hook.
func (p *Set) OnHookFailure(name string, event lifecycle.Event, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.find(name)
	if e == nil || e.info.Required {
		return
	}
	before := event == lifecycle.PreStart || event == lifecycle.Init || event == lifecycle.NetworkReady
	p.saved.Failed[name] = failure{Reason: shorten(reason), At: time.Now(), OptionsApply: !before}
	p.update()
}

// Fail leaves a plugin out, until it is switched on again or the container is another
// one.
func (p *Set) Disable(names []string, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disable(names, reason)
	p.update()
}

// fail notes it. p.mu is held.
func (p *Set) disable(names []string, reason string) {
	for _, name := range names {
		p.saved.Failed[name] = failure{Reason: shorten(reason), At: time.Now()}
	}
}
