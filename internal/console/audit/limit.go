package audit

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/console"
)

// The lines of one client in a minute are limited, so that it cannot push earlier ones out of the files.
const (
	limitTime = time.Minute
	mostBytes = 2 << 20 // beyond that its sessions are refused, and what else it does is counted
	mostLines = 10      // of one kind, other than start and end; the rest is counted
	mostText  = 256     // bytes of an argument list or a field in lines other than start
)

// kind is what lines are counted by.
type kind struct{ event, session, mode string }

// client is what one client has done in a minute.
type client struct {
	bytes int
	seen  map[kind]int
	left  map[kind]int // of those: without a line
}

// limits has the clients of this minute.
type limits struct {
	mu      sync.Mutex // guards the rest; no other is taken while it is held
	clients map[string]*client
}

// find returns the counts of a client; the limits' mu is held.
func (l *Log) find(by string) *client {
	t := &l.limits
	c := t.clients[by]
	if c == nil {
		c = &client{seen: map[kind]int{}, left: map[kind]int{}}
		if t.clients == nil {
			t.clients = map[string]*client{}
		}
		t.clients[by] = c
		time.AfterFunc(limitTime, func() { l.count(by, c) })
	}
	return c
}

// mayStart refuses a session whose line is too much.
func (l *Log) mayStart(line Line, size int) error {
	l.limits.mu.Lock()
	defer l.limits.mu.Unlock()
	c := l.find(line.By)
	if c.bytes+size > mostBytes {
		return &console.LimitError{Limit: "audit lines", Why: fmt.Sprintf("%s has more than %d MiB of them within %v; try again later",
			line.By, mostBytes>>20, limitTime)}
	}
	c.bytes += size
	return nil
}

// mayWrite reports whether a line is written; otherwise it is counted.
func (l *Log) mayWrite(line Line, size int) bool {
	l.limits.mu.Lock()
	defer l.limits.mu.Unlock()
	c := l.find(line.By)
	k := kind{line.Event, line.Session, line.Mode}
	if c.seen[k]++; c.seen[k] > mostLines || c.bytes+size > mostBytes {
		c.left[k]++
		return false
	}
	c.bytes += size
	return true
}

// count ends the minute of a client, and writes what has no line.
func (l *Log) count(by string, c *client) {
	l.limits.mu.Lock()
	known := l.limits.clients[by] == c
	if known {
		delete(l.limits.clients, by)
	}
	l.limits.mu.Unlock()
	if !known {
		return
	}
	for k, n := range c.left {
		l.report(Line{Time: time.Now().UTC(), Event: k.event, Session: k.session, By: by, Mode: k.mode, Argv: []string{}, Count: n,
			Reason: fmt.Sprintf("%d more within %v", n, limitTime)})
	}
}

// Flush writes the counts of lines that were left out so far.
func (l *Log) Flush() {
	l.limits.mu.Lock()
	all := maps.Clone(l.limits.clients)
	l.limits.mu.Unlock()
	for _, by := range slices.Sorted(maps.Keys(all)) {
		l.count(by, all[by])
	}
}

// short returns a line with the beginning of what a client has chosen. The start of a session has all of it.
func (line Line) short() Line {
	if line.Event == Start {
		return line
	}
	for _, text := range []*string{&line.Context, &line.User, &line.Dir, &line.Reason, &line.AuditID} {
		if n := len(*text) - mostText; n > 0 {
			*text, line.LeftOut = (*text)[:mostText], line.LeftOut+n
		}
	}
	for _, list := range []*[]string{&line.Argv, &line.Env} {
		line.LeftOut += shorten(list)
	}
	return line
}

// shorten leaves the first bytes of a list, and returns how many are left out. An item counts as one more than it has.
func shorten(list *[]string) (leftOut int) {
	var out []string
	room := mostText
	for _, text := range *list {
		n := min(len(text), max(room-1, 0))
		if leftOut += len(text) - n; room > 0 {
			out = append(out, text[:n])
		} else {
			leftOut++
		}
		room -= n + 1
	}
	if len(*list) > 0 {
		*list = out
	}
	return leftOut
}
