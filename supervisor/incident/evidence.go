package incident

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// End is the end of a process, for those who know what it leaves.
type End struct {
	Service string
	Pid     int   // as we see it
	Exit    *Exit // nil: unknown, or it still lives
	Started time.Time
	Dir     string   // its working directory; empty: unknown
	Argv    []string // its command line; nil: unknown
	Output  []byte   // the end of its output, at least MaxOutput of it
}

// Findings are what was found out about an end.
type Findings struct {
	Cause   Cause           `json:"cause"`  // more precise than the exit; empty: the exit says all
	Reason  string          `json:"reason"` // may be set without Cause
	Notes   []string        `json:"-"`
	Files   []File          `json:"-"`
	Options []string        `json:"-"` // in force, secrets masked
	Limits  json.RawMessage `json:"-"` // in force; nil: unknown
	// ThreadDump is the last one in the output; nil: there is none.
	ThreadDump []byte `json:"-"`
}

// Evidence looks for what a process has left. It obeys ctx, and returns what it has found by then.
type Evidence func(ctx context.Context, end End) Findings

// ProcessEvidence is the Evidence of every process: its command line and its core.
func ProcessEvidence(_ context.Context, end End) Findings {
	f := Findings{Options: redact.Args(end.Argv)}
	if end.Exit == nil || !end.Exit.Core {
		return f
	}
	file, note := coreFile("/", end)
	if file.Path != "" {
		f.Files = append(f.Files, file)
	}
	if note != "" {
		f.Notes = append(f.Notes, note)
	}
	return f
}

// coreFile finds the core that the kernel wrote, by core_pattern; see core(5).
func coreFile(root string, end End) (file File, note string) {
	read := func(name string) string {
		data, _ := os.ReadFile(filepath.Join(root, "proc/sys/kernel", name)) // empty: not known
		return strings.TrimSpace(string(data))
	}
	pattern := read("core_pattern")
	switch {
	case pattern == "":
		return file, "a core was dumped; where cannot be found out"
	case pattern[0] == '|':
		return file, "the core was given to a program of the host: " + pattern[1:]
	}
	folder, name := filepath.Split(pattern)
	if strings.Contains(strings.NewReplacer("%%", "", "%p", "").Replace(folder), "%") {
		return file, "a core was dumped, as " + pattern
	}
	folder = strings.NewReplacer("%%", "%", "%p", strconv.Itoa(end.Pid)).Replace(folder)
	expr := coreName(name, end.Pid)
	if !strings.Contains(pattern, "%p") && read("core_uses_pid") != "0" {
		expr += ".*" // ".PID"
	}
	matching := regexp.MustCompile("^" + expr + "$")
	if !filepath.IsAbs(folder) {
		if end.Dir == "" {
			return file, "a core was dumped in the working directory of the process, as " + pattern
		}
		folder = filepath.Join(end.Dir, folder)
	}
	dir := filepath.Join(root, folder)
	names, err := untrusted.ReadDir(dir, maxCoreNames)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return file, fmt.Sprintf("a core was dumped, as %s; cannot read %s: %v", pattern, dir, err)
	}
	for _, e := range names {
		if !matching.MatchString(e.Name()) {
			continue
		}
		if f, ok := statFile(FileCore, filepath.Join(dir, e.Name()), end.Started); ok && f.ModTime.After(file.ModTime) {
			file = f
		}
	}
	if file.Path == "" {
		note = "a core was dumped, as " + pattern + "; it is not there (full disk, or another mount namespace?)"
	}
	return file, note
}

// maxCoreNames bounds the entries of the folder that a core is looked for in.
const maxCoreNames = 10_000

// coreName turns the name in a core_pattern into an expression; %p is pid.
func coreName(pattern string, pid int) string {
	return regexp.MustCompile(`%(.|$)`).ReplaceAllStringFunc(regexp.QuoteMeta(pattern), func(field string) string {
		switch field {
		case "%%", "%":
			return "%"
		case "%p":
			return strconv.Itoa(pid)
		}
		return ".*"
	})
}

// statFile describes a regular file that was written since a time. An older one is of
// an earlier start, whose pid may have been the same.
func statFile(kind, path string, since time.Time) (File, bool) {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return File{}, false
	}
	f := File{Kind: kind, Path: path, Size: st.Size, ModTime: time.Unix(st.Mtim.Unix())}
	return f, proc.WrittenSince(f.ModTime, since)
}
