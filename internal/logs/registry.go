package logs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
	"golang.org/x/sys/unix"
)

// Store is an fdstore.Store.
type Store interface {
	Put(name string, blob []byte, fds ...int) error
	Delete(name string)
}

// Config is what a Registry needs of the supervisor.
type Config struct {
	Sinks    *[2]*Sink // the container's stdout and stderr; nil: descriptors 1 and 2
	Store    Store
	Warn     func(msg string)
	Reserve  func(n int) error // fails when fewer than n descriptors are free
	Explain  func(error) error // adds a hint for the operator
	NoSplice bool              // splice(2) is not used
	// OldLayout keeps the layout of the memory as earlier versions read it: one may take over again.
	OldLayout bool
}

// Registry holds the logs of one container by name.
type Registry struct {
	Config
	mu         sync.Mutex // guards logs
	logs       map[string]*Log
	warnUnread sync.Once
}

// NewRegistry makes an empty one.
func NewRegistry(c Config) *Registry {
	if c.Sinks == nil {
		c.Sinks = StdSinks()
	}
	return &Registry{Config: c, logs: map[string]*Log{}}
}

// filesPerLog is how many descriptors it takes to make a log. It keeps three.
const filesPerLog = 4

// Open returns the log of a service, and makes it if there is none. An existing one
// is reconfigured if the options differ.
func (r *Registry) Open(name string, o Options) (*Log, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.logs[name]; l != nil {
		l.mu.Lock()
		l.retired = false
		l.mu.Unlock()
		return l, l.Configure(o)
	}
	l := makeLog(name, Options{})
	r.own(l)
	if err := r.add(l); err != nil {
		return nil, err
	}
	if err := l.Configure(o); err != nil {
		l.Retire()
		return nil, r.Explain(err)
	}
	return l, nil
}

// OnDemand returns the log of one process. It gets its memory and its place in the store
// with the first byte, since most short commands write nothing.
func (r *Registry) OnDemand(name string, o Options) *Log {
	if r.Get(name) != nil { // of an earlier process of that name
		if l, err := r.Open(name, o); err == nil {
			return l
		}
	}
	l := makeLog(name, o)
	r.own(l)
	return l
}

// own sets what the log needs of the registry.
func (r *Registry) own(l *Log) { l.registry, l.noSplice, l.warn = r, r.NoSplice, r.Warn }

// maxUnread bounds the retired logs that wait to be forwarded. If the container's output is
// not read, they would accumulate.
const maxUnread = 64

// open adds a log on demand to the registry. If too many logs wait to be forwarded, it is not
// forwarded.
func (r *Registry) open(l *Log) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.logs[l.name] == l {
		return nil
	}
	if r.unread() >= maxUnread {
		r.warnUnread.Do(func() {
			r.Warn("the container's output is not read: that of hooks is not forwarded until it is")
		})
		l.mu.Lock()
		l.opts.Format = FormatNone
		l.mu.Unlock()
	}
	return r.add(l)
}

// add makes the memory of a log, puts it into the store and begins to forward it. r.mu is held.
func (r *Registry) add(l *Log) error {
	err := r.Reserve(filesPerLog)
	if err == nil {
		err = l.allocate()
	}
	if err != nil {
		return r.Explain(fmt.Errorf("cannot keep the output of %q: %w", l.name, err))
	}
	if err = l.addPage(); err == nil {
		err = l.put(l.opts, l.data, l.sent, l.ix.fd)
	}
	if err != nil {
		r.delete(l.name)
		l.mu.Lock()
		l.free()
		l.mu.Unlock()
		return r.Explain(err)
	}
	l.allowReuse()
	r.logs[l.name] = l
	go r.forward(l) // ends with Flush or Retire, or with the process
	return nil
}

