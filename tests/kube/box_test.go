// Package kube_test tests the console with the clients of Kubernetes: client-go and kubectl. It is a module of its own, so that the
// product does not need their code.
package kube_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
	"k8s.io/client-go/rest"
)

// deadline bounds every wait of a test.
const deadline = 30 * time.Second

// token has the grants view and exec, viewToken only view.
const (
	token     = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	viewToken = "VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVV"
)

// raceVariable asks for a program with the race detector.
const raceVariable = "KUBE_TEST_RACE"

// product builds the program once.
var product = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "stoker-kube-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "stoker")
	args := []string{"build", "-o", path, "./cmd/stoker"}
	if os.Getenv(raceVariable) != "" {
		args = slices.Insert(args, 1, "-race")
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// box is stoker as PID 1 of a new PID namespace, with a console on a TCP port of loopback.
type box struct {
	t       testing.TB
	dir     string
	address string
	log     log
	began   time.Time
	init    int // the pid of PID 1, seen from here
	tls     *certificates
	mtls    bool // clients use a certificate, not a token
}

// boxOptions change a box.
type boxOptions struct {
	tls, mtls bool
	api       string // more of the section api; ADDRESS is that of the box
	console   string // instead of sessions and sessions_per_client
	off       bool   // there is no console
}

// log is what stoker prints.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newBox starts a box that ends with the test.
func newBox(t testing.TB, o boxOptions) *box {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a PID namespace needs root")
	}
	program, err := product()
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t: t, dir: t.TempDir(), address: fmt.Sprintf("127.0.0.1:%d", freeport.For(t)), began: time.Now()}
	file := b.configure(o)
	cmd := exec.Command("unshare", "-pfm", "--mount-proc", "--kill-child", program, "run", "-c", file)
	cmd.Stdout, cmd.Stderr = &b.log, &b.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("children of PID 1: %s; files: %v", b.processes(), b.files())
		}
		_ = cmd.Process.Kill() // PID 1 follows
		_ = cmd.Wait()
		text := b.log.String()
		if strings.Contains(text, "DATA RACE") || strings.Contains(text, "panic:") {
			t.Errorf("stoker's log:\n%s", text)
		}
		if t.Failed() {
			t.Logf("stoker's log:\n%s", text[max(0, len(text)-8<<10):])
		}
	})
	poll(t, "the API answers", func() bool {
		status, _ := b.get("/v1/health", nil)
		return status == http.StatusOK
	})
	for _, pid := range children(cmd.Process.Pid) {
		b.init = pid
	}
	return b
}

// configure writes the configuration and the files that it names.
func (b *box) configure(o boxOptions) (file string) {
	b.t.Helper()
	write := func(name, text string) string {
		path := filepath.Join(b.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.t.Fatal(err)
		}
		return path
	}
	api := fmt.Sprintf("  socket: %s/api.sock\n  listen: %q\n  tokens: %s\n", b.dir, b.address,
		write("tokens", "ops view,exec "+token+"\nviewer view "+viewToken+"\n"))
	if o.tls || o.mtls {
		b.tls = newCertificates(b.t, b.dir)
		api += fmt.Sprintf("  tls: {certificate: %s, key: %s", b.tls.cert, b.tls.key)
		if b.mtls = o.mtls; o.mtls {
			api += fmt.Sprintf(", clients: %s}\n  certificates: {agent-7: [view, exec]}\n", b.tls.ca)
		} else {
			api += "}\n"
		}
	}
	enabled := fmt.Sprint(!o.off)
	console := cmp.Or(o.console, "sessions: 64, sessions_per_client: 64")
	return write("stoker.yaml", "services: {app: {command: [sleep, \"1000000\"], restart: {backoff: {first: 1ms, factor: 1, jitter: 0}, "+
		"limit: {starts: 1000}}}}\napi:\n"+api+strings.ReplaceAll(o.api, "ADDRESS", b.address)+"console: {enabled: "+enabled+", user: nobody, "+console+"}\n")
}

