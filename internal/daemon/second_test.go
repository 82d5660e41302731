package daemon

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestRejectSecond: another stoker is in the way unless it runs no services here, or ends while it is asked.
func TestRejectSecond(t *testing.T) {
	drop := func(l net.Listener, connections int) { // ends with the listener
		for range connections {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
		l.Close()
	}
	answer := func(status int, text string) func(net.Listener) {
		return func(l net.Listener) { // ends with the listener
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				fmt.Fprint(w, text)
			}))
		}
	}
	for name, tc := range map[string]struct {
		serve func(net.Listener)
		want  string // empty: it is not in the way
	}{
		"ends":      {serve: func(l net.Listener) { drop(l, 5) }},
		"broken":    {serve: func(l net.Listener) { drop(l, 1<<30) }, want: "runs here already and answers at"},
		"refuses":   {serve: answer(403, `{"error":{"code":"forbidden","message":"no"}}`), want: "runs here already and answers at"},
		"a command": {serve: answer(200, `{"init":{"pid":1073741824}}`)},
		"no socket": {serve: func(l net.Listener) { l.Close() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(t.TempDir(), "api.sock")
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			go tc.serve(l) // ends with the listener
			err = new(daemon).rejectSecond(socket, 2)
			if err == nil != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}
