//go:build container

package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// requestTCP sends one request over a connection of its own, and returns the status and the body; 0: there was no answer.
func requestTCP(address, method, path, token, body string) (int, string) {
	req, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if token == "" {
		req.Header.Del("Authorization")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 15 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(data)
}

// accessBox starts a box that serves the API at an address. listen reloads it with another one.
func accessBox(t *testing.T, address string) (b *box, token string, listen func(address string)) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "tokens")
	out, err := exec.Command(stoker(t), "console", "token", "ops", "--grants", "view", "--file", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	config := func(address string) string {
		return fmt.Sprintf("services: {idle: {command: [sleep, '1000']}}\nreload: {watch: false}\napi: {listen: '%s', tokens: %s}\n", address, file)
	}
	b = newBox(t, boxOptions{dir: dir, config: config(address)})
	b.awaitState("idle", "RUNNING", 10*time.Second)
	return b, strings.Fields(string(out))[1], func(address string) {
		t.Helper()
		write(t, filepath.Join(dir, "stoker.yaml"), config(address), 0o644)
		if out, err := b.run("reload"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// The same port is served at once when a reload has it under another address (or with TLS): the listener of before, of which the init has
// a copy, does not hold it up.
func TestAccessAtTheSamePort(t *testing.T) {
	t.Parallel()
	port := freeport.For(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	_, token, listen := accessBox(t, address)
	for k := range 10 {
		listen([]string{fmt.Sprintf("localhost:%d", port), address}[k%2])
		if got, body := requestTCP(address, "GET", "/v1/services", token, ""); got != 200 {
			t.Fatalf("after %d reloads: %d %s", k+1, got, body)
		}
	}
}

// An address that another process has: the status says so, until it is free and served.
func TestAccessAtATakenPort(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, token, listen := accessBox(t, fmt.Sprintf("127.0.0.1:%d", freeport.For(t)))
	address := l.Addr().String()
	listen(address)
	said := "API over TCP: it is not served on " + address
	if out, err := b.run("status"); err != nil || !strings.Contains(out, said) || !strings.Contains(out, "address already in use") {
		t.Errorf("the status is %v\n%s", err, out)
	}
	l.Close()
	await(t, 15*time.Second, "the API at "+address, func() bool {
		got, _ := requestTCP(address, "GET", "/v1/services", token, "")
		return got == 200
	})
	if out, err := b.run("status"); err != nil || strings.Contains(out, said) {
		t.Errorf("the status is %v\n%s", err, out)
	}
}

// Over TCP: connections that wait in the queue, and the logins of pages, survive the supervisor; the token file is followed.
func TestAccessOverTCP(t *testing.T) {
	t.Parallel()
	address, file := fmt.Sprintf("127.0.0.1:%d", freeport.For(t)), filepath.Join(t.TempDir(), "tokens")
	out, err := exec.Command(stoker(t), "console", "token", "ops", "--grants", "view", "--file", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	token := strings.Fields(string(out))[1]
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	b := newBox(t, boxOptions{config: fmt.Sprintf(`
services:
  idle: {command: [sleep, "1000"]}
api:
  listen: %q
  tokens: %s
`, address, file)})
	b.awaitState("idle", "RUNNING", 10*time.Second)
	reaches := func(what string, want int, token string) {
		t.Helper()
		await(t, 15*time.Second, what, func() bool { got, _ := requestTCP(address, "GET", "/v1/services", token, ""); return got == want })
	}
	// A file that others can read: TCP is off, and the status says what to do. A chmod is enough.
	await(t, 10*time.Second, "the status", func() bool {
		out, _ := b.run("status")
		return strings.Contains(out, "API over TCP: it is not served on "+address) && strings.Contains(out, "chmod 0600 "+file)
	})
	if got, body := requestTCP(address, "GET", "/v1/health", "", ""); got != 0 {
		t.Fatalf("it is served: %d %s", got, body)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	reaches("the listener", 200, token)

	var ticket struct{ Ticket string }
	text, err := b.run("console", "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(text), &ticket)
	}
	if err != nil {
		t.Fatal(err)
	}
	var login struct{ Token string }
	status, body := requestTCP(address, "POST", "/v1/login", "", `{"ticket":"`+ticket.Ticket+`"}`)
	if err := json.Unmarshal([]byte(body), &login); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}

	for range 3 {
		supervisor := b.supervisor()
		halt(t, supervisor)
		var waiting []net.Conn
		for range 20 {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /v1/services HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", address, login.Token)
			waiting = append(waiting, conn)
		}
		if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for k, conn := range waiting {
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("connection %d: %v, %v", k, resp, err)
			}
		}
	}

	// The token is removed, and comes back by a file that is put in place.
	line, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "# none\n", 0o600)
	reaches("the token is removed", 401, token)
	write(t, file+".new", string(line), 0o600)
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	reaches("the token is there again", 200, token)
	if got, _ := requestTCP(address, "GET", "/v1/services", login.Token, ""); got != 200 {
		t.Errorf("the login of the page after all that: %d", got)
	}

	// Without api.listen the port is closed.
	before, _, _ := strings.Cut(b.file("stoker.yaml"), "api:")
	write(t, filepath.Join(b.dir, "stoker.yaml"), before, 0o644)
	b.signal(syscall.SIGHUP)
	await(t, 10*time.Second, "the port is closed", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}
