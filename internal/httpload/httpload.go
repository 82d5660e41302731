// Package httpload is a bounded load of HTTP clients for tests and benchmarks: it counts what a client sees of a restart. Unlike
// net/http's client it never repeats a request.
package httpload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Counts is what the clients have seen.
type Counts struct {
	Answered int // requests with a whole answer of status 200
	Other    int // with a whole answer of another status
	Refused  int // connections that were refused
	// Reset counts requests on a kept connection without a byte of an answer: the server had closed it, or closed it meanwhile.
	Reset int
	// Lost counts requests on a new connection without an answer, connections that were closed before they were established, and answers
	// that were cut off.
	Lost int
	// Killed counts, of the requests that would be Reset or Lost, those that were sent before the server was killed (Load.Killing).
	Killed  int
	Late    int           // requests without an answer within the client's time
	Closes  int           // answers with Connection: close
	Slowest time.Duration // of the answered requests, from before the connection
	First   error         // the first error of all
}

// String is a line for a test's log.
func (c Counts) String() string {
	return fmt.Sprintf("%d answered (%d said close), %d other statuses, %d refused, %d reset, %d lost, %d lost in a kill, %d late, "+
		"slowest %v, first error: %v", c.Answered, c.Closes, c.Other, c.Refused, c.Reset, c.Lost, c.Killed, c.Late,
		c.Slowest.Round(time.Millisecond), c.First)
}

// Options are the load.
type Options struct {
	Network, Address string // as for net.Dial
	// Dial connects in place of Network and Address; nil: it is not used. It must return within about Within.
	Dial     func() (net.Conn, error)
	Path     string // of the requests; empty: /
	Clients  int
	Pause    time.Duration // of each client between two requests
	Within   time.Duration // the longest time for a request
	Requests int           // of each client, refused connections included; 0: until Stop
}

// Load is a load that runs.
type Load struct {
	o       Options
	cancel  context.CancelFunc
	clients sync.WaitGroup
	mu      sync.Mutex // guards the fields below
	counts  Counts
	killed  time.Time // the last Killing
}

// Start starts the clients. They run until Stop.
func Start(o Options) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{o: o, cancel: cancel}
	for range o.Clients {
		l.clients.Go(func() { l.client(ctx) }) // ends with Stop
	}
	return l
}

// Counts returns what the clients have seen until now.
func (l *Load) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Take returns what the clients have seen since the last Take, and counts from zero.
func (l *Load) Take() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.counts
	l.counts = Counts{}
	return out
}

// Killing says that the server is killed next: what was sent before and fails afterwards counts as Killed.
func (l *Load) Killing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.killed = time.Now()
}

// Stop ends the clients after their current requests.
func (l *Load) Stop() Counts {
	l.cancel()
	return l.Wait()
}

// Wait waits until each client has sent Options.Requests.
func (l *Load) Wait() Counts {
	l.clients.Wait()
	l.cancel()
	return l.Counts()
}

func (l *Load) count(err error, add func(c *Counts)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(&l.counts)
	if l.counts.First == nil {
		l.counts.First = err
	}
}

// client sends requests one after another, over one connection as long as the server keeps it.
func (l *Load) client(ctx context.Context) {
	var conn net.Conn
	var answers *bufio.Reader
	for sent := 0; ctx.Err() == nil && (l.o.Requests == 0 || sent < l.o.Requests); sent++ {
		began, kept := time.Now(), conn != nil
		if !kept {
			var err error
			if conn, err = l.dial(); err != nil {
				conn = nil
				if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
					l.count(err, func(c *Counts) { c.Refused++ })
				} else {
					l.fail(err, began, false)
				}
				pause(ctx, max(l.o.Pause, time.Millisecond))
				continue
			}
			answers = bufio.NewReader(conn)
		}
		closes, err := l.request(conn, answers, began, kept)
		if closes || err != nil {
			conn.Close()
			conn = nil
		}
		pause(ctx, l.o.Pause)
	}
	if conn != nil {
		conn.Close()
	}
}

func (l *Load) dial() (net.Conn, error) {
	if l.o.Dial != nil {
		return l.o.Dial()
	}
	return net.DialTimeout(l.o.Network, l.o.Address, l.o.Within)
}

// fail counts a request without a whole answer. kept: without a byte of it, on a kept connection.
func (l *Load) fail(err error, began time.Time, kept bool) {
	var timeout net.Error
	l.count(err, func(c *Counts) {
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			c.Late++
		case began.Before(l.killed):
			c.Killed++
		case kept:
			c.Reset++
		default:
			c.Lost++
		}
	})
}

// request sends one request and reads its answer.
func (l *Load) request(conn net.Conn, answers *bufio.Reader, began time.Time, kept bool) (closes bool, err error) {
	path := l.o.Path
	if path == "" {
		path = "/"
	}
	if err = conn.SetDeadline(began.Add(l.o.Within)); err == nil {
		_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
	}
	if err == nil {
		_, err = answers.Peek(1)
	}
	if err != nil {
		l.fail(err, began, kept)
		return true, err
	}
	response, err := http.ReadResponse(answers, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if err != nil {
		l.fail(err, began, false)
		return true, err
	}
	l.count(nil, func(c *Counts) {
		if response.StatusCode == http.StatusOK {
			c.Answered++
			c.Slowest = max(c.Slowest, time.Since(began))
		} else {
			c.Other++
		}
		if response.Close {
			c.Closes++
		}
	})
	return response.Close, nil
}

// pause waits, or until ctx is over.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
