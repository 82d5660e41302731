package hotspot

import (
	"slices"
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

// classify sets the kind and the reason.
func (a *CrashReport) classify(d Exit, o crashOptions, w exitOutput) {
	if d.Signal == 0 && (d.Code == 0 || d.Code == 128+int(syscall.SIGTERM)) && w.ended == "" {
		a.noteSurvived(w)
		return // a normal end after TERM
	}
	const oom = "java.lang.OutOfMemoryError: "
	switch {
	case w.ended != "":
		a.Kind, a.Reason = OutOfMemory, oom+w.ended
	case w.allocation != "":
		a.Kind, a.Reason = OutOfMemory, "not enough memory for the JVM: "+w.allocation
	case w.fatal != "" && d.Signal != syscall.SIGKILL:
		a.Kind, a.Reason = Crashed, "fatal error in the JVM: "+w.fatalError()
	case w.native != "" && (d.Signal == 0 || d.Signal == syscall.SIGABRT):
		a.Reason = w.nativeError()
	case d.Signal == 0 && slices.Contains(startupExitCodes, d.Code) && w.startupMessage() != "":
		a.StartupError = w.startupError()
		a.Reason = "the JVM could not start: " + strings.TrimPrefix(strings.TrimPrefix(w.startupMessage(), "Error: "), "ERROR: ")
		if memoryError(w.startupMessage()) {
			a.Kind = OutOfMemory
		}
	case w.main != "" && d.Signal == 0:
		a.Kind, a.Reason = OutOfMemory, oom+w.main+" (in the main thread)"
	case o.exitOnOOM && d.Code == exitOnOOMCode && d.Signal == 0:
		a.Kind, a.Reason = OutOfMemory, "exit code 3, by which -XX:+ExitOnOutOfMemoryError ends the JVM"
		if w.mentioned != "" {
			a.Reason = oom + w.mentioned
		}
	case w.exception() != "" && d.Signal == 0 && d.Code == mainExceptionCode:
		a.Reason = "exception in the main thread: " + w.exception()
		a.noteSurvived(w)
	default:
		a.noteSurvived(w)
	}
}

// mainExceptionCode is the exit code of the launcher when an exception ends the main thread.
const mainExceptionCode = 1

// startupExitCodes are the exit codes of a JVM that does not start: the launcher's and the
// debugger agent's.
var startupExitCodes = []int{1, 2}

// exitOnOOMCode is the exit code of -XX:+ExitOnOutOfMemoryError.
const exitOnOOMCode = 3

// noteSurvived notes an OutOfMemoryError that the JVM survived.
func (a *CrashReport) noteSurvived(w exitOutput) {
	if w.mentioned != "" {
		a.Notes = append(a.Notes, "the output has java.lang.OutOfMemoryError: "+w.mentioned)
	}
}

// memoryError reports whether the JVM could not start because memory was short.
func memoryError(initError string) bool {
	return hasPrefix(initError, "Could not reserve enough space", "Could not allocate", "Unable to allocate", "java.lang.OutOfMemoryError")
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
