package proc

import (
	"cmp"
	"maps"
	"slices"
)

// title is what the log is called before its lines.
func (l *Log) title() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Or(l.opts.Title, l.name)
}

// LogNames lists the logs that are kept.
func (m *Manager) LogNames() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.logs))
}

// KeptLog gives a log that is there; nil: there is none of that name.
func (m *Manager) KeptLog(name string) *Log {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logs[name]
}

// Retire gives a log up: what it holds is passed on and written to its file, and when
// no process writes to it any more it is gone, also from the bag. A reader then
// finds it empty. One that Log is asked for before that is kept.
func (m *Manager) Retire(l *Log) {
	l.mu.Lock()
	l.retired = true
	poke(l.poke)
	l.mu.Unlock()
}

// passOn passes a log on to its end. One that was retired is forgotten then.
func (m *Manager) passOn(l *Log) {
	defer close(l.passed)
	for l.passOn(); !m.forget(l); l.passOn() {
	}
}

// forget takes a log that is passed on out of the bag, if it is retired; a file is
// written to its end first. False: it is not over.
func (m *Manager) forget(l *Log) (over bool) {
	m.mu.Lock()
	l.mu.Lock()
	file, o, gone, quit := l.file, l.opts, l.retired && len(l.pipes) == 0, l.quit
	l.mu.Unlock()
	if quit || !gone {
		m.mu.Unlock()
		return quit
	}
	if file != nil {
		o.File = nil
		err := l.Configure(o)
		m.mu.Unlock()
		if err == nil {
			<-file.done
		}
		return err != nil // the init is gone
	}
	defer m.mu.Unlock() // from here on a log of this name is a new one
	delete(m.logs, l.name)
	m.Del(logPrefix + l.name)
	m.Del(outputPrefix + l.name)
	l.mu.Lock()
	l.release()
	l.mu.Unlock()
	return true
}
