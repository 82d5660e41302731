package plugin

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/reference"
	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm"
)

// Folder is a plugin on the disk, without values.
type Folder struct {
	Name string // of the folder
	Dir  string
	// Manifest is what could be read of it; it is empty if nothing could.
	Manifest *Manifest
	// Fragments are the files of jvm.d in their order.
	Fragments []Fragment
	// Enforces means that it has options of the layer enforced, or may have: some cannot be read.
	Enforces bool
	// Files are the hooks of hooks/EVENT.d.
	Files []hooks.ResolvedHook
	// Problems are why it cannot be used, with file and line.
	Problems []string
	// Notes are about files that are ignored.
	Notes []string
	scope scope // folders that references name
}

// Fragment is a file of JVM options.
type Fragment struct {
	File    string // in the plugin's folder
	Layer   jvm.Layer
	Options []jvm.Option // with references
}

// Reader reads plugins.
type Reader struct {
	// Manifest reads a plugin.yaml. With an error it returns what could be read, or nil.
	Manifest func(path string) (*Manifest, error)
	// CheckOwners refuses plugins that others than root and stoker's user may write to.
	CheckOwners bool
}

// Limits of a plugin.
const (
	maxFiles    = 10_000
	maxFragment = 1 << 20 // bytes of an option file
)

// Read reads the plugin in a folder.
func (r Reader) Read(dir string) *Folder {
	f := &Folder{Name: filepath.Base(dir), Dir: dir}
	if r.CheckOwners {
		if err := checkOwners(dir); err != nil {
			f.problem("%v", err)
		}
	}
	manifest := filepath.Join(dir, ManifestName)
	var err error
	if f.Manifest, err = r.Manifest(manifest); err != nil {
		f.Problems = append(f.Problems, strings.Split(err.Error(), "\n")...)
	}
	if f.Manifest == nil {
		f.Manifest = &Manifest{}
	}
	if name := f.Manifest.Name; name != "" && name != f.Name {
		f.problem("%s: name: it is %q, and the folder is called %q: they must be the same", manifest, name, f.Name)
	}
	f.readFragments(err != nil && f.Manifest.JVM.Layer == "")
	f.readHooks()
	return f
}

// required reports whether services must not start without the plugin. A failed policy would vanish
// otherwise, and code in the JVM may have made it fail.
func (f *Folder) required() bool {
	if f.Manifest.Required != nil {
		return *f.Manifest.Required
	}
	return f.Enforces
}

func (f *Folder) problem(format string, args ...any) {
	f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
}

// readHooks finds the hook files.
func (f *Folder) readHooks() {
	var problems []hooks.Problem
	f.Files, problems = hooks.Discover(filepath.Join(f.Dir, "hooks"), &f.Manifest.Hooks, func(e lifecycle.Event, k int) string {
		return fmt.Sprintf("%s: hooks.%s[%d]", filepath.Join(f.Dir, ManifestName), e, k)
	})
	for _, p := range problems {
		if p.Fatal {
			f.Problems = append(f.Problems, p.Error())
		} else {
			f.Notes = append(f.Notes, p.Error())
		}
	}
}

var (
	fragmentName = lazyregexp.New(`^[0-9]{1,4}-[A-Za-z0-9_.-]+\.opts$`)
	layerLine    = lazyregexp.New(`^#\s*layer:\s*(\S*)\s*$`)
	layers       = []jvm.Layer{jvm.Default, jvm.User, jvm.Enforced}
)

// readFragments reads jvm.d. With unsure the layer of a file that names none is unknown.
func (f *Folder) readFragments(unsure bool) {
	dir := filepath.Join(f.Dir, "jvm.d")
	entries, err := untrusted.ReadDir(dir, maxFiles)
	if _, statErr := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) && statErr != nil {
		return // a dangling link is an error
	}
	if err != nil {
		f.Enforces = true
		f.problem("cannot read %s: %v", dir, err)
		return
	}
	var names []string
	for _, e := range entries {
		if fragmentName().MatchString(e.Name()) {
			names = append(names, e.Name())
		} else {
			f.Notes = append(f.Notes, fmt.Sprintf("%s is ignored: option files are called NN-name.opts", filepath.Join("jvm.d", e.Name())))
		}
	}
	slices.SortFunc(names, hooks.CompareNumbered)
	for _, name := range names {
		f.readFragment(filepath.Join("jvm.d", name), unsure)
	}
}

