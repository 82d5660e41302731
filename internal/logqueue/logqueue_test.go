package logqueue

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// gate is a reader of our log that reads nothing until it is opened.
type gate struct {
	bytes.Buffer
	entered chan struct{}
	open    chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	select {
	case g.entered <- struct{}{}:
	default:
	}
	<-g.open
	return g.Buffer.Write(p)
}

func TestQueueDoesNotBlock(t *testing.T) {
	g := &gate{entered: make(chan struct{}, 1), open: make(chan struct{})}
	q := New(g, 100)
	fmt.Fprintln(q, "first")
	<-g.entered // it is being written: the queue itself is empty
	size := cap(q.entries)
	for k := range size + 10 {
		fmt.Fprintf(q, "line %d\n", k)
	}
	from := time.Now()
	q.Flush(10 * time.Millisecond)
	if took := time.Since(from); took > 5*time.Second {
		t.Errorf("a flush of 10 ms took %v", took)
	}
	close(g.open)
	q.Flush(10 * time.Second)
	text := g.String()
	if !strings.HasPrefix(text, "first\nline 10\n") {
		t.Errorf("the oldest lines are still there: %.60q", text)
	}
	if want := fmt.Sprintf("(lines of stoker's own log were dropped before this one: stderr is not read) line %d\n",
		size+9); !strings.HasSuffix(text, want) {
		t.Errorf("it ends with %q, want %q", text[max(0, len(text)-len(want)):], want)
	}
	if n := strings.Count(text, "\n"); n != size+1 {
		t.Errorf("%d lines are left, want %d", n, size+1)
	}
}

func TestQueueKeepsOrder(t *testing.T) {
	var b bytes.Buffer
	q := New(&b, 200)
	for k := range 100 {
		fmt.Fprintf(q, "line %d\n", k)
	}
	q.Flush(10 * time.Second)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 100 || lines[99] != "line 99" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}
