package hotspot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
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

// addReports looks for hs_err files.
func (a *CrashReport) addReports(d Exit, o crashOptions, w exitOutput) {
	for _, path := range d.paths(w, w.report, o.errorFile, "hs_err_pid%d.log") {
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
	for _, path := range d.paths(w, w.dump, o.dumpPath, "java_pid%d.hprof") {
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

// paths are where a file may be: at the path that the JVM printed, at that of the option, which may be a folder, and at
// the two default places. Behind a wrapper the JVM is another process than the one that we know.
func (d Exit) paths(w exitOutput, printed, option, pattern string) (paths []string) {
	add := func(path string) {
		if !filepath.IsAbs(path) && d.Dir != "" && path != "" {
			path = filepath.Join(d.Dir, path)
		}
		if filepath.IsAbs(path) && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	add(printed)
	pids := []int{d.Pid, cmp.Or(w.pid, d.Pid)}
	for _, pid := range pids {
		if path := strings.NewReplacer("%%", "%", "%p", strconv.Itoa(pid)).Replace(option); path != "" { // as the JVM does
			add(path)
			add(filepath.Join(path, fmt.Sprintf(pattern, pid)))
		}
	}
	for _, pid := range pids {
		add(fmt.Sprintf(pattern, pid))
		add("/tmp/" + fmt.Sprintf(pattern, pid))
	}
	return paths
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

// readReport reads the beginning of an hs_err file. The name is from the output of the service: any other file is an
// error.
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