// url is the address of the box with a path.
func (b *box) url(path string) string {
	if b.tls != nil {
		return "https://" + b.address + path
	}
	return "http://" + b.address + path
}

// get requests a path with a token and more headers.
func (b *box) get(path string, header http.Header) (status int, body string) {
	r, err := http.NewRequest(http.MethodGet, b.url(path), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	for name, values := range header {
		r.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	if b.mtls {
		transport.TLSClientConfig.Certificates = []tls.Certificate{b.tls.client}
	}
	answer, err := (&http.Client{Transport: transport, Timeout: deadline}).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

// config is client-go's way to the box.
func (b *box) config() *rest.Config {
	c := &rest.Config{Host: b.url(""), BearerToken: token}
	if b.tls != nil {
		c.CAFile = b.tls.ca
	}
	if b.mtls {
		c.BearerToken, c.CertFile, c.KeyFile = "", b.tls.clientCert, b.tls.clientKey
	}
	return c
}

// supervisor is the pid of the supervisor, 0 while there is none.
func (b *box) supervisor() int {
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", b.init))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, pid := range children(b.init) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && exe == own {
			return pid
		}
	}
	return 0
}

// idle reports whether no process of a session is left.
func (b *box) idle() bool { return len(children(b.init)) == 2 }

// processes lists the children of PID 1.
func (b *box) processes() (out []string) {
	for _, pid := range children(b.init) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		out = append(out, fmt.Sprintf("%d %q", pid, line))
	}
	return out
}

// files counts what the descriptors of PID 1 and of the supervisor are.
func (b *box) files() map[string]int {
	out := map[string]int{}
	for _, pid := range []int{b.init, b.supervisor()} {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, file := range files {
			if target, err := os.Readlink(file); err == nil {
				kind, _, _ := strings.Cut(target, ":[")
				out[kind]++
			}
		}
	}
	return out
}

// children are the pids of a process's children, by all its threads.
func children(pid int) (out []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

// running counts the processes that have a text in their command line.
func running(text string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		if pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && pid != os.Getpid() && bytes.Contains(line, []byte(text)) {
			n++
		}
	}
	return n
}

// poll waits until ok.
func poll(t testing.TB, what string, ok func() bool) {
	t.Helper()
	pollFor(t, deadline, what, ok)
}

// pollFor is poll with a limit.
func pollFor(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen within %v: %s", limit, what)
		}
	}
}

// within is a context of the test that ends after deadline.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// usage is what a box holds.
type usage struct {
	FDs, Terminals, Zombies, Children int
	Goroutines                        int
	RSS                               int // KiB, of the supervisor
}

// usage counts the descriptors and terminals of the supervisor and of PID 1, and the children of PID 1.
func (b *box) usage() (u usage) {
	supervisor := b.supervisor()
	for _, pid := range []int{b.init, supervisor} {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		u.FDs += len(files)
		for _, file := range files {
			if target, err := os.Readlink(file); err == nil && strings.HasSuffix(target, "/ptmx") {
				u.Terminals++
			}
		}
	}
	for _, pid := range children(b.init) {
		u.Children++
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(text), ") Z ") {
			u.Zombies++
		}
	}
	u.RSS, u.Goroutines = rss(b.t, supervisor), b.goroutines()
	return u
}

// rss is the resident memory of a process in KiB; 0 with the race detector, whose memory says nothing.
func rss(t testing.TB, pid int) int {
	t.Helper()
	if os.Getenv(raceVariable) != "" {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, line, found := strings.Cut(string(text), "\nVmRSS:")
	if err != nil || !found {
		t.Fatalf("no memory of process %d: %v", pid, err)
	}
	kib, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib
}

// goroutines is how many goroutines the supervisor has.
func (b *box) goroutines() int {
	b.t.Helper()
	_, text := b.get("/metrics", nil)
	_, text, _ = strings.Cut(text, "\nstoker_goroutines ")
	line, _, _ := strings.Cut(text, "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		b.t.Fatalf("no number of goroutines: %v", err)
	}
	return n
}
