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
	Explain  func(error) error // adds what the operator can do about it
	NoSplice bool              // splice(2) is not used
}

// Registry holds the logs of one container by name.
type Registry struct {
	Config
	mu         sync.Mutex // guards logs
	logs       map[string]*Log
	warnUnread sync.Once
	buffers    sync.Pool // of *[]byte
}

// NewRegistry makes an empty one.
func NewRegistry(c Config) *Registry {
	if c.Sinks == nil {
		c.Sinks = StdSinks()
	}
	return &Registry{Config: c, logs: map[string]*Log{}}
}

// filesPerLog is how many descriptors a log takes.
const filesPerLog = 4

// Open returns the log of a service and makes it when there is none. An existing one
// is reconfigured where the options differ.
func (r *Registry) Open(name string, o Options) (*Log, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.logs[name]; l != nil {
		l.mu.Lock()
		l.retired = false
		l.mu.Unlock()
		return l, l.Configure(o)
	}
	err := r.Reserve(filesPerLog)
	var l *Log
	if err == nil {
		l, err = newLog(name, Options{})
	}
	if err != nil {
		return nil, r.Explain(fmt.Errorf("cannot keep the output of %q: %w", name, err))
	}
	r.own(l)
	if err = l.put(l.opts, l.data, l.sent, l.ix.fd); err == nil {
		err = l.Configure(o)
	}
	if err != nil {
		r.Store.Delete(logPrefix + name)
		r.Store.Delete(linePrefix + name)
		l.release()
		return nil, r.Explain(err)
	}
	r.logs[name] = l
	go r.forward(l) // ends with Flush or Retire, or with the process
	return l, nil
}

// own sets what the log needs of the registry.
func (r *Registry) own(l *Log) {
	l.sinks, l.noSplice, l.pool, l.store, l.warn = r.Sinks, r.NoSplice, &r.buffers, r.Store, r.Warn
}

// Adopt takes over the logs of an earlier supervisor out of what it kept.
func (r *Registry) Adopt(items fdstore.Items) {
	for _, item := range items.Names(logPrefix) {
		r.adoptLog(strings.TrimPrefix(item, logPrefix), items)
	}
	for _, item := range slices.Concat(items.Names(linePrefix), items.Names(filePrefix)) { // of a kill between two steps of Configure
		takePage(items, item)
		r.Store.Delete(item)
	}
	for _, l := range r.logs { // only now it is known whose line is unfinished on a sink
		go r.forward(l) // ends with Flush or Retire, or with the process
		if l.file != nil {
			go l.file.run() // ends with Flush, or when it is retired
		}
	}
}

// adoptLog takes over one log. It warns where it cannot.
func (r *Registry) adoptLog(name string, items fdstore.Items) {
	blob, fds, _ := items.Take(logPrefix + name)
	var o Options
	if json.Unmarshal(blob, &o) != nil || len(fds) != 3 {
		return
	}
	o = o.withDefaults()
	if o.check() != nil { // of a newer supervisor
		o.Format = FormatRaw
	}
	l, err := openLog(name, o, fds[0], fds[1], fds[2])
	if err != nil {
		r.Warn(fmt.Sprintf("cannot take over the output kept for %s: %v", name, err))
		return
	}
	r.own(l)
	if l.page = takePage(items, linePrefix+name); l.page != nil && !o.Format.byLines() {
		l.page.live = 0
	}
	if o.File != nil {
		if page := takePage(items, filePrefix+name); page != nil {
			l.file = newFileWriter(l, page)
		}
	}
	known := l.file != nil
	if l.page, l.file, err = l.writers(o); err != nil { // the output itself is not lost because of it
		r.Warn(fmt.Sprintf("cannot take over how the output of %s is forwarded; it is now as the service writes it: %v", name, err))
		l.opts.Format, l.opts.File, l.file = FormatRaw, nil, nil
	}
	if f := l.file; f != nil {
		f.options = *o.File
		if known {
			f.resume()
		} else {
			f.begin()
		}
	}
	l.skipUnwanted()
	l.claimSinks()
	r.logs[name] = l
}

// takePage takes over a page; nil: there is none, or it is of a supervisor with another
// layout, which a new one replaces.
func takePage(items fdstore.Items, name string) *sharedPage {
	_, fds, _ := items.Take(name)
	if len(fds) == 1 {
		if page, err := openSharedPage(fds[0]); err == nil {
			return page
		}
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	return nil
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

// Retire ends a log: what it holds is forwarded and written to its file, and when
// no process writes to it any more it is removed, also from the store. A reader then
// finds it empty. If Open asks for it before that, it is kept.
func (r *Registry) Retire(l *Log) {
	l.mu.Lock()
	l.retired = true
	notify(l.wake)
	l.mu.Unlock()
}

// unread counts the retired logs that are not removed yet.
func (r *Registry) unread() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.logs {
		l.mu.Lock()
		if l.retired {
			n++
		}
		l.mu.Unlock()
	}
	return n
}

// forward forwards a log to its end. One that was retired is removed then.
func (r *Registry) forward(l *Log) {
	defer close(l.forwarded)
	for l.forward(); !r.remove(l); l.forward() {
	}
}

// remove takes a log that is forwarded out of the store, if it is retired; a file is
// written to its end first. False: it is not over.
func (r *Registry) remove(l *Log) (over bool) {
	r.mu.Lock()
	l.mu.Lock()
	file, o, gone, quit := l.file, l.opts, l.retired && len(l.pipes) == 0, l.quit
	l.mu.Unlock()
	if quit || !gone {
		r.mu.Unlock()
		return quit
	}
	if file != nil {
		o.File = nil
		err := l.Configure(o)
		r.mu.Unlock()
		if err == nil {
			<-file.done
		}
		return err != nil // the store is gone
	}
	defer r.mu.Unlock() // from here on a log of this name is a new one
	delete(r.logs, l.name)
	r.Store.Delete(logPrefix + l.name)
	r.Store.Delete(linePrefix + l.name)
	l.mu.Lock()
	l.release()
	l.mu.Unlock()
	return true
}

// Flush forwards what there is, as far as the reader takes it within the
// deadline, and then no more. It is for the end of the container.
func (r *Registry) Flush(within time.Duration) {
	deadline := time.After(within)
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.logs))
	r.mu.Unlock()
	for _, l := range all {
		l.mu.Lock()
		l.quit = true
		l.makeRoom()
		l.notifyAll()
		l.mu.Unlock()
	}
	for _, l := range all {
		l.mu.Lock()
		ends := []<-chan struct{}{l.forwarded}
		if l.file != nil {
			ends = append(ends, l.file.done)
		}
		l.mu.Unlock()
		for _, end := range ends {
			select {
			case <-end:
			case <-deadline:
				return
			}
		}
	}
}
