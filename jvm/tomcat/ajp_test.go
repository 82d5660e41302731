package tomcat

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestPingAJP(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		closes       bool
		want         string
	}{
		{"serves", "AB\x00\x01\x09", false, ""},
		{"another protocol", "HTTP/1.1 400\r\n", true, "does not speak AJP"},
		{"too little", "AB", true, "no answer"},
		{"nothing", "", false, "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() { // ends with the listener and the client
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				ping := make([]byte, 5)
				if _, err := io.ReadFull(conn, ping); err != nil || string(ping) != "\x12\x34\x00\x01\x0a" {
					return
				}
				_, _ = io.WriteString(conn, c.answer)
				if !c.closes {
					_, _ = io.Copy(io.Discard, conn)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if c.want == "" || c.closes {
				ctx = t.Context()
			}
			defer cancel()
			err = PingAJP(ctx, l.Addr().String())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := PingAJP(t.Context(), l.Addr().String()); err == nil {
		t.Error("a closed port answers")
	}
}
