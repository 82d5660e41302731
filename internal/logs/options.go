package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
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

// byLines says whether lines are forwarded in another form than the service wrote them.
func (f Format) byLines() bool { return f == FormatPrefix || f == FormatJSON }

// Defaults of Options and FileOptions.
const (
	DefaultKeep  = 256 << 10
	DefaultSize  = 10 << 20
	DefaultFiles = 5
)

// MaxKeep is the most that can be kept of a log, in bytes: more than its index
// has segments for is forgotten all the same.
const MaxKeep = 128 << 20

// Options say what becomes of a service's output. The zero value is right.
type Options struct {
	Keep   int64  `json:"keep"`             // bytes kept in memory; 0: DefaultKeep
	Format Format `json:"format,omitempty"` // empty: FormatRaw
	// Block makes the service wait when what was not forwarded exceeds Keep, instead
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

// Items of a log in the store.
const (
	logPrefix  = "log/"      // its Options; the descriptors of the log itself
	linePrefix = "log-out/"  // the page of a format of lines
	filePrefix = "log-file/" // the page of a fileWriter
)

// Configure changes what becomes of the output while it flows. The options are in
// the store when it returns; what was forwarded or written by then stays as it is.
func (l *Log) Configure(o Options) error {
	l.changes.Lock() // the output flows on meanwhile
	defer l.changes.Unlock()
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return fmt.Errorf("cannot configure the output of %q: %w", l.name, err)
	}
	if reflect.DeepEqual(o, l.opts) {
		return nil
	}
	page, f, err := l.writers(o)
	if err != nil {
		return fmt.Errorf("cannot configure the output of %q: %w", l.name, err)
	}
	if err := l.put(o); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	l.opts, l.file = o, f
	if l.page == nil { // else forward reads it
		l.page = page
	}
	if f != nil {
		f.options = *o.File
	}
	if f != nil && old == nil {
		f.begin()
		go f.run() // ends with Flush, or when it is retired
	}
	if old != nil && f == nil {
		old.retired, old.until = true, l.end // its goroutine writes what there is, and ends
		l.store.Delete(filePrefix + l.name)
		notify(old.wake)
	}
	l.skipUnwanted()
	l.trim()
	l.makeRoom()
	l.notifyWriters()
	return nil
}

// put keeps the options in the store, at first with the descriptors of the log.
func (l *Log) put(o Options, fds ...int) error {
	meta, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("cannot configure the output of %q: %w", l.name, err)
	}
	return l.store.Put(logPrefix+l.name, meta, fds...)
}

// writers makes what o needs beside the log itself and puts it into the store.
func (l *Log) writers(o Options) (page *sharedPage, f *fileWriter, err error) {
	page = l.page
	if o.Format.byLines() && page == nil {
		if page, err = l.newPage(linePrefix); err != nil {
			return nil, nil, err
		}
	}
	if o.File == nil {
		return page, nil, nil
	}
	if f = l.file; f == nil {
		filePage, err := l.newPage(filePrefix)
		if err != nil {
			return page, nil, err
		}
		f = newFileWriter(l, filePage)
	}
	return page, f, nil
}

// newPage makes a page that is in the store.
func (l *Log) newPage(prefix string) (*sharedPage, error) {
	page, err := newSharedPage(l.name)
	if err != nil {
		return nil, err
	}
	if err := l.store.Put(prefix+l.name, nil, page.fd); err != nil {
		page.close()
		return nil, err
	}
	return page, nil
}
