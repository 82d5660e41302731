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
	// Lost counts requests on a new connection without an answer, and answers that were cut off.
	Lost    int
	Late    int           // requests without an answer within the client's time
	Closes  int           // answers with Connection: close
	Slowest time.Duration // of the answered requests, from before the connection
	First   error         // the first error of all
}

// String is a line for a test's log.
func (c Counts) String() string {
	return fmt.Sprintf("%d answered (%d said close), %d other statuses, %d refused, %d reset, %d lost, %d late, slowest %v, first error: %v",
		c.Answered, c.Closes, c.Other, c.Refused, c.Reset, c.Lost, c.Late, c.Slowest.Round(time.Millisecond), c.First)
}

// Options are the load.
type Options struct {
	Network, Address string // as for net.Dial
	Path             string // of the requests; empty: /
	Clients          int
	Pause            time.Duration // of each client between two requests
	Within           time.Duration // the longest time for a request
	Requests         int           // of each client, refused connections included; 0: until Stop
}

// Load is a load that runs.
type Load struct {
	o       Options
	cancel  context.CancelFunc
	clients sync.WaitGroup
	mu      sync.Mutex // guards counts
	counts  Counts
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
			if conn, err = net.DialTimeout(l.o.Network, l.o.Address, l.o.Within); err != nil {
				l.count(err, func(c *Counts) {
					if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) {
						c.Refused++
					} else {
						c.Late++
					}
				})
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
		l.count(err, func(c *Counts) {
			var timeout net.Error
			switch {
			case errors.As(err, &timeout) && timeout.Timeout():
				c.Late++
			case kept:
				c.Reset++
			default:
				c.Lost++
			}
		})
		return true, err
	}
	response, err := http.ReadResponse(answers, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	if err != nil {
		l.count(err, func(c *Counts) { c.Lost++ })
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
