package hotspot

import (
	"slices"
	"strings"
)

// Kinds of health issues.
const (
	DirectMemory  = "direct memory" // does not end the JVM, whatever its options say
	HeapMemory    = "heap"
	ClassMemory   = "metaspace"
	NativeThreads = "native threads"
	OtherMemory   = "memory"
	CodeCacheFull = "code cache" // nothing more is compiled
)

// HealthIssue is a failure that a JVM reports and survives.
type HealthIssue struct {
	Kind string
	Line string
}

// HealthReader finds health issues in the output of a running JVM. It matches the start of
// a line only, not a message that mentions an error. The zero value is ready.
type HealthReader struct {
	// pending waits for the next line, which shows whether the JVM printed it or a stack
	// artifact, and whether the JVM ends. An empty Kind: none is pending.
	pending  HealthIssue
	indented bool // pending is an issue only if a stack trace follows
}

// Line takes the next line. It may return the issue of the line before.
func (r *HealthReader) Line(line string) (a HealthIssue, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if r.pending.Kind != "" {
		switch {
		case hasPrefix(line, "Dumping heap to ", "Heap dump file created", "Unable to create ", "Dump file is incomplete"):
			return a, false // the line after the dump decides
		case hasPrefix(line, "Terminating due to java.lang.OutOfMemoryError", "Aborting due to java.lang.OutOfMemoryError", "#"):
			r.pending = HealthIssue{}
			return a, false
		}
		a, r.pending = r.pending, HealthIssue{}
		if !r.indented || strings.HasPrefix(line, "\t\tat ") {
			return a, true
		}
	}
	if len(line) > 0 && strings.HasSuffix(line, " is full. Compiler has been disabled.") && codeCacheLine(line) {
		return HealthIssue{CodeCacheFull, clip(line)}, true
	}
	// Tomcat's own formatter puts a tab before each line of a stack trace.
	line, r.indented = strings.CutPrefix(line, "\t")
	kind, final := memoryLine(line)
	switch {
	case kind == "":
		return HealthIssue{}, false
	case final && !r.indented:
		return HealthIssue{kind, clip(line)}, true
	}
	r.pending = HealthIssue{kind, clip(line)}
	return HealthIssue{}, false
}

// codeCacheLine matches HotSpot's two forms: a log line and a warning.
func codeCacheLine(line string) bool {
	what := line[strings.LastIndexByte(line, ']')+1:]
	if _, after, found := strings.Cut(line, " VM warning: "); found {
		what = after
	}
	return hasPrefix(strings.TrimSpace(what), "CodeCache is full", "CodeHeap '")
}

// memoryLine matches the first line of an OutOfMemoryError. final: the following lines
// cannot change its meaning.
func memoryLine(line string) (kind string, final bool) {
	if len(line) < 2 || line[0] != 'j' && line[0] != 'C' && line[0] != 'E' && line[0] != 'i' {
		return "", false // nearly every line
	}
	if strings.HasPrefix(line, "Exception: java.lang.OutOfMemoryError thrown from the UncaughtExceptionHandler in thread ") {
		return OtherMemory, true // no memory was left to print the details
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

// memoryKind classifies the message of an OutOfMemoryError. Empty: memory was not short, the
// requested array was longer than an array can be.
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
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
