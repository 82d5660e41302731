package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// actuator answers as health checks of applications do.
func actuator(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/down":
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(503)
		fmt.Fprint(w, `{"status":"DOWN","db":"no`, "\n\x1b[2J", `connection"}`)
	case "/up":
		fmt.Fprint(w, `{"status":"UP"}`)
	case "/long":
		fmt.Fprint(w, strings.Repeat("é", 5000))
	case "/late": // the word comes behind what is read
		fmt.Fprint(w, strings.Repeat(" ", maxBody)+"UP")
	case "/html":
		w.Header().Set("Content-Type", "text/html;charset=utf-8")
		w.WriteHeader(500)
		fmt.Fprint(w, "<!doctype html><html>")
	case "/echo":
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.Header.Get("X-Probe"), r.UserAgent())
	case "/zip":
		fmt.Fprintf(w, "%q", r.Header.Get("Accept-Encoding"))
	}
}

func TestHTTPAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(actuator))
	defer server.Close()
	url := server.URL
	cases := []struct {
		config Config
		want   string
	}{
		{Config{HTTP: HTTP{URL: url + "/up", Body: `"UP"`}}, ""},
		{Config{HTTP: HTTP{URL: url + "/down"}}, "GET " + url + `/down: answered 503 Service Unavailable: "{"status":"DOWN","db":"no ?[2Jconnection"}"`},
		{Config{HTTP: HTTP{URL: url + "/down", Body: `"UP"`}}, `answered 503 Service Unavailable, body does not match "\"UP\"": "{"status":"DOWN"`},
		{Config{HTTP: HTTP{URL: url + "/down", Body: `"UP"`, Status: []int{503}}}, `answered 503 Service Unavailable, body does not match`},
		{Config{HTTP: HTTP{URL: url + "/down", Body: `DOWN`, Status: []int{503}}}, ""},
		{Config{HTTP: HTTP{URL: url + "/down", Body: `DOWN`}}, "answered 503 Service Unavailable"},
		{Config{HTTP: HTTP{URL: url + "/up", Body: `^UP$`}}, `GET ` + url +
			`/up: answered 200 OK, body does not match "^UP$": "{"status":"UP"}"`},
		{Config{HTTP: HTTP{URL: url + "/late", Body: `UP`}}, "body does not match"},
		{Config{HTTP: HTTP{URL: url + "/html"}}, "answered 500 Internal Server Error"},
		{Config{HTTP: HTTP{URL: url + "/up", Body: `(`}}, "missing closing )"},
		{Config{HTTP: HTTP{URL: url + "/echo", Method: "POST", Headers: map[string]string{"host": "app.example", "X-Probe": "1"},
			Body: "^POST app.example 1 stoker$"}}, ""},
		{Config{HTTP: HTTP{URL: url + "/echo", Headers: map[string]string{"User-Agent": "curl"}, Body: "curl$"}}, ""},
		{Config{HTTP: HTTP{URL: url + "/echo", Method: "BAD METHOD"}}, "invalid method"},
		{Config{HTTP: HTTP{URL: url + "/zip", Body: `^""$`}}, ""},
	}
	for _, c := range cases {
		wantError(t, check(c.config.New(nil)), c.want)
	}
	err := check(Config{HTTP: HTTP{URL: url + "/html"}}.New(nil))
	if err == nil || strings.Contains(err.Error(), "html>") {
		t.Errorf("%v quotes a page", err)
	}
	err = check(Config{HTTP: HTTP{URL: url + "/long", Body: "UP"}}.New(nil))
	if err == nil || len(err.Error()) > 400 || !strings.HasSuffix(err.Error(), `..."`) {
		t.Errorf("an error of %d bytes: %v", len(err.Error()), err)
	}
}

func TestHTTPOverSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(actuator)}}
	server.Start()
	defer server.Close()
	wantError(t, check(Config{HTTP: HTTP{URL: "http://app.example/echo", Socket: path, Body: "GET app.example"}}.New(nil)), "")
	wantError(t, check(Config{HTTP: HTTP{URL: "http://app.example/down", Socket: path}}.New(nil)),
		"GET http://app.example/down at "+path+": answered 503")
	wantError(t, check(Config{HTTP: HTTP{URL: "http://app.example/", Socket: path + "x"}}.New(nil)), "no such file or directory")
}

