//go:build container

package tests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

// keepAlive is a bounded load: each client sends a request a pause after the last answer, on one kept-alive connection. A request without an
// answer is sent again on a new connection.
type keepAlive struct {
	dial func() (net.Conn, error)
	path string
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	seen     keepAliveCounts
	failures []failure
}

// keepAliveCounts is what the clients have seen.
type keepAliveCounts struct {
	answered int
	wrong    int // answers that are not 200
	closing  int // answers after which the server closes the connection
	refused  int // connections
	reset    int // kept-alive connections that were closed before the answer; a client sends the request again
	dropped  int // new connections that were closed before the answer
	lost     int // requests that were in a process when it was killed
	slowest  time.Duration
}

func (c keepAliveCounts) String() string {
	return fmt.Sprintf("answered %d (%d close), wrong %d, refused %d, reset %d, dropped %d, lost in a kill %d, slowest %v",
		c.answered, c.closing, c.wrong, c.refused, c.reset, c.dropped, c.lost, c.slowest.Round(time.Millisecond))
}

// failure is a request that was sent and not answered.
type failure struct {
	sent  time.Time
	fresh bool // the first of its connection
}

// clientPause bounds the load.
const clientPause = 5 * time.Millisecond

// newKeepAlive starts n clients, which end with the test or with close.
func newKeepAlive(t testing.TB, n int, path string, dial func() (net.Conn, error)) *keepAlive {
	c := &keepAlive{dial: dial, path: path, stop: make(chan struct{})}
	for range n {
		c.done.Go(c.run) // ends with stop
	}
	t.Cleanup(c.close)
	return c
}

func (c *keepAlive) close() {
	c.mu.Lock()
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.mu.Unlock()
	c.done.Wait()
}

// awaitAnswers waits until so many requests have been answered from now on.
func (c *keepAlive) awaitAnswers(t testing.TB, n int) {
	t.Helper()
	from := c.answered()
	await(t, time.Minute, "the answer to the clients", func() bool { return c.answered() >= from+n })
}

func (c *keepAlive) answered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen.answered
}

// counts returns the counts since the last call. What was sent before a kill and not answered was lost in it.
func (c *keepAlive) counts(killed time.Time) keepAliveCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.failures {
		switch {
		case f.sent.Before(killed):
			c.seen.lost++
		case f.fresh:
			c.seen.dropped++
		default:
			c.seen.reset++
		}
	}
	out := c.seen
	c.seen, c.failures = keepAliveCounts{}, nil
	return out
}

func (c *keepAlive) run() {
	pause := time.NewTicker(clientPause)
	defer pause.Stop()
	var conn net.Conn
	var answers *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	var wanted time.Time // since when the client waits for the answer
	for {
		select {
		case <-c.stop:
			return
		case <-pause.C:
		}
		if wanted.IsZero() {
			wanted = time.Now()
		}
		fresh := conn == nil
		if fresh {
			var err error
			if conn, err = c.dial(); err != nil {
				c.note(func(n *keepAliveCounts) { n.refused++ })
				conn = nil
				continue
			}
			answers = bufio.NewReader(conn)
		}
		sent := time.Now()
		status, closes, err := c.ask(conn, answers)
		switch {
		case err != nil:
			c.mu.Lock()
			c.failures = append(c.failures, failure{sent, fresh})
			c.mu.Unlock()
		default:
			took := time.Since(wanted)
			wanted = time.Time{}
			c.note(func(n *keepAliveCounts) {
				n.answered++
				n.slowest = max(n.slowest, took)
				if status != http.StatusOK {
					n.wrong++
				}
				if closes {
					n.closing++
				}
			})
		}
		if err != nil || closes {
			conn.Close()
			conn = nil
		}
	}
}

func (c *keepAlive) note(f func(*keepAliveCounts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.seen)
}

// ask sends one request and reads its answer. closes: the server has announced that it closes the connection.
func (c *keepAlive) ask(conn net.Conn, answers *bufio.Reader) (status int, closes bool, err error) {
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", c.path); err != nil {
		return 0, false, err
	}
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		return 0, false, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, answer.Close, err
}

// refuses reports whether a new connection is refused, as where nothing listens.
func refuses(dial func() (net.Conn, error)) bool {
	conn, err := dial()
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
