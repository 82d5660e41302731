package hotspot

import (
	"strings"
	"syscall"
	"time"
)

// Exit describes the end of a JVM as seen from outside.
type Exit struct {
	Argv    []string // its command line; nil: not known
	Dir     string   // its working directory; empty: not known
	Pid     int      // as the JVM sees it
	Started time.Time
	Output  []byte // the tail of the output of this start
	// Code is the exit code, Signal the signal that ended it; -1 and 0: unknown.
	Code   int
	Signal syscall.Signal
}

// Kinds of a CrashReport.
const (
	OutOfMemory = "out-of-memory" // it ended because memory was exhausted
	Crashed     = "crash"         // it found a fatal error in itself
)

// CrashReport explains the end of a JVM, from its output and the files it left.
type CrashReport struct {
	Kind   string // empty: neither of them
	Reason string // quotes the JVM; may be set without Kind
	Notes  []string
	Files  []Artifact
	// StartupError has a Message if the JVM could not start.
	StartupError StartupError
}

// Kinds of artifacts.
const (
	ErrorReport = "hs_err"
	HeapDump    = "heap_dump"
)

// Artifact is a file that the JVM left.
type Artifact struct {
	Kind    string
	Path    string
	Size    int64 // bytes
	ModTime time.Time
	Excerpt []byte // the first 64 KiB of an ErrorReport
}

// CrashFromOutput explains the end of a JVM by its output alone.
func CrashFromOutput(d Exit) CrashReport {
	var a CrashReport
	a.classify(d, readCrashOptions(d.Argv), readExitOutput(d.Output))
	return a
}

// InspectCrash explains the end of a JVM by its output and by the files that it left. It
// reads regular files only, and does not block.
func InspectCrash(d Exit) CrashReport {
	w := readExitOutput(d.Output)
	o := readCrashOptions(d.Argv)
	var a CrashReport
	a.addReports(d, o, w)
	if w.fatal == "" && w.allocation == "" { // its output may go to another place
		for _, f := range a.Files {
			r := readExitOutput(f.Excerpt)
			w.fatal, w.frame, w.allocation = r.fatal, r.frame, r.allocation
		}
	}
	a.classify(d, o, w)
	a.addHeapDump(d, o, w)
	if a.Kind == Crashed && len(a.Files) == 0 {
		a.Notes = append(a.Notes, "the JVM's error report (hs_err) was not found")
	}
	return a
}

// classify sets the kind and the reason. An OutOfMemoryError that the JVM survived is a note.
func (a *CrashReport) classify(d Exit, o crashOptions, w exitOutput) {
	const oom = "java.lang.OutOfMemoryError: "
	exited := d.Signal == 0
	startup := w.startupMessage()
	switch {
	case w.ended != "":
		a.Kind, a.Reason = OutOfMemory, oom+w.ended
	case exited && (d.Code == 0 || d.Code == 128+int(syscall.SIGTERM)): // a normal end after TERM
	case w.allocation != "":
		a.Kind, a.Reason = OutOfMemory, "not enough memory for the JVM: "+w.allocation
	case w.fatal != "" && d.Signal != syscall.SIGKILL:
		a.Kind, a.Reason = Crashed, "fatal error in the JVM: "+w.fatalError()
	case w.native != "" && (exited || d.Signal == syscall.SIGABRT):
		a.Reason = w.nativeError()
	case exited && (d.Code == 1 || d.Code == 2) && startup != "": // the launcher's code, and the debugger agent's
		a.StartupError = w.startupError()
		a.Reason = "the JVM could not start: " + strings.TrimPrefix(strings.TrimPrefix(startup, "Error: "), "ERROR: ")
		if hasPrefix(startup, "Could not reserve enough space", "Could not allocate", "Unable to allocate", "java.lang.OutOfMemoryError") {
			a.Kind = OutOfMemory
		}
	case exited && w.main != "":
		a.Kind, a.Reason = OutOfMemory, oom+w.main+" (in the main thread)"
	case exited && d.Code == 3 && o.exitOnOOM:
		a.Kind, a.Reason = OutOfMemory, "exit code 3, by which -XX:+ExitOnOutOfMemoryError ends the JVM"
		if w.mentioned != "" {
			a.Reason = oom + w.mentioned
		}
	case exited && d.Code == 1 && w.exception() != "": // the launcher's code
		a.Reason = "exception in the main thread: " + w.exception()
	}
	if a.Kind == "" && w.mentioned != "" {
		a.Notes = append(a.Notes, "the output has "+oom+w.mentioned)
	}
}

// crashOptions are the options for what a JVM does when it crashes.
type crashOptions struct {
	errorFile string // empty: the default
	dumpPath  string // empty: the default
	dumps     bool
	exitOnOOM bool
}

// readCrashOptions takes the last value of each option.
func readCrashOptions(argv []string) (o crashOptions) {
	for _, arg := range argv {
		text, ours := strings.CutPrefix(arg, "-XX:")
		if !ours {
			continue
		}
		name, value, _ := strings.Cut(text, "=")
		switch name {
		case "ErrorFile":
			o.errorFile = value
		case "HeapDumpPath":
			o.dumpPath = value
		case "+HeapDumpOnOutOfMemoryError", "-HeapDumpOnOutOfMemoryError":
			o.dumps = name[0] == '+'
		case "+ExitOnOutOfMemoryError", "-ExitOnOutOfMemoryError":
			o.exitOnOOM = name[0] == '+'
		}
	}
	return o
}
