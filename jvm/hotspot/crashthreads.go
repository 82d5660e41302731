package hotspot

import (
	"bytes"

	"github.com/stoker-init/stoker/internal/lazyregexp"
)

// ThreadDump cuts the last thread dump out of a JVM's output: from the line with
// its time to its heap part. An incomplete one, of a JVM that was killed
// meanwhile, is returned as far as it goes. False: there is none.
func ThreadDump(output []byte) ([]byte, bool) {
	start := lastLine(output, []byte("Full thread dump "))
	if start < 0 {
		return nil, false
	}
	end := dumpEnd(output, start)
	if above := bytes.LastIndexByte(output[:max(start-1, 0)], '\n') + 1; start > 0 && dateLine().Match(output[above:start-1]) {
		start = above
	}
	return output[start:end], true
}

// lastLine finds the last line that begins with text; -1: none does.
func lastLine(output, text []byte) int {
	for end := len(output); ; {
		k := bytes.LastIndex(output[:end], text)
		if k <= 0 || output[k-1] == '\n' {
			return k
		}
		end = k
	}
}

// dateLine is "2026-03-01 12:00:00".
var dateLine = lazyregexp.New(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\r*$`)

// dumpEnd is where a thread dump ends: behind the line of the JNI references,
// deadlocks that were found, and the heap, whose lines are indented.
func dumpEnd(output []byte, start int) int {
	refs := bytes.Index(output[start:], []byte("\nJNI global ref"))
	if refs < 0 {
		return len(output)
	}
	pos := start + refs + 1
	end := pos
	deadlock, heap := false, false
	for line := range bytes.Lines(output[pos:]) {
		pos += len(line)
		text := bytes.TrimRight(line, " \r\n")
		switch {
		case len(text) == 0:
			if heap { // the heap's last line is followed by an empty one
				return end
			}
			continue
		case bytes.HasPrefix(text, []byte("JNI global ref")):
		case bytes.HasPrefix(text, []byte("Found ")):
			deadlock = bytes.Contains(text, []byte("deadlock:")) // "Found 1 deadlock." is its last line
		case deadlock:
		case string(text) == "Heap":
			heap = true
		case heap && (text[0] == ' ' || text[0] == '\t'):
		default:
			return end
		}
		end = pos
	}
	return end
}
