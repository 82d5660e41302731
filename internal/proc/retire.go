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

// Retire gives a log up that has no file: what it holds is passed on, and when no
// process writes to it any more it is gone, also from the bag. Nothing may read it
// from here on.
func (m *Manager) Retire(l *Log) {
	l.mu.Lock()
	l.retired = true
	poke(l.poke)
	l.mu.Unlock()
}

// passOn passes a log on to its end. One that was retired is forgotten then.
func (m *Manager) passOn(l *Log) {
	l.passOn()
	l.mu.Lock()
	gone := l.retired && !l.quit && len(l.pipes) == 0
	l.mu.Unlock()
	if !gone {
		return
	}
	m.mu.Lock()
	delete(m.logs, l.name)
	m.mu.Unlock()
	m.Del(logPrefix + l.name)
	m.Del(outputPrefix + l.name)
	l.mu.Lock()
	l.release()
	l.mu.Unlock()
}
