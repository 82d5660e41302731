package hotspot

import (
	"bytes"
	"strings"
)

// LastWords are what a JVM said of its end, in one line: its refusal to start, the
// deepest cause of an exception that ended it, its fatal error; else the last line that
// is not empty. output is the end of what it wrote; empty: it wrote nothing.
func LastWords(output []byte) string {
	var refusal RefusalReader
	refused, named, complaint, cause, fatal, uncaught, last := "", "", "", "", "", "", ""
	for raw := range bytes.Lines(output) {
		line := strings.TrimRight(string(raw[:min(len(raw), 4*maxWords)]), " \r\n")
		if r, ok := refusal.Line(line); ok {
			refused = r.Message
		}
		// What comes on stderr may stand behind what follows from it on stdout.
		if r, ok := refusalLine(line); ok && named == "" && !strings.HasPrefix(r.Message, noVM) {
			named = r.Message
		}
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "":
			continue
		case strings.HasPrefix(line, "Caused by: "): // on stderr, and the fatal error on stdout: either may come first
			cause = strings.TrimPrefix(line, "Caused by: ")
		case strings.HasPrefix(line, "FATAL ERROR in native method: "):
			fatal = line
		case complaint == "" && (strings.HasPrefix(line, "Error: ") || strings.HasPrefix(line, "ERROR: ")) && !strings.HasPrefix(line, noVM):
			complaint = strings.TrimSuffix(line, "; nested exception is:")
		case strings.HasPrefix(line, `Exception in thread "main" `):
			uncaught, cause = line, ""
		}
		last = line
	}
	w := readWords(output)
	switch {
	case fatal != "" && cause != "":
		return clip(cause + " (" + fatal + ")")
	case fatal != "":
		return clip(fatal)
	case named != "" && !strings.HasPrefix(refused, named):
		return clip(named)
	case refused != "" && !strings.HasPrefix(refused, noVM):
		return clip(refused)
	case w.initError != "":
		return w.initError
	case complaint != "":
		return clip(complaint)
	case w.fatal != "":
		return clip(strings.TrimSuffix(w.fatal+", in "+w.frame, ", in "))
	case w.noMemory != "":
		return w.noMemory
	case cause != "" && uncaught != "":
		return clip(cause)
	case uncaught != "":
		return clip(uncaught)
	case refused != "":
		return clip(refused)
	}
	return clip(strings.TrimSpace(last))
}
