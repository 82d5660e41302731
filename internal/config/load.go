package config

import (
	"cmp"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/filewatch"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
)

// DefaultFile is the file if no other is named. It may be absent.
const DefaultFile = "/etc/stoker/stoker.yaml"

// EnvFile is the variable that names the file if no flag does.
const EnvFile = "STOKER_CONFIG"

// Options say what to load. The zero Options load DefaultFile, its conf.d and
// nothing else.
type Options struct {
	// File must exist. Empty: that of STOKER_CONFIG, then Default.
	File string
	// Default replaces DefaultFile; it may be absent.
	Default string
	// Environ is the environment as os.Environ gives it.
	Environ []string
	// Assume are "path=value" settings below every file, for what was found on the machine
	// ("services.tomcat.kind=tomcat").
	Assume []string
	// Set are the "path=value" settings of the command line, above all other layers.
	Set []string
}

// Loaded is a configuration and where it came from. It survives encoding/json.
type Loaded struct {
	// Config has its defaults filled in.
	Config Config `json:"config"`
	// Warnings do not keep the configuration from being used.
	Warnings layeredyaml.Problems `json:"warnings,omitempty"`
	// Files are the files that were read, in rising precedence.
	Files []string `json:"files,omitempty"`
	// Origins has an entry for every value that was set.
	Origins layeredyaml.Origins `json:"origins,omitempty"`
}

// schema is that of the configuration.
var schema = layeredyaml.Schema{
	Type: reflect.TypeFor[Config](), Example: serviceExample, ExampleSetting: "stop.timeout=20s", EnvPrefix: "STOKER_",
	ReservedEnv: reservedEnv, NewMapKey: newMapKey,
	AdviseKey: adviseKey, AdviseSection: adviseSection,
}

// Load reads and merges every layer: the file, conf.d/*.yaml beside it in byte order, the
// STOKER_* variables, the settings of the command line; each later one overrides, field by
// field (maps by key, lists as a whole).
//
// When something is wrong the error is layeredyaml.Problems, with all that was found in
// all layers, and Loaded has only Files and Warnings.
func Load(o Options) (*Loaded, error) {
	l := layeredyaml.New(schema)
	l.Set("assumed", o.Assume)
	path, named := o.path()
	l.File(path, named)
	l.Folder(confDir(path))
	l.Environment(o.Environ)
	l.Set("flag --set ", o.Set)

	var raw Config
	origins := l.Decode(&raw)
	effective := WithDefaults(raw)
	validate(raw, effective, l.Checker(), o.Environ)
	if problems := l.Problems(); len(problems) > 0 {
		return &Loaded{Files: l.Files(), Warnings: l.Warnings()}, problems
	}
	return &Loaded{effective, l.Warnings(), l.Files(), origins}, nil
}

// NewWatcher watches the files that Load reads with the same options.
func NewWatcher(o Options) (*filewatch.Watcher, error) {
	file, _ := o.path()
	return filewatch.New(filewatch.FileSet{Files: []string{file}, Folders: []string{confDir(file)}, Match: layeredyaml.IsLayerFile})
}

// confDir is the folder of further files beside the file.
func confDir(file string) string { return filepath.Join(filepath.Dir(file), "conf.d") }

// reservedEnv reports whether a variable is read elsewhere: STOKER_CONFIG names the file,
// STOKER_SOCKET tells the command line where the API is, STOKER_CI makes tests strict, and
// hooks get variables of their own.
func reservedEnv(name, value string) bool {
	return name == EnvFile || name == "STOKER_SOCKET" || name == "STOKER_CI" || name == "STOKER_PROCESS" || name == "STOKER_PID" ||
		hooks.Variable(name) && !strings.Contains(value, "://") // a link to a service named stoker may be STOKER_PORT
}

// newMapKey spells a key that a variable adds: of env and secrets as it is written, of
// headers with "-" for "_", of the others in lower case.
func newMapKey(keys []string, name string) string {
	switch keys[len(keys)-1] {
	case "env", "secrets":
		return name
	case "headers":
		return http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	return strings.ToLower(name)
}

// path returns the file to read, and whether an option names it.
func (o Options) path() (path string, named bool) {
	if path = cmp.Or(o.File, lookup(o.Environ, EnvFile)); path != "" {
		return path, true
	}
	return cmp.Or(o.Default, DefaultFile), false
}

// ServicePath is the path of what stands below a service.
func ServicePath(service, below string) string {
	return layeredyaml.Join("services", service) + "." + below
}

// EnvPath is the path of a variable of a service.
func EnvPath(service, name string) string { return layeredyaml.Join(ServicePath(service, "env"), name) }

// Show prints the effective configuration as YAML, with the origin of each value if origin
// is set. The live section of a service without a live probe is left out, and
// so are executor without slots and a console that is off.
func (l *Loaded) Show(w io.Writer, origin bool) error {
	cfg := l.Config
	cfg.Services = maps.Clone(cfg.Services)
	if _, set := l.Origins["jvm"]; !set && cfg.JVM.Apply == jvm.ApplyAdjust && !slices.ContainsFunc(slices.Collect(maps.Values(cfg.Services)),
		Service.hasJVM) {
		cfg.JVM.Apply = ""
	}
	if cfg.Executor.Slots == 0 {
		cfg.Executor = Executor{}
	}
	if !cfg.Console.Enabled {
		cfg.Console = console.Config{}
	}
	for name, s := range cfg.Services {
		if _, set := l.Origins[ServicePath(name, "live")]; !set && !s.Live.IsSet() {
			s.Live = supervisor.Live{}
			cfg.Services[name] = s
		}
	}
	return layeredyaml.Show(w, cfg, l.Origins, origin)
}

// lookup returns the last value of a variable, which is the one that a process started by
// Go has.
func lookup(environ []string, name string) string {
	value := ""
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v
		}
	}
	return value
}
