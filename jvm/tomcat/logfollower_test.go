package tomcat

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestLogFollower(t *testing.T) {
	base := t.TempDir()
	if err := os.Mkdir(base+"/logs", 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, flags int) {
		t.Helper()
		f, err := os.OpenFile(base+"/logs/"+name, os.O_WRONLY|os.O_CREATE|flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	const monday, tuesday = "localhost.2026-01-05.log", "localhost.2026-01-06.log"
	write(monday, "old\n", os.O_APPEND)
	l := newLogFollower(base)
	look := func(want ...string) {
		t.Helper()
		var got []string
		l.poll(func(line []byte) { got = append(got, strings.TrimSuffix(string(line), "\n")) })
		if !slices.Equal(got, want) {
			t.Errorf("%.200q, want %.200q", got, want)
		}
	}
	look()
	write(monday, "one\ntw", os.O_APPEND)
	write("localhost_access_log.2026-01-05.txt", "GET /\n", os.O_APPEND)
	write("catalina.2026-01-05.log", "INFO\n", os.O_APPEND)
	look("one")
	look()
	write(monday, "o\nthree\n", os.O_APPEND)
	write(tuesday, "four\n", os.O_APPEND) // midnight
	look("two", "three", "four")
	write(tuesday, "5\n", os.O_TRUNC)
	look("5")
	if err := os.Remove(base + "/logs/" + monday); err != nil {
		t.Fatal(err)
	}
	look()
	write(monday, "again\n", os.O_APPEND)
	look("again")
	write(tuesday, strings.Repeat("x", maxLogLine+1)+"\n", os.O_APPEND)
	look(strings.Repeat("x", maxLogLine), "x")
	write(tuesday, strings.Repeat("y", maxFollowed)+"\nlast\n", os.O_APPEND)
	var total int
	l.poll(func(line []byte) { total += len(line) })
	if total != maxFollowed {
		t.Errorf("%d bytes were read", total)
	}
	if err := syscall.Mkfifo(base+"/logs/localhost.pipe.log", 0o600); err != nil {
		t.Fatal(err)
	}
	look()
}
