package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// readFile returns a file's bytes; ok is false when there is no such file. A
// Problem with a message says why it cannot be read.
func readFile(path string) (data []byte, ok bool, p Problem) {
	// O_NONBLOCK: opening a named pipe without a writer would wait for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, false, p
	}
	if err != nil {
		return nil, false, unreadable(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, false, Problem{File: path, Message: "cannot read the file: it is not a regular file"}
	}
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, false, unreadable(path, err)
	}
	if len(data) > maxFile {
		return nil, false, Problem{File: path, Message: fmt.Sprintf("cannot read the file: it has more than %d bytes", maxFile),
			Hint: "is this the right file?"}
	}
	return data, true, p
}

func unreadable(path string, err error) Problem {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return Problem{File: path, Message: "cannot read the file: " + err.Error()}
}

// confD lists conf.d/*.yaml beside the file in byte order.
func (l *loader) confD(path string) []string {
	dir := filepath.Join(filepath.Dir(path), "conf.d")
	entries, err := os.ReadDir(dir) // sorted by name, in byte order
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			p := unreadable(dir, err)
			p.Message = strings.Replace(p.Message, "the file", "the folder", 1)
			l.report.add(p)
			l.report.partial = true
		}
		return nil
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		switch {
		case confName(name):
			out = append(out, filepath.Join(dir, name))
		case strings.HasSuffix(name, ".yml") && !strings.HasPrefix(name, "."):
			l.report.warn(Problem{File: filepath.Join(dir, name), Message: "is ignored: only *.yaml files are read",
				Hint: "rename it to " + strings.TrimSuffix(name, ".yml") + ".yaml"})
		}
	}
	return out
}