// readFragment reads an option file.
func (f *Folder) readFragment(name string, unsure bool) {
	path := filepath.Join(f.Dir, name)
	data, err := untrusted.ReadFile(path, maxFragment)
	if err == nil && bytes.IndexByte(data, 0) >= 0 {
		err = errors.New("it has a NUL byte: it is no text")
	}
	if err != nil {
		f.Enforces = true
		f.problem("cannot read %s: %v", path, err)
		return
	}
	layer := jvm.Layer(cmp.Or(f.Manifest.JVM.Layer, string(jvm.Default)))
	first, _, _ := strings.Cut(strings.TrimPrefix(string(data), "\ufeff"), "\n")
	m := layerLine().FindStringSubmatch(first)
	if m != nil {
		layer, unsure = jvm.Layer(m[1]), false
	}
	known := slices.Contains(layers, layer)
	f.Enforces = f.Enforces || layer == jvm.Enforced || unsure || !known
	if m != nil && !known {
		f.problem("%s:1: %q is no layer: there are default, user and enforced", path, m[1])
		return
	}
	fragment := Fragment{File: name, Layer: layer, Options: jvm.ParseFile(name, string(data))}
	for _, o := range fragment.Options {
		source := filepath.Join(f.Dir, o.Source)
		if arg := o.Args[0]; !strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "@") {
			f.problem("%s: %q does not begin with -, as every JVM option does", source, reference.Shorten(arg, 60))
		}
		if err := checkText(o.String(), f.Manifest.Params, inArgument); err != nil {
			f.problem("%s: %v", source, err)
		}
	}
	f.Fragments = append(f.Fragments, fragment)
}

// checkOwners refuses a plugin that others may write to: its folder, those above it, and all that is in it.
func checkOwners(dir string) error {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", dir, untrusted.Cause(err))
	}
	if err := trust.Path(dir, os.Geteuid()); err != nil {
		return err
	}
	count := 0
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if count++; err != nil {
			return fmt.Errorf("cannot look at %s: %w", path, untrusted.Cause(err))
		}
		if count > maxFiles {
			return fmt.Errorf("%s has more than %d files: that is no plugin", dir, maxFiles)
		}
		if d.Type()&fs.ModeSymlink == 0 {
			return trust.Entry(path, os.Geteuid())
		}
		if _, err := os.Stat(path); err != nil {
			return nil //nolint:nilerr // a dangling link: opening it gives the error
		}
		return trust.Path(path, os.Geteuid())
	})
}

// Check adds the problems that are only found with values: defaults, or samples for parameters without
// one. Labels and variables that are missing here are no problem.
func (f *Folder) Check() {
	if len(f.Problems) > 0 {
		return // others follow from them
	}
	e := evaluation{folder: f, scope: scope{pluginDir: f.Dir, stateDir: "/sample", stoker: "stoker", sample: true}}
	e.override.Set = map[string]string{}
	for name, p := range f.Manifest.Params {
		if deref(p.Default) == "" {
			e.override.Set[name] = p.sample()
		}
	}
	e.parameters()
	e.problems = nil // a sample may not fit
	e.fill()
	for _, problem := range e.problems {
		f.problem("%s: %s", f.Dir, problem)
	}
	if len(f.Problems) > 0 {
		return
	}
	for _, p := range jvm.Merge(e.options.Options[jvm.Default], e.options.Options[jvm.User], e.options.Options[jvm.Enforced]).Errors {
		f.problem("%s: %s", f.Dir, p.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(e.actions)) {
		f.checkProgram("actions."+name+".command", e.actions[name].Command[0])
	}
	for _, b := range e.hooks {
		if len(b.Command) > 0 {
			f.checkProgram(fmt.Sprintf("hooks.%s of %s", b.Event, b.Name), b.Command[0])
		}
	}
}

// checkProgram checks that a program in the folder can be executed. Others are the image's.
func (f *Folder) checkProgram(where, path string) {
	if !strings.HasPrefix(path, f.Dir+"/") {
		return
	}
	where = filepath.Join(f.Dir, ManifestName) + ": " + where
	switch info, err := os.Stat(path); {
	case err != nil:
		f.problem("%s: %s: %v", where, path, untrusted.Cause(err))
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		f.problem("%s: %s is no file that can be executed: chmod +x", where, path)
	}
}
