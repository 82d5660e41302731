//go:build container

package tests

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// load is a number of HTTP clients that send requests until stopped.
type load struct {
	answered, failed atomic.Int64
	exhausted        atomic.Int64           // answers of fill.jsp that the region is full
	first            atomic.Pointer[string] // the first failure
	end              chan struct{}
	clients          sync.WaitGroup
}

func newLoad(url string, clients int) *load {
	l := &load{end: make(chan struct{})}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	for range clients {
		l.clients.Go(func() { // ends with stop
			for {
				select {
				case <-l.end:
					return
				default:
					l.ask(client, url)
				}
			}
		})
	}
	return l
}

func (l *load) ask(client *http.Client, url string) {
	resp, err := client.Get(url)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if bytes.HasPrefix(body, []byte("out of ")) {
			l.exhausted.Add(1)
		}
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("answered %s", resp.Status)
		}
	}
	if err == nil {
		l.answered.Add(1)
		return
	}
	l.failed.Add(1)
	text := err.Error()
	l.first.CompareAndSwap(nil, &text)
	// Without a pause, retries would take the CPU from the server that restarts.
	select {
	case <-l.end:
	case <-time.After(20 * time.Millisecond):
	}
}

// stop ends the clients and returns their counts.
func (l *load) stop() (answered, failed int64, first string) {
	close(l.end)
	l.clients.Wait()
	if p := l.first.Load(); p != nil {
		first = *p
	}
	return l.answered.Load(), l.failed.Load(), first
}
