//go:build container

package tests

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The API's socket is removed in several ways. Each time it is created again, and existing
// connections go on.
func TestSocketComesBack(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{config: `
services:
  ticks: {command: [sh, -c, 'while :; do echo tick; sleep 0.1; done']}
`})
	b.awaitState("ticks", "RUNNING", 10*time.Second)
	pass(3 * time.Second) // the watch begins two seconds after the start
	back := func(how string) {
		t.Helper()
		await(t, 10*time.Second, "the socket, "+how, func() bool { _, ok := b.status(); return ok })
	}
	remove := func() {
		t.Helper()
		if err := os.Remove(b.socket); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	back("removed")
	remove()
	b.signal(syscall.SIGHUP)
	back("removed before a HUP")
	const same = "the configuration has not changed"
	await(t, 10*time.Second, "the HUP", func() bool { return b.stderr.count(same) == 1 }) // it comes after the socket
	remove()
	supervisor := b.supervisor()
	if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	back("removed before the supervisor's end")

	follower, err := net.Dial("unix", b.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	if _, err := follower.Write([]byte("GET /v1/services/ticks/logs?follow HTTP/1.1\r\nHost: stoker\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	pass(3 * time.Second)
	// At once, or the socket would be created between a removal and what is put there.
	replace := func(by string) {
		t.Helper()
		if err := os.Rename(by, b.socket); err != nil {
			t.Fatal(err)
		}
	}
	write(t, b.socket+".new", "precious", 0o644)
	replace(b.socket + ".new")
	const said = "it is there, and no socket"
	await(t, 10*time.Second, "what is there is said", func() bool { return strings.Contains(b.stderr.String(), said) })
	b.signal(syscall.SIGHUP)
	await(t, 10*time.Second, "the HUP", func() bool { return b.stderr.count(same) == 2 })
	if n := strings.Count(b.stderr.String(), said); n != 1 {
		t.Errorf("what is in the socket's place is said %d times", n)
	}
	if data, err := os.ReadFile(b.socket); err != nil || string(data) != "precious" {
		t.Errorf("what was in the socket's place is %q now, %v", data, err)
	}
	remove()
	back("replaced by a file")
	other, err := net.Listen("unix", b.socket+".new")
	if err != nil {
		t.Fatal(err)
	}
	other.(*net.UnixListener).SetUnlinkOnClose(false)
	replace(b.socket + ".new")
	await(t, 10*time.Second, "another that listens is said", func() bool {
		return strings.Contains(b.stderr.String(),
			"another stoker answers there")
	})
	other.Close()
	back("when another one there has ended")
	if err := follower.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for lines := bufio.NewScanner(follower); ; {
		if !lines.Scan() {
			t.Fatalf("one that follows is cut off: %v", lines.Err())
		}
		var line struct{ Time time.Time }
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &line) == nil && line.Time.After(now) {
			return
		}
	}
}
