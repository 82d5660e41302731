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
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/reference"
	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm"
)

// Folder is a plugin as it is on the disk, without values.
type Folder struct {
	Name string // of the folder
	Dir  string
	// Manifest is what could be read of it; nil: nothing.
	Manifest *Manifest
	// Fragments are the files of jvm.d, in their order.
	Fragments []Fragment
	// Enforces says that it has options of the layer enforced, or that this cannot be
	// told: what cannot be read may be a policy.
	Enforces bool
	// Files are the hooks of hooks/EVENT.d.
	Files []hooks.ResolvedHook
	// Problems are why it cannot be used, with file and line.
	Problems []string
	// Notes are what was left out.
	Notes []string
}

// Fragment is a file of JVM options.
type Fragment struct {
	File    string // from the plugin's folder
	Layer   jvm.Layer
	Options []jvm.Option // with references
}

// FolderReader reads plugins.
type Reader struct {
	// Manifest reads a plugin.yaml. With an error the manifest is what could be read,
	// and may be nil.
	Manifest func(path string) (*Manifest, error)
	// Guarded refuses what others than root and we ourselves may write to.
	CheckOwners bool
}

// Bounds on a plugin.
const (
	maxFiles    = 10_000
	maxFragment = 1 << 20 // bytes of an option file
)

// Read reads the plugin of a folder. What is wrong is in its Problems.
func (r Reader) Read(dir string) *Folder {
	f := &Folder{Name: filepath.Base(dir), Dir: dir}
	if r.CheckOwners {
		if err := checkOwners(dir); err != nil {
			f.problem("%v", err)
		}
	}
	var err error
	if f.Manifest, err = r.Manifest(filepath.Join(dir, ManifestName)); err != nil {
		f.Problems = append(f.Problems, strings.Split(err.Error(), "\n")...)
	}
	if f.Manifest == nil {
		f.Manifest = &Manifest{}
	}
	if name := f.Manifest.Name; name != "" && name != f.Name {
		f.problem("%s: name: it is %q, and the folder is called %q: they must be the same", filepath.Join(dir, ManifestName), name, f.Name)
	}
	f.readFragments(err != nil && f.Manifest.JVM.Layer == "")
	f.readHooks()
	return f
}

// required says whether services must not start without it. A policy that has failed
// would vanish otherwise, and code in the JVM may have made it fail.
func (f *Folder) required() bool {
	if said := f.Manifest.Required; said != nil {
		return *said
	}
	return f.Enforces
}

// readHooks finds the hooks that are files.
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

func (f *Folder) problem(format string, args ...any) {
	f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
}

// readFragments reads jvm.d. With unsure the layer of files that name none is not known.
func (f *Folder) readFragments(unsure bool) {
	dir := filepath.Join(f.Dir, "jvm.d")
	entries, err := untrusted.ReadDir(dir, maxFiles)
	if _, there := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) && there != nil {
		return // nobody has options; a link that leads nowhere is a mistake
	}
	if err != nil {
		f.Enforces = true
		f.problem("cannot read %s: %v", dir, err)
		return
	}
	var names []string
	for _, e := range entries {
		if regexp.MustCompile(`^[0-9]{1,4}-[A-Za-z0-9_.-]+\.opts$`).MatchString(e.Name()) {
			names = append(names, e.Name())
		} else {
			f.Notes = append(f.Notes, fmt.Sprintf("%s is ignored: option files are called NN-name.opts", filepath.Join("jvm.d", e.Name())))
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(leading(a), leading(b)), strings.Compare(a, b)) })
	for _, name := range names {
		f.readFragment(name, unsure)
	}
}

// leading is the number that a name begins with.
func leading(name string) int {
	digits, _, _ := strings.Cut(name, "-")
	n, _ := strconv.Atoi(digits) // it is one: the name was matched
	return n
}

// readFragment reads one option file.
func (f *Folder) readFragment(name string, unsure bool) {
	rel := filepath.Join("jvm.d", name)
	path := filepath.Join(f.Dir, rel)
	text, err := readText(path, maxFragment)
	if err != nil {
		f.Enforces = true
		f.problem("cannot read %s: %v", path, err)
		return
	}
	layer := jvm.Layer(cmp.Or(f.Manifest.JVM.Layer, string(jvm.Default)))
	first, _, _ := strings.Cut(strings.TrimPrefix(text, "\ufeff"), "\n")
	m := regexp.MustCompile(`^#\s*layer:\s*(\S*)\s*$`).FindStringSubmatch(first)
	if m != nil {
		layer, unsure = jvm.Layer(m[1]), false
	}
	known := slices.Contains(layers(), layer)
	f.Enforces = f.Enforces || layer == jvm.Enforced || unsure || !known
	if m != nil && !known {
		f.problem("%s:1: %q is no layer: there are default, user and enforced", path, m[1])
		return
	}
	fragment := Fragment{File: rel, Layer: layer, Options: jvm.ParseFile(rel, text)}
	for _, o := range fragment.Options {
		if arg := o.Args[0]; !strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "@") {
			f.problem("%s: %q does not begin with -, as every JVM option does", filepath.Join(f.Dir, o.Source), reference.Shorten(arg, 60))
		}
		if err := checkText(o.String(), f.Manifest.Params, inArgument); err != nil {
			f.problem("%s: %v", filepath.Join(f.Dir, o.Source), err)
		}
	}
	f.Fragments = append(f.Fragments, fragment)
}

// layers are those that a fragment may be of.
func layers() []jvm.Layer { return []jvm.Layer{jvm.Default, jvm.User, jvm.Enforced} }

// readText reads a text of at most that many bytes.
func readText(path string, most int64) (string, error) {
	data, err := untrusted.ReadFile(path, most)
	if err == nil && bytes.IndexByte(data, 0) >= 0 {
		err = errors.New("it has a NUL byte: it is no text")
	}
	return string(data), err
}

// guardTree refuses a plugin that others may write to: its folder, those around it, and
// all that is in it.
func checkOwners(dir string) error {
	place, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", dir, untrusted.Cause(err))
	}
	if err := trust.Path(dir, os.Geteuid()); err != nil {
		return err
	}
	count := 0
	return filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
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

// TryOut adds to the problems what is only found with values: it takes defaults, and
// where there are none something that the parameter may be. What of the surroundings
// is missing is no problem.
func (f *Folder) Check() {
	if len(f.Problems) > 0 {
		return // what follows from them
	}
	e := evaluation{folder: f, scope: scope{pluginDir: f.Dir, stateDir: "/sample", stoker: "stoker", anything: true}}
	e.override.Set = map[string]string{}
	for name, p := range f.Manifest.Params {
		if p.Default == nil || *p.Default == "" {
			e.override.Set[name] = p.sample()
		}
	}
	e.parameters()
	if err := e.fill(); err != nil {
		f.problem("%s: %v", f.Dir, err)
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

// tryProgram looks whether a program of the folder can be executed.
func (f *Folder) checkProgram(where, path string) {
	if !strings.HasPrefix(path, f.Dir+"/") {
		return // of the image, where it runs
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		f.problem("%s: %s: %s: %v", filepath.Join(f.Dir, ManifestName), where, path, untrusted.Cause(err))
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		f.problem("%s: %s: %s is no file that can be executed: chmod +x", filepath.Join(f.Dir, ManifestName), where, path)
	}
}
