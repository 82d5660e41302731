package logs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/stoker-init/stoker/internal/logfile"
)

// Format is how a service's output is forwarded to the container's.
type Format string

// Formats; see docs/reference/output.md.
const (
	FormatRaw    Format = "raw"    // byte for byte
	FormatPrefix Format = "prefix" // each line behind the service's name
	FormatJSON   Format = "json"   // each line as a JSON object
	FormatNone   Format = "none"   // not at all
)

// byLines reports whether lines are forwarded in another form than the service wrote them.
func (f Format) byLines() bool { return f == FormatPrefix || f == FormatJSON }

// DefaultKeep is the default of Options.Keep.
const DefaultKeep = 256 << 10

// MaxKeep is the upper limit of Options.Keep, in bytes. What the index has no segments for
// is dropped before.
const MaxKeep = 128 << 20

// Options configure a log. The zero value has the defaults.
type Options struct {
	Keep   int64  `json:"keep"`             // bytes kept in memory; 0: DefaultKeep
	Format Format `json:"format,omitempty"` // empty: FormatRaw
	// Block makes the service wait when what was not forwarded exceeds Keep, instead
	// of dropping the oldest lines.
	Block bool `json:"block,omitempty"`
	// Title replaces the log's name in FormatPrefix and FormatJSON; empty: its name.
	Title string           `json:"title,omitempty"`
	File  *logfile.Options `json:"file,omitempty"` // nil: no file
}

// withDefaults fills in what is absent. A format of a later version becomes FormatRaw.
func (o Options) withDefaults() Options {
	o.Keep = cmp.Or(o.Keep, DefaultKeep)
	if !slices.Contains([]Format{FormatPrefix, FormatJSON, FormatNone}, o.Format) {
		o.Format = FormatRaw
	}
	if o.File != nil {
		f := o.File.WithDefaults()
		o.File = &f
	}
	return o
}

// Items of a log in the store.
const (
	logPrefix  = "log/"     // its Options; the descriptors of the log itself
	pagePrefix = "log-out/" // its page
)

// Configure changes the options while the output flows. They are in the store when it
// returns; what was forwarded or written by then stays as it is.
func (l *Log) Configure(o Options) error {
	l.changes.Lock() // the output flows on meanwhile
	defer l.changes.Unlock()
	o = o.withDefaults()
	if reflect.DeepEqual(o, l.opts) {
		return nil
	}
	file := l.file
	if o.File != nil && file == nil {
		file = newFileWriter(l)
		l.mu.Lock()
		file.begin() // before the options are in the store
		l.mu.Unlock()
	}
	if err := l.put(o); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opts = o
	switch {
	case o.File == nil && file != nil:
		file.retire()
		l.file = nil
	case l.file == nil && file != nil:
		l.file = file
		go file.run() // ends with Flush, or when it is retired
	}
	l.skipUnforwarded()
	l.trim()
	l.room.Broadcast()
	l.notifyWriters()
	return nil
}

// put keeps the options in the store, at first with the descriptors of the log.
func (l *Log) put(o Options, fds ...int) error {
	meta, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("cannot configure the output of %q: %w", l.name, err)
	}
	return l.registry.Store.Put(logPrefix+l.name, meta, fds...)
}