// addPage makes the page of a log.
func (l *Log) addPage() error {
	fd, page, err := newShared[pageContent]("log-page-" + l.name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	l.page = page
	return l.registry.Store.Put(pagePrefix+l.name, nil, fd)
}

// delete removes a log from the registry and the store. r.mu is held.
func (r *Registry) delete(name string) {
	delete(r.logs, name)
	r.Store.Delete(logPrefix + name)
	r.Store.Delete(pagePrefix + name)
}

// Adopt takes over the logs of the previous supervisor. Where that is impossible, it warns and
// makes an empty log with the same options: what writes to a log must be read.
func (r *Registry) Adopt(items fdstore.Items) {
	var replace []func()
	for _, item := range items.Names(logPrefix) {
		name := strings.TrimPrefix(item, logPrefix)
		blob, fds, _ := items.Take(item)
		var o Options
		if json.Unmarshal(blob, &o) != nil {
			o = Options{}
		}
		if err := r.adoptLog(name, o.withDefaults(), fds, items); err != nil {
			replace = append(replace, func() { r.replace(name, o, fds, err) })
		}
	}
	for _, item := range items.Names("log-") { // pages of a supervisor killed in add, and of an earlier version
		if f, _, err := items.TakeFile(item); err == nil {
			f.Close()
		}
		r.Store.Delete(item)
	}
	for _, l := range r.logs { // after claimSinks of all logs
		go r.forward(l) // ends with Flush or Retire, or with the process
		if l.file != nil {
			go l.file.run() // ends with Flush, or when it is retired
		}
	}
	for _, f := range replace {
		f()
	}
}

// replace makes an empty log where one cannot be taken over. What that had not forwarded is
// counted as lost.
func (r *Registry) replace(name string, o Options, fds []int, cause error) {
	var lost amount
	if len(fds) == 3 && o.Format != FormatNone {
		lost = unforwarded(fds[2])
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	r.Warn(fmt.Sprintf("cannot take over the output kept for %s: %v; it is lost, and at least %d bytes of it were not forwarded",
		name, cause, lost.bytes))
	l, err := r.Open(name, o)
	if err != nil {
		r.Warn(err.Error())
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ix.lost = l.ix.lost.plus(lost)
}

// adoptLog takes over one log. After an error the descriptors are still the caller's.
func (r *Registry) adoptLog(name string, o Options, fds []int, items fdstore.Items) error {
	if len(fds) != 3 {
		return fmt.Errorf("it has %d descriptors, want 3", len(fds))
	}
	l, err := openLog(name, o, fds[0], fds[1], fds[2])
	if err != nil {
		return err
	}
	r.own(l)
	l.allowReuse()
	r.logs[name] = l
	l.adoptPage(items)
	switch {
	case l.page == nil:
		err = l.addPage()
	case !o.Format.byLines(): // if the format was changed, the supervisor may have died before it took effect
		l.page.live = 0
	}
	if err != nil { // the output itself is not lost because of it
		r.Warn(fmt.Sprintf("cannot take over how the output of %s is forwarded; it is now as the service writes it: %v", name, err))
		l.opts.Format, l.opts.File = FormatRaw, nil
	} else if o.File != nil {
		l.file = newFileWriter(l)
		if l.page.magic == pageMagic {
			l.file.resume()
		} else {
			l.file.begin()
		}
	}
	l.skipUnforwarded()
	l.claimSinks()
	return nil
}

// adoptPage takes over the page of a log, if there is one and its layout is not that of an
// earlier version.
func (l *Log) adoptPage(items fdstore.Items) {
	f, _, err := items.TakeFile(pagePrefix + l.name)
	if err != nil {
		return
	}
	defer f.Close()
	page, err := mapShared[pageContent](int(f.Fd()))
	if err == nil && (page.magic == 0 || page.magic == pageMagic) {
		l.page = page
	}
}

// Names lists the logs.
func (r *Registry) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.logs))
}

// Get returns an existing log; nil: there is none of that name.
func (r *Registry) Get(name string) *Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logs[name]
}

// Retire removes a log, also from the store, after all of it is forwarded and written to its
// file, and no process writes to it any more. A reader then finds it empty. If Open asks
// for it before that, it is kept.
func (l *Log) Retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	notify(l.wake)
}

// unread counts the retired logs that are not removed yet. r.mu is held.
func (r *Registry) unread() (n int) {
	for _, l := range r.logs {
		l.mu.Lock()
		if l.retired {
			n++
		}
		l.mu.Unlock()
	}
	return n
}

// forward forwards a log to its end. A retired log is removed then.
func (r *Registry) forward(l *Log) {
	defer close(l.forwarded)
	for l.forward(); !r.remove(l); l.forward() {
	}
}

// remove removes a retired log that is forwarded; its file is written to its end first. It
// returns false if the log has to be forwarded further.
func (r *Registry) remove(l *Log) bool {
	r.mu.Lock()
	l.mu.Lock()
	file, o, unused, stopping := l.file, l.opts, l.retired && len(l.captures) == 0, l.stopping
	l.mu.Unlock()
	if stopping || !unused {
		r.mu.Unlock()
		return stopping
	}
	if file != nil {
		o.File = nil
		err := l.Configure(o)
		r.mu.Unlock()
		if err == nil {
			<-file.done
		}
		return err != nil // the store is closed
	}
	defer r.mu.Unlock() // from here on a log of this name is a new one
	r.delete(l.name)
	l.mu.Lock()
	l.release()
	l.mu.Unlock()
	return true
}

// Flush forwards what there is, as far as the reader takes it within the time, and then no
// more. It is for the end of the container.
func (r *Registry) Flush(within time.Duration) {
	deadline := time.After(within)
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.logs))
	r.mu.Unlock()
	var ends []<-chan struct{}
	for _, l := range all {
		l.mu.Lock()
		l.stopping = true
		l.room.Broadcast()
		l.notifyAll()
		ends = append(ends, l.forwarded)
		if l.file != nil {
			ends = append(ends, l.file.done)
		}
		l.mu.Unlock()
	}
	for _, end := range ends {
		select {
		case <-end:
		case <-deadline:
			return
		}
	}
}