// startedAt is a process of which only the start is known.
type startedAt struct {
	Process
	ticks uint64
}

func (p startedAt) StartTicks() uint64 { return p.ticks }

func TestFileProbe(t *testing.T) {
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "ready"), filepath.Join(dir, "fifo")
	probe := func(path string, ticks uint64) error {
		return Check(context.Background(), Config{File: path}.New(nil), startedAt{ticks: ticks}, time.Second)
	}
	now := uint64(initproto.BootNow()) / uint64(10*time.Millisecond) // of a process that starts at this moment
	wantError(t, probe(file, now), "file "+file+": no such file or directory")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, probe(file, now), "")
	wantError(t, probe(file, now+100*3600), "it is older than the process")
	wantError(t, probe(file, 0), "which is unknown")
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	wantError(t, probe(file, now), "written "+old.Format(time.RFC3339)+", ")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, probe(fifo, now), "")
}

// A file system that does not answer holds one goroutine, not one a check.
func TestFileProbeDoesNotPileUp(t *testing.T) {
	f := newFileProbe("/")
	f.busy <- struct{}{} // an earlier check hangs
	wantError(t, f.check(context.Background(), startedAt{ticks: 1}), "has not answered since an earlier check")
	<-f.busy
	wantError(t, f.check(context.Background(), startedAt{ticks: 1}), "")
}

