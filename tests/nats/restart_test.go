package nats_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/internal/freeport"
)

// TestContainerDies holds what the next life of a container makes of its messages: what ran is LOST unless the job says otherwise, and what
// waited runs.
func TestContainerDies(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	first := startContainer(t, s.ClientURL(), 3, nil)
	c.submit(`{"command":["hold","lost"],"key":"lost","serial":"s"}`)
	first.awaitStart("lost")
	c.submit(`{"command":["run","waits"],"key":"waits","serial":"s"}`)
	c.submit(`{"command":["hold","again"],"key":"again","retry_on_lost":true}`)
	first.awaitStart("again")
	poll(t, "3 messages are taken", func() bool { return c.info().NumAckPending == 3 })
	first.die()
	second := first.successor(nil)
	second.awaitStart("again")
	second.host.release("again")
	want(t, c.await(3), executor.Lost, executor.Succeeded, executor.Succeeded)
	if n := second.host.starts("lost"); n != 0 {
		t.Errorf("the lost job was started %d times", n)
	}
	if n := first.host.starts("waits") + second.host.starts("waits"); n != 1 {
		t.Errorf("the waiting job was started %d times", n)
	}
}

// restart stops a server and starts it again on its port with its store.
func restart(t *testing.T, s *server.Server, between func(), change func(*server.Options)) *server.Server {
	t.Helper()
	u, err := url.Parse(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(s.StoreDir()) // without "jetstream"
	s.Shutdown()
	s.WaitForShutdown()
	between()
	port, err := strconv.Atoi(u.Port())
	if err == nil {
		err = freeport.Await(port)
	}
	if err != nil {
		t.Fatal(err)
	}
	return startServer(t, func(o *server.Options) {
		o.StoreDir, o.Port = dir, port
		if change != nil {
			change(o)
		}
	})
}

// TestServerRestarts holds that an end which no server heard of is reported later: by the same adapter, and by that of the next life.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	for _, dies := range []bool{false, true} {
		t.Run(strconv.FormatBool(dies), func(t *testing.T) {
			s := startServer(t, nil)
			c := dial(t, s.ClientURL())
			c.setUp(1, nil)
			box := startContainer(t, s.ClientURL(), 2, nil)
			c.submit(`{"command":["hold","a"],"key":"a"}`)
			box.awaitStart("a")
			next := box
			restart(t, s, func() {
				box.awaitStatus("cannot connect")
				box.host.release("a")
				poll(t, "the job ends", func() bool { job, err := box.jobs.Job("key:a"); return err == nil && job.State.Final() })
				if dies {
					box.die()
					next = box.successor(nil)
				}
			}, nil)
			want(t, c.await(1), executor.Succeeded)
			if here, there := box.host.starts("a"), next.host.starts("a"); here != 1 || next != box && there != 0 {
				t.Errorf("%d starts, and %d in the next life", here, there)
			}
			next.awaitStatus("attached")
			c.submit(`{"command":["run","b"]}`)
			c.await(2)
		})
	}
}

