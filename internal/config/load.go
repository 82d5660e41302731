package config

import (
	"path/filepath"
	"reflect"
	"strings"

	"github.com/stoker-init/stoker/internal/filewatch"
)

// DefaultFile is read when no other file is named. It may be absent.
const DefaultFile = "/etc/stoker/stoker.yaml"

// EnvFile is the variable that names the file where no flag does.
const EnvFile = "STOKER_CONFIG"

// Options say what to load. The zero Options load DefaultFile, its conf.d and
// nothing else.
type Options struct {
	// File was named by the user: it must exist. Empty: STOKER_CONFIG, then
	// Default.
	File string
	// Default takes DefaultFile's place; it may be absent.
	Default string
	// Environ is the environment as os.Environ gives it.
	Environ []string
	// Assume are "path=value" settings below every file, for what was found
	// on the machine rather than configured ("services.tomcat.kind=tomcat").
	Assume []string
	// Set are the "path=value" settings of the command line. They win over all.
	Set []string
}

// Loaded is a configuration and where it came from. It survives encoding/json.
type Loaded struct {
	// Config has its defaults filled in.
	Config Config `json:"config"`
	// Warnings do not keep the configuration from being used.
	Warnings []Problem `json:"warnings,omitempty"`
	// Files are the files that were read, in the order of rising precedence.
	Files []string `json:"files,omitempty"`
	// Origins has an entry for every value that was set.
	Origins Origins `json:"origins,omitempty"`
}

// loader is one call of Load.
type loader struct {
	report *report
	root   *tree // what the layers so far have set
	files  []string
}

// Load reads and merges every layer: the file, conf.d/*.yaml beside it in byte
// order, the STOKER_* variables, the settings of the command line; each later
// one overrides, field by field (maps by key, lists as a whole).
//
// When something is wrong the error is Problems, with all that was found in all
// layers, and Loaded has only Files and Warnings.
func Load(o Options) (*Loaded, error) {
	l := loader{report: newReport(), root: section(Origin{})}
	l.set("assumed", o.Assume)
	l.readFiles(o)
	l.environment(o.Environ)
	l.set("flag --set ", o.Set)

	var raw Config
	l.root.into(reflect.ValueOf(&raw).Elem())
	origins := Origins{}
	l.root.origins("", origins)
	effective := WithDefaults(raw)
	validate(raw, effective, origins, o.Environ, l.report)
	if len(l.report.problems) > 0 {
		return &Loaded{Files: l.files, Warnings: l.report.warnings}, l.report.sorted(l.files)
	}
	return &Loaded{effective, l.report.warnings, l.files, origins}, nil
}

// NewWatcher watches the files that Load reads with the same options.
func NewWatcher(o Options) (*filewatch.Watcher, error) {
	file, _ := o.path()
	return filewatch.New(filewatch.FileSet{Files: []string{file}, Folders: []string{confDir(file)}, Match: isConfFile})
}

// confDir is the folder of further files beside the file.
func confDir(file string) string { return filepath.Join(filepath.Dir(file), "conf.d") }

// isConfFile reports whether a file of that name in conf.d is read. Editors and mounted
// ConfigMaps make files whose names begin with a dot.
func isConfFile(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".yaml")
}

// readFiles reads the file and those of conf.d.
func (l *loader) readFiles(o Options) {
	path, named := o.path()
	l.file(path, named)
	for _, more := range l.confD(path) {
		l.file(more, true)
	}
}

// path returns the file to read, and whether somebody named it.
func (o Options) path() (path string, named bool) {
	if o.File != "" {
		return o.File, true
	}
	if path = lookup(o.Environ, EnvFile); path != "" {
		return path, true
	}
	if o.Default != "" {
		return o.Default, false
	}
	return DefaultFile, false
}

// file adds one file's layer. A file that may be absent and is makes no layer.
func (l *loader) file(path string, must bool) {
	data, ok, p := readFile(path)
	switch {
	case p.Message != "":
		l.report.add(p)
		l.report.partial = true
		l.files = append(l.files, path)
		return
	case !ok && must:
		l.report.add(Problem{File: path, Message: "cannot read the file: it does not exist"})
		l.report.partial = true
		return
	case !ok:
		return
	}
	l.files = append(l.files, path)
	if t := decodeFile(l.report, path, data, reflect.TypeFor[Config]()); t != nil {
		l.root = l.root.merge(t)
	}
}

// lookup returns the last value of a variable, as the system's getenv would
// for a process that is started with this environment by Go.
func lookup(environ []string, name string) string {
	value := ""
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}