// full is an address that accepts nothing: its queue is full.
func full(t *testing.T) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	for range 4 {
		conn, err := net.DialTimeout("tcp", address, 50*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this kernel accepts more than it was told to")
	return ""
}

// rude listens and treats each connection as f says, until the client is gone.
func rude(t *testing.T, f func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the client
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 1)) // it has asked
				f(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// flood writes text until the client is gone.
func flood(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

// wait is for the client to go.
func wait(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// openFiles is how many descriptors this process has.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}

// TestProbesLeaveNothing asks a thousand times the worst servers there are.
func TestProbesLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "HTTP/1.1 200 OK\r\n\r\n"
	silent := rude(t, wait)
	configs := []Config{
		{TCP: full(t)},
		{HTTP: HTTP{URL: "http://" + silent + "/"}},
		{HTTP: HTTP{URL: "https://" + silent + "/"}},
		{HTTP: HTTP{URL: "http://" + full(t) + "/"}},
		{HTTP: HTTP{URL: "http://" + rude(t, flood("HTTP/1.1 100 Continue\r\n\r\n")) + "/"}},
		{HTTP: HTTP{URL: "http://" + rude(t, flood("HTTP/1.1 200 OK\r\n"+strings.Repeat("X: y\r\n", 1000))) + "/"}},
		{HTTP: HTTP{URL: "http://" + rude(t, func(c net.Conn) { io.WriteString(c, head); flood(strings.Repeat("x", 1<<20))(c) }) + "/",
			Body: "never"}},
		{HTTP: HTTP{URL: "http://" + rude(t, func(c net.Conn) { io.WriteString(c, head+"begun"); wait(c) }) + "/", Body: "begun"}},
		{HTTP: HTTP{URL: "http://" + rude(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 500 no\r\n\r\nbegun"); wait(c) }) + "/",
			Body: "begun"}},
		{File: fifo},
	}
	const limit = 3 * time.Millisecond
	var probes []Checker
	for _, l := range configs {
		probes = append(probes, l.New(nil))
	}
	for _, p := range probes { // what is made once is made now
		_ = Check(context.Background(), p, startedAt{ticks: 1e9}, limit)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which closes what is forgotten
	goroutines, files := runtime.NumGoroutine(), openFiles()
	for k := range 1000 {
		if err := Check(context.Background(), probes[k%len(probes)], startedAt{ticks: 1e9}, limit); err == nil {
			t.Errorf("the probe %+v succeeded", configs[k%len(probes)])
		}
	}
	for limit := time.Now().Add(10 * time.Second); ; {
		g, f := runtime.NumGoroutine(), openFiles()
		if g <= goroutines && f <= files {
			break
		}
		if time.Now().After(limit) {
			stacks := make([]byte, 64<<10)
			t.Fatalf("%d goroutines and %d files before, %d and %d after:\n%s", goroutines, files, g, f, stacks[:runtime.Stack(stacks, true)])
		}
		<-time.After(10 * time.Millisecond)
	}
}

// What decides is the status; an answer without end does not hold a look up.
func TestEndlessAnswerIsAnAnswer(t *testing.T) {
	address := rude(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nbegun"); wait(c) })
	from := time.Now()
	err := Check(context.Background(), Config{HTTP: HTTP{URL: "http://" + address + "/"}}.New(nil), nil, 10*time.Second)
	if took := time.Since(from); err != nil || took > 5*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	err = Check(context.Background(), Config{HTTP: HTTP{URL: "http://" + address + "/", Body: "gun"}}.New(nil), nil, 2*time.Second)
	wantError(t, err, "answered 200 OK, but its body does not end: no answer in time after 5 bytes")
}

// A server that demands a certificate has answered, as much as by 401; one that gets
// what it wants answers as others do.
func TestClientCertificate(t *testing.T) {
	cert, key, pair := clientCertificate(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(actuator))
		pool := x509.NewCertPool()
		pool.AddCert(pair.Leaf)
		server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MaxVersion: version}
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		defer server.Close()
		url := server.URL + "/up"
		const hint = "the server demands a client certificate (tls: "
		for _, c := range []struct {
			config Config
			want   string
		}{
			{Config{HTTP: HTTP{URL: url, CertFile: cert, KeyFile: key}}, ""},
			{Config{HTTP: HTTP{URL: url}}, "GET " + url + ": " + hint},
			{Config{HTTP: HTTP{URL: url, Status: []int{200}}}, hint},
			{Config{HTTP: HTTP{URL: url, Status: []int{200, 401}}}, ""},
			{Config{HTTP: HTTP{URL: url, Status: []int{401}, Body: "UP"}}, hint}, // there is no body
			{Config{HTTP: HTTP{URL: server.URL + "/down", Status: []int{401}, CertFile: cert, KeyFile: key}}, "answered 503"},
			{Config{HTTP: HTTP{URL: url, Status: []int{401}, CertFile: cert, KeyFile: cert}}, "cannot use the certificate " + cert},
			{Config{HTTP: HTTP{URL: url, Status: []int{401}, CertFile: cert, KeyFile: fifo}}, "cannot read " + fifo + ": it is not a regular file"},
			{Config{HTTP: HTTP{URL: url, Status: []int{401}, CertFile: cert + "x", KeyFile: key}}, "cannot read " + cert + "x: no such file"},
		} {
			wantError(t, check(c.config.New(nil)), c.want)
		}
		// Another's certificate is refused, which is no proof of anything.
		other, otherKey, _ := clientCertificate(t)
		if err := check(Config{HTTP: HTTP{URL: url, Status: []int{200, 401}, CertFile: other, KeyFile: otherKey}}.New(nil)); err == nil ||
			strings.Contains(err.Error(), "demands") {
			t.Errorf("%x: with another's certificate: %v", version, err)
		}
	}
	// Neither is an alert of a server that has not asked for one, nor the end of a
	// connection of one that has.
	plain := httptest.NewUnstartedServer(http.HandlerFunc(actuator))
	plain.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }}
	plain.Config.ErrorLog = log.New(io.Discard, "", 0)
	plain.StartTLS()
	defer plain.Close()
	wantError(t, check(Config{HTTP: HTTP{URL: plain.URL, Status: []int{401}}}.New(nil)), "tls: internal error")
	wantError(t, check(Config{HTTP: HTTP{URL: "https://" + rude(t, func(net.Conn) {}) + "/", Status: []int{401}}}.New(nil)), "GET https://")
}

// clientCertificate makes a certificate of its own and its key.
func clientCertificate(t *testing.T) (certFile, keyFile string, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, pair
}