// TestStreamMadeAgain holds that an acknowledgement from an earlier stream of the name does not take a message of the new one away.
func TestStreamMadeAgain(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	box := startContainer(t, s.ClientURL(), 1, nil)
	c.submit(`{"command":["hold","old"],"key":"old"}`)
	box.awaitStart("old")
	for _, name := range []string{"JOBS", "RESULTS"} {
		if err := c.js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	c.setUp(1, nil)
	other := startContainer(t, s.ClientURL(), 1, nil)
	c.submit(`{"command":["hold","new"],"key":"new"}`)
	other.awaitStart("new")
	<-time.After(1100 * time.Millisecond) // what is known of the stream is believed for a second
	box.host.release("old")
	c.awaitResults(1)
	poll(t, "the report", func() bool { job, err := box.jobs.Job("key:old"); return err == nil && job.Reported })
	if n := c.left(); n != 1 {
		t.Fatalf("%d messages are left", n)
	}
	other.host.release("new")
	c.await(2)
}

// TestStop holds that a stop reports the ends of the jobs that it ends.
func TestStop(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	box := startContainer(t, s.ClientURL(), 1, nil)
	c.submit(`{"command":["hold","a"]}`)
	c.submit(`{"command":["hold","b"]}`)
	poll(t, "a start", func() bool { return box.host.starts("") == 1 })
	box.jobs.Stop(t.Context(), deadline)
	box.die()
	want(t, c.awaitResults(1), executor.Killed)
	if n := c.left(); n != 1 {
		t.Errorf("%d messages are left", n)
	}
	if n := box.host.starts(""); n != 1 {
		t.Errorf("%d starts", n)
	}
}

// TestCredentials holds that a token is read again with each connect.
func TestCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	certs := newCertificates(t, dir)
	secure := func(token string) func(*server.Options) {
		return func(o *server.Options) {
			o.Authorization = token
			o.TLS, o.TLSVerify, o.TLSTimeout = true, true, 5
			o.TLSConfig = certs.server
		}
	}
	s := startServer(t, secure("one"))
	tls := []nats.Option{nats.RootCAs(certs.ca), nats.ClientCert(certs.cert, certs.key),
		nats.TokenHandler(func() string { text, _ := os.ReadFile(file); return strings.TrimSpace(string(text)) })}
	c := dial(t, s.ClientURL(), append(tls, nats.IgnoreAuthErrorAbort())...)
	c.setUp(1, nil)
	box := startContainer(t, s.ClientURL(), 1, func(c *container) {
		c.config.TokenFile, c.config.CAFile, c.config.CertFile, c.config.KeyFile = file, certs.ca, certs.cert, certs.key
	})
	c.submit(`{"command":["run","a"]}`)
	want(t, c.await(1), executor.Succeeded)
	restart(t, s, func() {}, secure("two"))
	box.awaitStatus("uthorization ")
	<-time.After(2 * time.Second) // for the library the second failure of this kind is the last one
	write("two")
	box.awaitStatus("attached")
	poll(t, "the client is back", c.nc.IsConnected)
	c.submit(`{"command":["run","b"]}`)
	want(t, c.await(2), executor.Succeeded, executor.Succeeded)
}

// TestNKey holds that the seed of an nkey is enough.
func TestNKey(t *testing.T) {
	t.Parallel()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	c := dial(t, s.ClientURL(), nats.Nkey(public, pair.Sign))
	c.setUp(1, nil)
	startContainer(t, s.ClientURL(), 1, func(c *container) { c.config.NKeyFile = file })
	c.submit(`{"command":["run","a"]}`)
	want(t, c.await(1), executor.Succeeded)
}

// TestFilesMissing holds that a missing file is waited for.
func TestFilesMissing(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	file := filepath.Join(t.TempDir(), "ca.pem")
	box := startContainer(t, s.ClientURL(), 1, func(c *container) { c.config.CAFile = file })
	box.awaitStatus(file)
	other := startContainer(t, s.ClientURL(), 1, func(c *container) { c.config.NKeyFile = file })
	other.awaitStatus("nkey_file")
}

// TestNoServer holds that Run ends at once where no server ever was.
func TestNoServer(t *testing.T) {
	t.Parallel()
	box := startContainer(t, "nats://127.0.0.1:1", 1, nil)
	box.awaitStatus("cannot")
	began := time.Now()
	box.die()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Run ended after %v", took)
	}
}

// TestPermissions holds that the permissions in docs/reference/nats.md are enough.
func TestPermissions(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/reference/nats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "needs these permissions:")
	if !found {
		t.Fatal("the page does not list them")
	}
	text, _, _ = strings.Cut(text, "\n\n")
	user := &server.Permissions{Publish: &server.SubjectPermission{}, Subscribe: &server.SubjectPermission{}}
	for _, part := range strings.Split(text, ";") {
		list := &user.Publish.Allow
		if strings.Contains(part, "subscribe") {
			list = &user.Subscribe.Allow
		}
		for k, word := range strings.Split(part, "`") {
			if k%2 == 1 {
				*list = append(*list, word)
			}
		}
	}
	s := startServer(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "boss", Password: "p"}, {Username: "box", Password: "p", Permissions: user}}
	})
	address := strings.TrimPrefix(s.ClientURL(), "nats://")
	c := dial(t, "nats://boss:p@"+address)
	c.setUp(1, nil)
	box := startContainer(t, "nats://box:p@"+address, 1, nil)
	c.submit(`{"command":["hold","a"],"key":"a"}`)
	box.awaitStart("a")
	if answer, err := c.nc.Request("jobs.cancel", []byte("key:a"), deadline); err != nil {
		t.Fatalf("%+v, %v", answer, err)
	}
	want(t, c.await(1), executor.Killed)
	c.submit(`{}`)
	want(t, c.await(2), executor.Killed, executor.Rejected)
	box.awaitStatus("attached")
}
