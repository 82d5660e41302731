// Package layeredyaml reads a configuration that comes in layers: YAML files, variables
// and settings of the command line, each laid over the one before, field by field. A Go
// type with yaml tags is the schema: unknown keys are refused, every value keeps its
// origin, and all problems are reported at once, each with its place, its path and a hint.
// It knows no key of any schema.
package layeredyaml

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// Bounds of a configuration file, in bytes, and of the entries of a folder.
const (
	maxFile  = 1 << 20
	maxNames = 10_000
)

// Schema is the type of a document, and what the engine cannot derive from it. The
// functions may be nil.
type Schema struct {
	Type reflect.Type
	// Example is the smallest document, and ExampleSetting a setting, for hints.
	Example, ExampleSetting string
	// NullIsAbsent takes a key without a value for one that is not there. An item of a list needs a value all the same.
	NullIsAbsent bool
	// EnvPrefix begins the names of the variables that set values.
	EnvPrefix string
	// ReservedEnv reports whether a variable with the prefix does not belong to the schema.
	ReservedEnv func(name, value string) bool
	// NewMapKey turns the end of a variable's name into a new key of the map at keys.
	NewMapKey func(keys []string, name string) string
	// AdviseKey returns what to write in the place of a key that a section lacks.
	AdviseKey func(section reflect.Type, path, key string, v Value) (Advice, bool)
	// AdviseSection returns how a value is written that stands in the place of a section.
	AdviseSection func(section reflect.Type, path string, v Value) string
}

// Layers is a configuration while its layers are added, in rising precedence.
type Layers struct {
	schema    Schema
	checker   *Checker
	value     reflect.Value // what the layers set so far
	files     []string
	truncated bool
}

// New returns a configuration without a layer.
func New(s Schema) *Layers {
	return &Layers{schema: s, checker: newChecker(), value: reflect.New(s.Type).Elem()}
}

// Decode sets what the layers set of v, a pointer to the schema's type, and returns where
// the values came from.
func (l *Layers) Decode(v any) Origins {
	reflect.ValueOf(v).Elem().Set(l.value)
	return l.checker.origins
}

// Checker reports further problems of the values.
func (l *Layers) Checker() *Checker { return l.checker }

// Files returns the files that were read, in their order.
func (l *Layers) Files() []string { return l.files }

// Problems returns what is wrong in all layers.
func (l *Layers) Problems() Problems { return l.checker.sorted(l.files) }

// Warnings returns what does not keep the configuration from being used.
func (l *Layers) Warnings() Problems { return l.checker.warnings }

// File adds a file, and reports whether it was read. It may be absent unless it is
// required.
func (l *Layers) File(path string, required bool) bool {
	data, err := untrusted.ReadFile(path, maxFile)
	p := Problem{File: path}
	switch absent := missing(err); {
	case err == nil:
		l.Bytes(path, data)
		return true
	case absent && !required:
		return false
	case absent:
		p.Message = "cannot read the file: it does not exist"
	default:
		p.Message = "cannot read the file: " + err.Error()
		l.files = append(l.files, path)
	}
	if errors.Is(err, untrusted.ErrTooLarge) {
		p.Hint = "is this the right file?"
	}
	l.checker.add(p)
	l.checker.partial = true
	return false
}

// Folder adds the *.yaml files of a folder in byte order. It may be absent.
func (l *Layers) Folder(dir string) {
	entries, err := untrusted.ReadDir(dir, maxNames) // by name, in byte order
	if err != nil && !missing(err) {
		l.checker.add(Problem{File: dir, Message: "cannot read the folder: " + err.Error()})
		l.checker.partial = true
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if base, ok := strings.CutSuffix(e.Name(), ".yml"); ok && !strings.HasPrefix(base, ".") {
			l.checker.warn(Problem{File: path, Message: "is ignored: only *.yaml files are read", Hint: "rename it to " + base + ".yaml"})
		}
		if IsLayerFile(e.Name()) {
			l.File(path, true)
		}
	}
}

// IsLayerFile reports whether Folder reads a file of that name. Editors and mounted
// ConfigMaps make files whose names begin with a dot.
func IsLayerFile(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".yaml")
}

func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// Bytes adds the contents of a file.
func (l *Layers) Bytes(path string, data []byte) {
	l.files = append(l.files, path)
	root, p, ok := parse(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), l.schema.Example)
	if !ok {
		p.File, l.checker.partial = path, true
		l.checker.add(p)
	}
	if root != nil {
		l.decode(root, path, true)
	}
}

// Keys returns the keys at the top of a document, in their order. ok is false if it cannot be read, or is no section.
func Keys(data []byte) (keys []string, ok bool) {
	root, _, ok := parse(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), "")
	if !ok || root == nil || root.Kind != sectionNode {
		return nil, false
	}
	for i := 0; i < len(root.Content); i += 2 {
		keys = append(keys, root.Content[i].Value)
	}
	return keys, true
}

// decode lays a document over what is set so far. lines is false if its source has none.
func (l *Layers) decode(root *node, name string, lines bool) {
	d := decoder{checker: l.checker, schema: l.schema, name: name, lines: lines}
	d.node(root, root, l.value, "")
	l.truncated = l.truncated || d.full
}

// Truncated reports whether a layer has more values than are decoded, which is a problem: what is missing may be among the rest.
func (l *Layers) Truncated() bool { return l.truncated }
