package hotspot

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// maxReport is how much is taken of an hs_err file, in bytes.
const maxReport = 64 << 10

// addReports looks for hs_err files: at the path that the JVM printed, at that of the
// option, and at the two default places.
func (a *CrashReport) addReports(d Exit, o crashOptions, w exitOutput) {
	paths := []string{d.in(w.report)}
	if o.errorFile != "" {
		for _, pid := range d.pids(w) {
			paths = append(paths, d.in(expand(o.errorFile, pid)))
		}
	}
	for _, pid := range d.pids(w) {
		name := "hs_err_pid" + strconv.Itoa(pid) + ".log"
		paths = append(paths, d.in(name), "/tmp/"+name)
	}
	for k, path := range paths {
		if path == "" || slices.Contains(paths[:k], path) {
			continue
		}
		if t, err := readReport(path, d.Started); err == nil {
			a.Files = append(a.Files, t)
		}
	}
}

// addHeapDump looks for the heap dump.
func (a *CrashReport) addHeapDump(d Exit, o crashOptions, w exitOutput) {
	if w.dumpError != "" {
		a.Notes = append(a.Notes, "no heap dump: "+w.dumpError)
	}
	if !o.dumps && w.dump == "" {
		return
	}
	paths := []string{d.in(w.dump)}
	for _, pid := range d.pids(w) {
		name := "java_pid" + strconv.Itoa(pid) + ".hprof"
		if o.dumpPath == "" {
			paths = append(paths, d.in(name))
			continue
		}
		given := d.in(expand(o.dumpPath, pid))
		paths = append(paths, given)
		if given != "" {
			paths = append(paths, filepath.Join(given, name)) // if it is a folder
		}
	}
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Lstat(path, &st) != nil {
			continue
		}
		t, err := artifact(HeapDump, path, &st, d.Started)
		if err != nil {
			continue
		}
		a.Files = append(a.Files, t)
		if w.dump != "" && !w.dumped {
			a.Notes = append(a.Notes, "the heap dump "+path+" may not be complete")
		}
		return
	}
}

// in is a path as the JVM sees it; empty where that is not known.
func (d Exit) in(path string) string {
	switch {
	case path == "" || filepath.IsAbs(path):
		return path
	case d.Dir == "":
		return ""
	}
	return filepath.Join(d.Dir, path)
}

// pids are the process ids that file names may have: behind a wrapper the JVM is
// another process than the one that we know.
func (d Exit) pids(w exitOutput) []int {
	out := []int{d.Pid}
	if w.pid > 0 && w.pid != d.Pid {
		out = append(out, w.pid)
	}
	return out
}

// expand replaces %p and %% as the JVM does.
func expand(pattern string, pid int) string {
	return strings.NewReplacer("%%", "%", "%p", strconv.Itoa(pid)).Replace(pattern)
}

// artifact describes a regular file that was written since the JVM started.
func artifact(kind, path string, st *unix.Stat_t, since time.Time) (Artifact, error) {
	t := Artifact{Kind: kind, Path: path, Size: st.Size, ModTime: time.Unix(st.Mtim.Unix())}
	if t.ModTime.Nanosecond() == 0 {
		since = since.Truncate(time.Second) // the file system keeps no more
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return t, errors.New("not a regular file")
	case t.ModTime.Before(since.Add(-10 * time.Millisecond)): // the kernel's clock for files has ticks
		return t, errors.New("of an earlier start")
	}
	return t, nil
}

// readReport reads the beginning of an hs_err file. The name came from the service's own
// exitOutput: what is anything else is not shown.
func readReport(path string, since time.Time) (Artifact, error) {
	f, err := untrusted.Open(path)
	if err != nil {
		return Artifact{}, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Artifact{}, err
	}
	t, err := artifact(ErrorReport, path, &st, since)
	if err != nil {
		return t, err
	}
	if t.Excerpt, err = io.ReadAll(io.LimitReader(f, maxReport)); err != nil {
		return t, err
	}
	if !bytes.HasPrefix(t.Excerpt, []byte("#")) || !bytes.Contains(t.Excerpt, []byte("Java Runtime Environment")) {
		return t, errors.New("not an error report")
	}
	return t, nil
}
