//go:build container

package tests

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/httpload"
)

// newKeepAlive starts n clients of the demo application with kept-alive connections, which end with the test or with Stop.
func newKeepAlive(t testing.TB, n int, dial func() (net.Conn, error)) *httpload.Load {
	l := httpload.Start(httpload.Options{Dial: dial, Path: "/app/health", Clients: n, Pause: 5 * time.Millisecond, Within: time.Minute})
	t.Cleanup(func() { l.Stop() })
	return l
}

// awaitAnswers waits until so many requests have been answered from now on.
func awaitAnswers(t testing.TB, l *httpload.Load, n int) {
	t.Helper()
	from := l.Counts().Answered
	await(t, time.Minute, "the answer to the clients", func() bool { return l.Counts().Answered >= from+n })
}

// refuses reports whether a new connection is refused, as where nothing listens.
func refuses(dial func() (net.Conn, error)) bool {
	conn, err := dial()
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
