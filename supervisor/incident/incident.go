// Package incident finds out why a start failed or a service ended, and keeps the last incidents with their evidence
// for the operator and the next supervisor. It knows neither services nor their states: a Failure has plain facts.
package incident

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/redact"
)

// Cause is why a start failed or a service ended, as precisely as it is known.
type Cause string

// Causes of incidents.
const (
	CauseNotStarted   Cause = "not-started"       // there was no process
	CauseExit         Cause = "exit-code"         // it ended by itself
	CauseSignal       Cause = "signal"            // a signal ended it, and no core was dumped
	CauseCore         Cause = "core"              // a signal ended it, and a core was dumped
	CauseOOMKill      Cause = "cgroup-oom-kill"   // the kernel's OOM killer ended it
	CauseJVMMemory    Cause = "jvm-out-of-memory" // the JVM ended because it had no memory left
	CauseJVMCrash     Cause = "jvm-crash"         // the JVM found a fatal error in itself
	CauseStartTimeout Cause = "start-timeout"     // it was not ready in time
	CauseFailedStart  Cause = "failed-start"      // it reported that it failed: an application that is not deployed
	CauseUnhealthy    Cause = "unhealthy"         // liveness checks failed
	CauseJVMDiffers   Cause = "jvm-differs"       // the JVM that runs is not the one that was started
	CauseJVMStarved   Cause = "jvm-starved"       // the JVM lives, but lacks memory
	CauseCodeCache    Cause = "jvm-code-cache"    // the JVM lives, but does not compile any more
	CauseDegraded     Cause = "degraded"          // it runs, and a part of it does not work: an application that is not deployed
	CauseStopTimeout  Cause = "stop-timeout"      // it did not stop in time and was killed
	CauseLeft         Cause = "left-processes"    // it ended well, and processes of it live on
	CauseUnseen       Cause = "unseen"            // it ended while no supervisor worked
)

// Limits of what an incident holds, in bytes unless the name says otherwise.
const (
	MaxOutput     = 64 << 10
	MaxThreadDump = 256 << 10
	MaxExcerpt    = 64 << 10 // of all files together
	MaxReason     = 4 << 10  // a reason, a path, Limits
	maxFiles      = 8        // files
	maxWords      = 64 << 10 // options together, notes together
)

// Summary is an incident's line in a list.
type Summary struct {
	Number  uint64        `json:"number"` // from 1, of the container
	Service string        `json:"service"`
	Kind    string        `json:"kind,omitempty"` // of the service
	At      time.Time     `json:"at"`
	Cause   Cause         `json:"cause"`
	Reason  string        `json:"reason"`
	Start   uint64        `json:"start"`         // number of the service's start
	Pid     int           `json:"pid,omitempty"` // 0: there was no process
	Ran     time.Duration `json:"ran_ns,omitempty"`
}

// Incident is everything that is known of one failed start or one unexpected end.
type Incident struct {
	Summary
	// Exit is how the process ended; nil: there was none, it lives, or that is unknown.
	Exit *Exit `json:"exit,omitempty"`
	// StopRequestedBy is the origin of a stop request before the end; empty: none.
	StopRequestedBy string `json:"stop_requested_by,omitempty"`
	// Notes are what else was found, a line each.
	Notes []string `json:"notes,omitempty"`
	// Output is the end of what that start wrote, both streams as they came.
	Output     Text   `json:"output,omitempty"`
	ThreadDump Text   `json:"thread_dump,omitempty"`
	Files      []File `json:"files,omitempty"`
	// Options are the argument list in force, secrets masked.
	Options []string `json:"options,omitempty"`
	// Limits are the CPU and memory in force; null: not known.
	Limits json.RawMessage `json:"limits,omitempty"`
}

// Kinds of files.
const (
	FileHsErr    = "hs_err"    // the JVM's error report
	FileHeapDump = "heap_dump" // of a JVM
	FileCore     = "core"      // of any process
)

// File is a file that the ending process, or the kernel, has left.
type File struct {
	Kind    string    `json:"kind"`
	Path    string    `json:"path"`
	Size    int64     `json:"size"` // bytes
	ModTime time.Time `json:"mod_time"`
	Excerpt Text      `json:"excerpt,omitempty"` // its beginning, of an hs_err only; secrets masked
}

// Text is output. In JSON it is a string if it is UTF-8, else an object with the bytes as "base64".
type Text []byte

type encodedText struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON encodes it.
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.Valid(t) {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		err := enc.Encode(string(t))
		return out.Bytes(), err
	}
	return json.Marshal(encodedText{t})
}

// UnmarshalJSON decodes both forms.
func (t *Text) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*t = Text(s)
		return nil
	}
	var e encodedText
	err := json.Unmarshal(data, &e)
	*t = e.Base64
	return err
}

// cut cuts an incident to its limits: the output to its end, the rest to its beginning.
func (i *Incident) cut() {
	i.Reason = redact.Clip(i.Reason, MaxReason)
	i.Output = i.Output[max(0, len(i.Output)-MaxOutput):]
	i.ThreadDump = i.ThreadDump[:min(len(i.ThreadDump), MaxThreadDump)]
	i.Files = slices.Clone(i.Files[:min(len(i.Files), maxFiles)]) // the caller's are left alone
	room := MaxExcerpt
	for k := range i.Files {
		f := &i.Files[k]
		f.Path = redact.Clip(f.Path, MaxReason)
		f.Excerpt = f.Excerpt[:min(len(f.Excerpt), room)]
		room -= len(f.Excerpt)
	}
	i.Options = cutWords(i.Options)
	i.Notes = slices.Clone(i.Notes)
	for k, note := range i.Notes {
		i.Notes[k] = redact.Text(note)
	}
	i.Notes = cutWords(i.Notes)
	if len(i.Limits) > MaxReason || !json.Valid(i.Limits) {
		i.Limits = nil
	}
}

// cutWords cuts a list to maxWords, and ends it with "...".
func cutWords(words []string) []string {
	room := maxWords
	for k, w := range words {
		if room -= len(w) + 1; room < 0 {
			return append(append([]string(nil), words[:k]...), "...")
		}
	}
	return words
}
