package hotspot

import (
	"strings"
)

// Kinds of ailments.
const (
	DirectMemory  = "direct memory" // does not end the JVM, whatever its options say
	HeapMemory    = "heap"
	ClassMemory   = "metaspace"
	NativeThreads = "native threads"
	OtherMemory   = "memory"
	CodeCacheFull = "code cache" // what is not compiled yet never will be
)

// Ailment is something that a JVM said and lives on with, but not well.
type Ailment struct {
	Kind string
	Line string
}

// AilmentReader finds ailments in the output of a living JVM. Only what the JVM
// or a stack trace begins a line with counts, not a message that mentions it. The
// zero value is ready.
type AilmentReader struct {
	// pending was said by the JVM or by a stack trace; the next line tells which,
	// and whether the JVM ends of it. Without Kind there is none.
	pending  Ailment
	indented bool // pending counts only if it has a stack trace
}

// Line takes the next line. An ailment may be that of a line before.
func (r *AilmentReader) Line(line string) (a Ailment, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if r.pending.Kind != "" {
		switch {
		case hasPrefix(line, "Dumping heap to ", "Heap dump file created", "Unable to create ", "Dump file is incomplete"):
			return a, false // it goes on after the dump, or does not
		case hasPrefix(line, "Terminating due to java.lang.OutOfMemoryError", "Aborting due to java.lang.OutOfMemoryError", "#"):
			r.pending = Ailment{}
			return a, false
		}
		a, r.pending = r.pending, Ailment{}
		if !r.indented || strings.HasPrefix(line, "\t\tat ") {
			return a, true
		}
	}
	if len(line) > 0 && strings.HasSuffix(line, " is full. Compiler has been disabled.") && codeCacheLine(line) {
		return Ailment{CodeCacheFull, clip(line)}, true
	}
	// Tomcat's own formatter puts a tab before each line of a stack trace.
	line, r.indented = strings.CutPrefix(line, "\t")
	kind, final := memoryLine(line)
	switch {
	case kind == "":
		return Ailment{}, false
	case final && !r.indented:
		return Ailment{kind, clip(line)}, true
	}
	r.pending = Ailment{kind, clip(line)}
	return Ailment{}, false
}

// codeCacheLine tells HotSpot's two ways to say it, once by its log, once as a
// warning, from others.
func codeCacheLine(line string) bool {
	what := line[strings.LastIndexByte(line, ']')+1:]
	if _, after, found := strings.Cut(line, " VM warning: "); found {
		what = after
	}
	return hasPrefix(strings.TrimSpace(what), "CodeCache is full", "CodeHeap '")
}

// memoryLine recognises the beginning of a stack trace of an OutOfMemoryError.
// final says that nothing which follows can change what it means.
func memoryLine(line string) (kind string, final bool) {
	if len(line) < 2 || line[0] != 'j' && line[0] != 'C' && line[0] != 'E' && line[0] != 'i' {
		return "", false // nearly every line
	}
	if strings.HasPrefix(line, "Exception: java.lang.OutOfMemoryError thrown from the UncaughtExceptionHandler in thread ") {
		return OtherMemory, true // there was not even memory to say more
	}
	rest := line
	if thread, ok := strings.CutPrefix(line, `Exception in thread "`); ok {
		end := strings.LastIndex(thread, `" `)
		if end < 0 {
			return "", false
		}
		rest, final = thread[end+2:], true
	} else if cause, ok := strings.CutPrefix(line, "Caused by: "); ok {
		rest, final = cause, true
	}
	if detail, ok := strings.CutPrefix(rest, "io.netty.util.internal.OutOfDirectMemoryError: failed to allocate "); ok && detail != "" {
		return DirectMemory, final
	}
	detail, ok := strings.CutPrefix(rest, "java.lang.OutOfMemoryError")
	if !ok || detail != "" && !strings.HasPrefix(detail, ": ") {
		return "", false
	}
	return memoryKind(strings.TrimPrefix(detail, ": ")), final
}

// memoryKind sorts the details; empty: no memory was lacking, what was asked for
// was longer than any array can be.
func memoryKind(detail string) string {
	switch {
	case hasPrefix(detail, "Direct buffer memory"), hasPrefix(detail, "Cannot reserve ") && strings.Contains(detail, "direct buffer memory"):
		return DirectMemory
	case hasPrefix(detail, "Java heap space", "GC overhead limit exceeded"):
		return HeapMemory
	case hasPrefix(detail, "Metaspace", "Compressed class space"):
		return ClassMemory
	case hasPrefix(detail, "unable to create native thread", "unable to create new native thread"):
		return NativeThreads
	case hasPrefix(detail, "Requested array size exceeds VM limit", "Required array length", "Required array size", "Required length exceeds"):
		return ""
	}
	return OtherMemory
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
