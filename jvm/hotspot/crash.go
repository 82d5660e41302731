package hotspot

import (
	"slices"
	"strings"
	"syscall"
	"time"
)

// Death is the end of a JVM as it is seen from outside.
type Death struct {
	Argv    []string // its command line; nil: not known
	Dir     string   // its working directory; empty: not known
	Pid     int      // as the JVM sees it
	Started time.Time
	Output  []byte // the end of what this start wrote
	// Code is the exit code, Signal what ended it instead; -1 and 0: not known.
	Code   int
	Signal syscall.Signal
}

// Kinds of an Autopsy.
const (
	OutOfMemory = "out-of-memory" // it ended because there was no memory left
	Crashed     = "crash"         // it found a fatal error in itself
)

// Autopsy is what a JVM's traces say of its end.
type Autopsy struct {
	Kind   string // empty: they say nothing of the kind
	Reason string // in the JVM's words; may be there without Kind
	Notes  []string
	Files  []Trace
	// Refused is what it said when it could not start; without Message it did not.
	Refused Refusal
}

// Kinds of traces.
const (
	ErrorReport = "hs_err"
	HeapDump    = "heap_dump"
)

// Trace is a file that the JVM has left.
type Trace struct {
	Kind    string
	Path    string
	Size    int64 // bytes
	ModTime time.Time
	Excerpt []byte // the first 64 KiB of an ErrorReport
}

// ReadOutput is what a JVM's output alone says of its end. It reads no files.
func ReadOutput(d Death) Autopsy {
	var a Autopsy
	a.judge(d, readCrashOptions(d.Argv), readWords(d.Output))
	return a
}

// Examine reads a JVM's last words and looks for the files that it leaves. It
// reads files of the live system, regular ones only, and never waits for one.
func Examine(d Death) Autopsy {
	w := readWords(d.Output)
	o := readCrashOptions(d.Argv)
	var a Autopsy
	a.addReports(d, o, w)
	if w.fatal == "" && w.noMemory == "" { // its output may go elsewhere
		for _, f := range a.Files {
			w.fromReport(readWords(f.Excerpt))
		}
	}
	a.judge(d, o, w)
	a.addHeapDump(d, o, w)
	if a.Kind == Crashed && len(a.Files) == 0 {
		a.Notes = append(a.Notes, "the JVM's error report (hs_err) was not found")
	}
	return a
}

// judge finds the kind and the reason.
func (a *Autopsy) judge(d Death, o crashOptions, w words) {
	if d.Signal == 0 && (d.Code == 0 || d.Code == 128+int(syscall.SIGTERM)) && w.ended == "" {
		a.mention(w)
		return // it ended as a JVM does that is asked to
	}
	const oom = "java.lang.OutOfMemoryError: "
	switch {
	case w.ended != "":
		a.Kind, a.Reason = OutOfMemory, oom+w.ended
	case w.noMemory != "":
		a.Kind, a.Reason = OutOfMemory, "not enough memory for the JVM: "+w.noMemory
	case w.fatal != "" && d.Signal != syscall.SIGKILL:
		a.Kind, a.Reason = Crashed, "fatal error in the JVM: "+w.fatal
		if w.frame != "" {
			a.Reason += ", in " + w.frame
		}
	case w.start.native != "" && (d.Signal == 0 || d.Signal == syscall.SIGABRT):
		a.Reason = w.nativeError()
	case d.Signal == 0 && slices.Contains(refusalCodes(), d.Code) && w.startError() != "":
		a.Refused = w.startRefusal()
		a.Reason = "the JVM could not start: " + strings.TrimPrefix(strings.TrimPrefix(w.startError(), "Error: "), "ERROR: ")
		if aboutMemory(w.startError()) {
			a.Kind = OutOfMemory
		}
	case w.uncaught != "" && d.Signal == 0:
		a.Kind, a.Reason = OutOfMemory, oom+w.uncaught+" (in the main thread)"
	case o.exitOnOOM && d.Code == exitOnOOMCode && d.Signal == 0:
		a.Kind, a.Reason = OutOfMemory, "exit code 3, by which -XX:+ExitOnOutOfMemoryError ends the JVM"
		if w.mentioned != "" {
			a.Reason = oom + w.mentioned
		}
	case w.exception() != "" && d.Signal == 0 && d.Code == mainExceptionCode:
		a.Reason = "exception in the main thread: " + w.exception()
		a.mention(w)
	default:
		a.mention(w)
	}
}

// mainExceptionCode is what the launcher exits with when an exception ends the main
// thread.
const mainExceptionCode = 1

// refusalCodes are what a JVM exits with that does not start: the launcher's, and
// the debugger agent's.
func refusalCodes() []int { return []int{1, 2} }

// exitOnOOMCode is what -XX:+ExitOnOutOfMemoryError exits with.
const exitOnOOMCode = 3

// mention notes an error that the JVM has survived.
func (a *Autopsy) mention(w words) {
	if w.mentioned != "" {
		a.Notes = append(a.Notes, "the output has java.lang.OutOfMemoryError: "+w.mentioned)
	}
}

// aboutMemory says whether the JVM could not start for want of memory.
func aboutMemory(initError string) bool {
	for _, begin := range []string{"Could not reserve enough space", "Could not allocate", "Unable to allocate", "java.lang.OutOfMemoryError"} {
		if strings.HasPrefix(initError, begin) {
			return true
		}
	}
	return false
}

// crashOptions are the options that say what a JVM does when it dies.
type crashOptions struct {
	errorFile string // empty: the default
	dumpPath  string // empty: the default
	dumps     bool
	exitOnOOM bool
}

// readCrashOptions takes the last of each; what follows the main class is not the
// JVM's, and does not look like these.
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
