package hooks

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Queues that belong to no service. No service can have such a name.
const (
	containerQueue = "@container"
	jobsQueue      = "@jobs"
)

// queueOf is the name of an occurrence's queue.
func queueOf(o *lifecycle.Occurrence) string {
	switch o.Event.Scope() {
	case lifecycle.ScopeJob:
		return jobsQueue
	case lifecycle.ScopeService:
		return o.Service
	default:
		return containerQueue
	}
}

// subjectOf is the service whose hooks run at an occurrence; empty: hooks of no one service.
func subjectOf(o *lifecycle.Occurrence) string {
	if o.Event.OfService() {
		return o.Service
	}
	return ""
}

// kindOf is what Start of an occurrence numbers.
func kindOf(o *lifecycle.Occurrence) string {
	if o.Event.Scope() == lifecycle.ScopeJob {
		return string(o.Event) + "/" + o.Service
	}
	return string(o.Event)
}

// savedQueue is the saved state of a queue. Its runs and outputs are items of their own.
type savedQueue struct {
	// Marks are the latest occurrences of each kind. Those of the runs are added from them.
	Marks []mark `json:"marks,omitempty"`
	// Last is how each hook ended last.
	Last []LastOutcome `json:"last,omitempty"`
	Port int           `json:"port,omitempty"`
}

// mark says that the occurrences of a kind up to Start are known.
type mark struct {
	Kind  string `json:"kind"`
	Start uint64 `json:"start,omitempty"`
	Err   string `json:"err,omitempty"` // why what waited for it failed
}

// savedOutput is what a hook has output for the present start, or for the container.
type savedOutput struct {
	Seq   uint64          `json:"seq"`
	Event lifecycle.Event `json:"event"`
	Hook  string          `json:"hook"` // its Title
	Order int             `json:"order"`
	// User restricts it to processes of that user; nil: it is for all.
	User *uint32 `json:"user,omitempty"`
	// Raw is what the hook wrote: JSON text would change bytes that are not UTF-8.
	Raw    []byte `json:"raw"`
	output Output
}

// attempt is a try of a hook that runs or is about to.
type attempt struct {
	Hook  string    `json:"hook"` // its Title
	ID    string    `json:"id"`   // of the process
	Out   string    `json:"out,omitempty"`
	Try   int       `json:"try"` // from 1
	Begun time.Time `json:"begun"`
	First time.Time `json:"first"` // when the first try began
	// User is set if the hook runs as another user than stoker.
	User *uint32 `json:"user,omitempty"`
	// OOMKills is the value of Options.OOMKills before the start; nil: unknown.
	OOMKills *uint64 `json:"oom_kills,omitempty"`

	raw     []byte  // what it wrote to STOKER_OUT
	process Process // that has ended, or that an earlier supervisor has left; nil: there is none
}

// cleanUp releases what the attempt has used, once its end is saved.
func (a *attempt) cleanUp() {
	if a.process != nil {
		a.process.Done()
	}
	if a.Out != "" {
		os.Remove(a.Out)
	}
	a.process, a.Out = nil, ""
}

// LastOutcome is how a hook ended last.
type LastOutcome struct {
	Event   lifecycle.Event `json:"event"`
	Hook    string          `json:"hook"` // its Title
	Service string          `json:"service,omitempty"`
	Start   uint64          `json:"start,omitempty"`
	At      time.Time       `json:"at"`
	Outcome
}

// Limits of the saved state.
const (
	maxMarks = 128
	maxLast  = 128
	maxQueue = 64
	maxWhy   = 300 // bytes
)

// marked returns the mark that covers an occurrence; nil: it is new.
func (s *savedQueue) marked(o *lifecycle.Occurrence) *mark {
	k := slices.IndexFunc(s.Marks, func(m mark) bool { return m.Kind == kindOf(o) && o.Start <= m.Start })
	if k < 0 {
		return nil
	}
	return &s.Marks[k]
}

// mark replaces the mark of the occurrence's kind.
func (s *savedQueue) mark(o *lifecycle.Occurrence) {
	s.Marks = replaceLast(s.Marks, maxMarks, mark{Kind: kindOf(o), Start: o.Start}, func(m mark) bool { return m.Kind == kindOf(o) })
}

// noteOutcome replaces how a hook ended last.
func (s *savedQueue) noteOutcome(o *lifecycle.Occurrence, hook string, at time.Time, out Outcome) {
	last := LastOutcome{Event: o.Event, Hook: hook, Service: o.Service, Start: o.Start, At: at, Outcome: out}
	s.Last = replaceLast(s.Last, maxLast, last, func(l LastOutcome) bool { return l.Event == o.Event && l.Hook == hook })
}

// replaceLast appends a value in the place of the one that same finds, and drops the oldest beyond limit.
func replaceLast[T any](list []T, limit int, value T, same func(T) bool) []T {
	list = append(slices.DeleteFunc(list, same), value)
	return list[max(len(list)-limit, 0):]
}

// short is the outcome without its output and with a bounded reason.
func (o Outcome) short() Outcome {
	o.Output, o.Given = "", Output{}
	o.Why = strings.ToValidUTF8(o.Why[:min(len(o.Why), maxWhy)], "?")
	return o
}

// itemName is the name of an item or a process.
func itemName(prefix, queue string, seq uint64) string {
	return fmt.Sprintf("%s%s/%d", prefix, queue, seq)
}
