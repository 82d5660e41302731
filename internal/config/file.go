package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// Bounds of a configuration file, in bytes, and of the entries of a folder.
const (
	maxFile  = 1 << 20
	maxNames = 10_000
)

// readFile returns a file's bytes; ok is false when there is no such file. A
// Problem with a message says why it cannot be read.
func readFile(path string) (data []byte, ok bool, p Problem) {
	data, err := untrusted.ReadFile(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return nil, false, p
	case errors.Is(err, untrusted.ErrTooLarge):
		p.Hint = "is this the right file?"
		fallthrough
	case err != nil:
		p.File, p.Message = path, "cannot read the file: "+err.Error()
		return nil, false, p
	}
	return data, true, p
}

// confD lists conf.d/*.yaml beside the file in byte order.
func (l *loader) confD(path string) []string {
	dir := confDir(path)
	entries, err := untrusted.ReadDir(dir, maxNames) // by name, in byte order
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			l.report.add(Problem{File: dir, Message: "cannot read the folder: " + err.Error()})
			l.report.partial = true
		}
		return nil
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case isConfFile(name):
			out = append(out, filepath.Join(dir, name))
		case strings.HasSuffix(name, ".yml") && !strings.HasPrefix(name, "."):
			l.report.warn(Problem{File: filepath.Join(dir, name), Message: "is ignored: only *.yaml files are read",
				Hint: "rename it to " + strings.TrimSuffix(name, ".yml") + ".yaml"})
		}
	}
	return out
}
