package hooks

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
)

// Lanes that are no service's. No service can be called so.
const (
	containerQueue = "@container"
	jobsQueue      = "@jobs"
)

// laneOf is the lane of an occasion.
func queueOf(o lifecycle.Occurrence) string {
	switch {
	case o.Event == lifecycle.JobStarted || o.Event == lifecycle.JobFinished:
		return jobsQueue
	case !o.Event.OfService():
		return containerQueue
	}
	return o.Service
}

// kept is what the bag has of a lane.
type savedQueue struct {
	// Queue are the occasions that are not through; the first is under way. Each has an
	// item of its own; only earlier versions kept them here.
	Runs []*run `json:"queue,omitempty"`
	// Marks are those that were told, the latest of each kind. Those of the queue are
	// made again from it.
	Marks []mark `json:"marks,omitempty"`
	// Gifts are what the hooks of the present start have given, or of the container.
	Outputs []savedOutput `json:"gifts,omitempty"`
	// Last is how each hook ended last.
	Last []LastOutcome `json:"last,omitempty"`
	Port int           `json:"port,omitempty"`
	Seq  uint64        `json:"seq,omitempty"` // of runs and gifts
}

// entry is an occasion that was told and is not through.
type run struct {
	lifecycle.Occurrence
	// Drop says why it is brought to an end, At says when that is due.
	Cancelled string    `json:"drop,omitempty"`
	CancelAt  time.Time `json:"due,omitzero"`
	// Over are the hooks of it that have ended, Trying those that run.
	Ended   []Outcome `json:"over,omitempty"`
	Running []attempt `json:"trying,omitempty"`
	// Seq numbers it in its lane, LaneSeq is the lane's when it was kept.
	Seq      uint64 `json:"seq"`
	QueueSeq uint64 `json:"lane_seq"`

	flow *flow
	// tries counts those that began, keptTries those of them that are in the fd store.
	begun, saved uint64
}

// try is a hook that runs, or is about to.
type attempt struct {
	Hook  string    `json:"hook"` // its Title
	ID    string    `json:"id"`   // of the process
	Out   string    `json:"out,omitempty"`
	Try   int       `json:"try"` // from 1
	Begun time.Time `json:"begun"`
	First time.Time `json:"first"` // when the first try began
	// User is another one than stoker's that it runs as; nil: it does not.
	User *uint32 `json:"user,omitempty"`
	// OOMKills is what Options.OOMKills said before it was started; nil: nothing.
	OOMKills *uint64 `json:"oom_kills,omitempty"`

	left []func() // gives up what ended tries have left, once that is kept
}

// leaves notes a file to be removed in the end; empty: there is none.
func (t *attempt) removeLater(path string) {
	if path != "" {
		t.left = append(t.left, func() { os.Remove(path) })
	}
}

// release gives up what ended tries have left.
func (t *attempt) cleanUp() {
	for _, f := range t.left {
		f()
	}
	t.left = nil
}

// mark says that an occasion was told: those of its kind up to Start.
type mark struct {
	Kind  string `json:"kind"`
	Start uint64 `json:"start,omitempty"`
	Err   string `json:"err,omitempty"` // why what waited for it failed
}

// kind is what its Start numbers.
func kindOf(o *lifecycle.Occurrence) string {
	if queueOf(*o) == jobsQueue {
		return string(o.Event) + "/" + o.Service
	}
	return string(o.Event)
}

// gift is something that a hook has given. What it is has an item of its own.
type savedOutput struct {
	Seq   uint64          `json:"seq"`
	Event lifecycle.Event `json:"event"`
	Hook  string          `json:"hook"`
	Order int             `json:"place"` // among the event's hooks
	// User is whose processes it is for; nil: everybody's.
	User   *uint32 `json:"user,omitempty"`
	output Output
}

// Ended is how a hook ended last.
type LastOutcome struct {
	Event   lifecycle.Event `json:"event"`
	Hook    string          `json:"hook"` // its Title
	Service string          `json:"service,omitempty"`
	Start   uint64          `json:"start,omitempty"`
	At      time.Time       `json:"at"`
	Outcome
}

// Bounds of what is kept of a lane, so that it fits into the bag.
const (
	maxMarks = 128
	maxLast  = 128
	maxQueue = 64
	maxItem  = 60 << 10 // bytes
	maxWhy   = 300      // bytes
)

