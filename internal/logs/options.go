package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Format is how a service's output is passed on to the container's.
type Format string

// Formats; see docs/reference/output.md.
const (
	FormatRaw    Format = "raw"    // byte for byte
	FormatPrefix Format = "prefix" // each line behind the service's name
	FormatJSON   Format = "json"   // each line as a JSON object
	FormatNone   Format = "none"   // not at all
)

// rendered says whether other bytes are passed on than the service wrote.
func (f Format) rendered() bool { return f == FormatPrefix || f == FormatJSON }

// Defaults of LogOptions and FileOptions.
const (
	DefaultKeep  = 256 << 10
	DefaultSize  = 10 << 20
	DefaultFiles = 5
)

// MaxKeep is the most that can be kept of a log, in bytes: more than its index
// has segments for is forgotten all the same.
const MaxKeep = 128 << 20

// LogOptions say what becomes of a service's output. The zero value is right.
type Options struct {
	Keep   int64  `json:"keep"`             // bytes kept in memory; 0: DefaultKeep
	Format Format `json:"format,omitempty"` // empty: FormatRaw
	// Block makes the service wait when what was not passed on exceeds Keep, instead
	// of dropping the oldest lines.
	Block bool `json:"block,omitempty"`
	// Title stands for the log's name in FormatPrefix and FormatJSON; empty: its name.
	Title string       `json:"title,omitempty"`
	File  *FileOptions `json:"file,omitempty"` // nil: written to none
}

// FileOptions write the output to files too.
type FileOptions struct {
	Path  string        `json:"path"`            // full ones are renamed to Path.1, Path.2, ...
	Size  int64         `json:"size,omitempty"`  // bytes at which it is full; 0: DefaultSize
	Every time.Duration `json:"every,omitempty"` // after which it is full; 0: whatever its age
	Files int           `json:"files,omitempty"` // how many full ones are kept; 0: DefaultFiles
	Total int64         `json:"total,omitempty"` // bytes of all together; 0: what Size and Files allow
}

// withDefaults fills in what is absent.
func (o Options) withDefaults() Options {
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.Format == "" {
		o.Format = FormatRaw
	}
	if o.File != nil {
		f := *o.File
		if f.Size <= 0 {
			f.Size = DefaultSize
		}
		if f.Files <= 0 {
			f.Files = DefaultFiles
		}
		if f.Total > 0 {
			f.Size = min(f.Size, (f.Total+1)/2) // so that a full one and the next have room
		}
		o.File = &f
	}
	return o
}

func (o Options) check() error {
	switch {
	case o.Format != FormatRaw && o.Format != FormatPrefix && o.Format != FormatJSON && o.Format != FormatNone:
		return fmt.Errorf("there is no format %q", o.Format)
	case o.File != nil && o.File.Path == "":
		return errors.New("its file has no path")
	}
	return nil
}

func (o Options) equal(p Options) bool {
	sameFile := o.File == p.File || o.File != nil && p.File != nil && *o.File == *p.File
	return sameFile && o.Keep == p.Keep && o.Format == p.Format && o.Block == p.Block && o.Title == p.Title
}

// Bag items of a log. An older supervisor knows the first one alone, and of its
// blob (LogOptions) only the field keep.
const (
	logPrefix     = "log/"
	outputPrefix  = "log-out/"  // descriptors of a rendering
	logFilePrefix = "log-file/" // descriptor of a logFile
)

// Configure changes what becomes of the output while it flows. What it says is in
// the bag when it returns; what was passed on or written by then stays as it is.
func (l *Log) Configure(o Options) error {
	l.changes.Lock() // one change at a time; the output flows on meanwhile
	defer l.changes.Unlock()
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return fmt.Errorf("cannot configure the output of %q: %w", l.name, err)
	}
	if o.equal(l.opts) {
		return nil
	}
	r, f, err := l.sinks(o)
	if err != nil {
		return fmt.Errorf("cannot configure the output of %q: %w", l.name, err)
	}
	meta, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("cannot configure the output of %q: %w", l.name, err)
	}
	if err := l.store.Put(logPrefix+l.name, meta); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := f != nil && l.file == nil
	if l.file != nil && f == nil {
		l.file.retired, l.file.until = true, l.end // its goroutine writes what there is, and ends
		l.store.Delete(logFilePrefix + l.name)
	}
	old := l.file
	l.opts, l.rendering, l.file = o, r, f
	if f != nil {
		f.options = *o.File
	}
	if fresh {
		f.start(l.end)
	}
	l.skipUnwanted()
	l.trim()
	l.makeRoom()
	l.wakeSinks()
	if old != nil && f == nil {
		poke(old.poke)
	}
	return nil
}

// sinks makes what o needs beside the log itself and puts it into the bag.
func (l *Log) sinks(o Options) (r *rendering, f *logFile, err error) {
	r = l.rendering
	if o.Format.rendered() && r == nil {
		if r, err = newRendering(l); err == nil {
			if err = l.store.Put(outputPrefix+l.name, nil, r.fd, r.sent); err != nil {
				r.close()
				unix.Close(r.sent)
			}
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if o.File == nil {
		return r, nil, nil
	}
	if f = l.file; f == nil {
		if f, err = newLogFile(l); err == nil {
			if err = l.store.Put(logFilePrefix+l.name, nil, f.fd); err != nil {
				f.notebook.close()
			}
		}
	}
	return r, f, err
}

// openAgain opens a memfd a second time, which gives a position of its own.
func openAgain(fd int) (int, error) {
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("cannot open the memfd a second time (is /proc mounted?): %w", err)
	}
	return again, nil
}

// poke wakes the one goroutine that reads c.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
