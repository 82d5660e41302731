package page_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// configuration is that of every test's stoker: a Tomcat, a service whose output attacks terminals, one that fails, a plugin, jobs.
const configuration = `
main: tomcat
services:
  tomcat:
    kind: tomcat
    tomcat: {home: TOMCAT, base: DIR/base}
    ready: {http: "http://127.0.0.1:PORT/app/health", within: 120s}
    cgroup: {memory: 768MiB}
  chatty:
    command: [sh, DIR/chatty.sh]
  crasher:
    command: [sh, -c, "echo about to fail; echo 'no database' >&2; exit 3"]
    restart: {limit: {starts: 1, within: 10m}}
  spare: {command: [sleep, "1000"], autostart: false}
jvm:
  user: {files: [DIR/base/conf/jvm.options]}
plugins: {dir: DIR/plugins}
hooks:
  ready: [{name: announce, command: [echo, ready]}]
executor: {slots: 2, journal: DIR/jobs}
labels: {appid: "4711"}
api:
  socket: DIR/api.sock
  listen: "127.0.0.1:LISTEN"
  tokens: DIR/tokens
console: {enabled: true, recording: {mode: on, folder: DIR/recordings}}
`

// chatty writes what would change the title, the colours, the screen and the clipboard of a terminal, an overwritten line, and a text
// that a browser could show in the other direction.
const chatty = `
i=0
while :; do
	i=$((i + 1))
	echo "line $i of chatty"
	printf '\033[31mred\033[0m \033]0;title\007 \033]52;c;Y3VybCBldmls\007 \033[2J\033[1;1H safe\revil \010\302\233 \342\200\256txt.exe\n' >&2
	printf '<img src=x onerror=alert(1)><script>alert(2)</script>\n'
	sleep 0.5
done
`

const tracing = `name: tracing
version: "2.1"
description: adds a system property that switches tracing on
enabled: false
params:
  level: {type: enum, values: [info, debug], default: info, description: how much is traced}
  token: {secret: true, description: credential of the collector}
  fast: {type: bool, default: "false", description: samples one request in a hundred only}
actions:
  ping: {command: [echo, pong], description: asks the collector}
`

// stoker is a running one.
type stoker struct {
	dir, url     string
	token, guest string // with all grants; with view
	binary       string
	pid          int // of the init
}

// buildFolder is that of the program; TestMain removes it.
var buildFolder = filepath.Join(os.TempDir(), fmt.Sprintf("stoker-page-build-%d", os.Getpid()))

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(buildFolder)
	os.Exit(code)
}

// build builds the program with the terminal in it.
var build = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	if made, _ := filepath.Glob(filepath.Join(root, "internal/page/npm/*.gz")); len(made) == 0 {
		return "", fmt.Errorf("the page has no terminal: run scripts/page.sh, which needs node and npm")
	}
	path := filepath.Join(buildFolder, "stoker")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/stoker")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// start runs a stoker for a test, with TLS or without.
func start(t *testing.T, withTLS bool) *stoker {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	s := &stoker{dir: t.TempDir(), binary: binary, token: rand.Text() + rand.Text(), guest: rand.Text() + rand.Text()}
	homes, _ := filepath.Glob("/usr/share/tomcat*/skel")
	if len(homes) == 0 {
		t.Fatal("the tests of the page need Debian's packages tomcat10-common and tomcat10-user")
	}
	home := filepath.Dir(homes[0])
	port, listen := strconv.Itoa(freeport.For(t)), strconv.Itoa(freeport.For(t))
	s.url = "http://127.0.0.1:" + listen
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{"sh", root + "/scripts/base.sh", home, s.dir + "/base"},
		{"cp", "-r", root + "/testdata/webapp", s.dir + "/base/webapps/app"},
		{"sed", "-i", `s/port="8080"/port="` + port + `"/`, s.dir + "/base/conf/server.xml"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", command, err, out)
		}
	}
	text := strings.NewReplacer("DIR", s.dir, "TOMCAT", home, "PORT", port, "LISTEN", listen).Replace(configuration)
	if withTLS {
		s.url = strings.Replace(s.url, "http:", "https:", 1)
		text = strings.Replace(text, "  tokens:", "  tls: {certificate: "+s.dir+"/cert.pem, key: "+s.dir+"/key.pem}\n  tokens:", 1)
		s.certify(t)
	}
	for name, content := range map[string]string{
		"stoker.yaml": text, "chatty.sh": chatty, "tokens": "ops view,admin,job,exec " + s.token + "\nguest view " + s.guest + "\n",
		"plugins/tracing/plugin.yaml": tracing, "plugins/tracing/jvm.d/50-tracing.opts": "-Dtracing.level=${params.level}\n",
		"base/conf/jvm.options": "-Dstoker.demo=true\n-XX:NativeMemoryTracking=summary\n",
	} {
		file := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.run(t)
	return s
}

// certify makes a certificate that nobody else has signed.
func (s *stoker) certify(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: certificate}, "key": {Type: "PRIVATE KEY", Bytes: private}}
	for name, block := range blocks {
		if err := os.WriteFile(filepath.Join(s.dir, name+".pem"), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *stoker) run(t *testing.T) {
	cmd := exec.Command(s.binary, "run", "-c", s.dir+"/stoker.yaml")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+s.dir+"/state")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(strings.Join(regexp.MustCompile(`(?m)^\S+Z \[(?:WARN|ERROR)\].*$`).FindAllString(out.String(), 50), "\n"))
		}
	})
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(s.tool("status"), "tomcat   RUNNING"); <-time.After(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("Tomcat is not RUNNING: %s", s.tool("status"))
		}
	}
}

// tool runs a command of stoker.
func (s *stoker) tool(args ...string) string {
	command := exec.Command(s.binary, args...)
	command.Env = append(os.Environ(), "STOKER_SOCKET="+s.dir+"/api.sock")
	out, _ := command.CombinedOutput() // the text tells
	return string(out)
}

// ticketURL is an address that signs in once.
func (s *stoker) ticketURL(t *testing.T) string {
	t.Helper()
	out := s.tool("console")
	found := regexp.MustCompile(`http\S+#ticket=\S+`).FindString(out)
	if found == "" {
		t.Fatalf("stoker console prints no address: %s", out)
	}
	return found
}