// marked finds the mark of an occasion that was told.
func (k *savedQueue) marked(o *lifecycle.Occurrence) *mark {
	for i := range k.Marks {
		if m := &k.Marks[i]; m.Kind == kindOf(o) && o.Start <= m.Start {
			return m
		}
	}
	return nil
}

// subject is the service whose hooks count for an occasion; empty: those of all.
func subjectOf(o *lifecycle.Occurrence) string {
	if o.Event.OfService() {
		return o.Service
	}
	return ""
}

// mark notes that an occasion is told. Older ones of its kind count as told too.
func (k *savedQueue) mark(o *lifecycle.Occurrence) {
	for i := range k.Marks {
		if k.Marks[i].Kind == kindOf(o) {
			k.Marks = append(k.Marks[:i], k.Marks[i+1:]...)
			break
		}
	}
	k.Marks = append(k.Marks, mark{Kind: kindOf(o), Start: o.Start})
	k.Marks = k.Marks[max(len(k.Marks)-maxMarks, 0):]
}

// note keeps how a hook ended, in the place of how it ended before.
func (k *savedQueue) noteOutcome(o *lifecycle.Occurrence, hook string, at time.Time, out Outcome) {
	for i := range k.Last {
		if k.Last[i].Event == o.Event && k.Last[i].Hook == hook {
			k.Last = append(k.Last[:i], k.Last[i+1:]...)
			break
		}
	}
	k.Last = append(k.Last, LastOutcome{Event: o.Event, Hook: hook, Service: o.Service, Start: o.Start, At: at, Outcome: out})
	k.Last = k.Last[max(len(k.Last)-maxLast, 0):]
}

// complete adds to what was kept of the lane what its queue alone says.
func (k *savedQueue) complete() {
	slices.SortStableFunc(k.Runs, func(a, b *run) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, e := range k.Runs {
		k.Seq = max(k.Seq, e.Seq, e.QueueSeq)
		if k.marked(&e.Occurrence) == nil {
			k.mark(&e.Occurrence)
		}
		k.Port = cmp.Or(e.Port, k.Port)
	}
}

// body is what the fd store gets of a lane, without its queue: how hooks ended last
// only where there is room for it.
func (k *savedQueue) body() ([]byte, error) {
	less := *k
	less.Runs = nil
	data, err := json.Marshal(&less)
	if err != nil || len(data) <= maxItem {
		return data, err
	}
	less.Last = nil
	return pack(&less)
}

// body is what the fd store gets: everything that keeps a hook from being run twice,
// and as much of the rest as there is room for.
func (e *run) body() ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil || len(data) <= maxItem {
		return data, err
	}
	short := *e
	short.Reason = ""
	short.Ended = nil
	for _, o := range e.Ended {
		o.Why = o.Why[:min(len(o.Why), 40)]
		short.Ended = append(short.Ended, o)
	}
	return pack(&short)
}

// pack encodes what must be kept, compressed where there is no room otherwise.
func pack(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil || len(data) <= maxItem {
		return data, err
	}
	if data, err = deflate(data); err == nil && len(data) > maxItem {
		err = fmt.Errorf("cannot keep the state of hooks: it has %d bytes", len(data))
	}
	return data, err
}

// deflate compresses what hundreds of hooks would have no room for.
func deflate(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}

// inflate is the way back; what is not compressed is as it was.
func inflate(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r) // it is our own
}

// short is an outcome without what the bag has no room for.
func (o Outcome) short() Outcome {
	o.Output, o.Contributed = "", Output{}
	o.Why = strings.ToValidUTF8(o.Why[:min(len(o.Why), maxWhy)], "?")
	return o
}

// unpack is the way back from body.
func unpack(body []byte, to any) error {
	body, err := inflate(body)
	if err == nil {
		err = json.Unmarshal(body, to)
	}
	if err != nil {
		return fmt.Errorf("cannot read the kept state of hooks: %w", err)
	}
	return nil
}

// entryItem is the item of an occasion.
func runItem(lane string, seq uint64) string {
	return fmt.Sprintf("%s%s/%d", runPrefix, lane, seq)
}

// giftItem is the item of a gift.
func outputItem(lane string, seq uint64) string {
	return fmt.Sprintf("%s%s/%d", outputPrefix, lane, seq)
}

// giftPrefix begins the items of gifts, lanePrefix those of lanes, entryPrefix those
// of the occasions in their queues.
const (
	outputPrefix = itemPrefix + "given/"
	queuePrefix  = itemPrefix + "lane/"
	runPrefix    = itemPrefix + "entry/"
)
