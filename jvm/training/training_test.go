package training

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/listen"
	"github.com/stoker-init/stoker/supervisor"
	"golang.org/x/sys/unix"
)

func TestHeapFor(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		asked, limit, used int64 // MiB
		want               int64
		err                string
	}{
		{limit: 4096, want: 512},
		{limit: 4096, used: 3400, want: 312},
		{limit: 1024, used: 1024 - 480, want: 96},
		{limit: 1024, used: 1024 - 479, err: "479 MiB of the memory limit of 1 GiB are free, and it needs 480 MiB: a heap of 96 MiB, and 384 MiB"},
		{limit: 512, used: 600, err: "0 MiB of the memory limit of 512 MiB are free"},
		{asked: 1024, limit: 4096, want: 1024},
		{asked: 48, limit: 1024, used: 1024 - 480, want: 48},
		{asked: 2048, limit: 4096, used: 2048, err: "2 GiB of the memory limit of 4 GiB are free, and it needs 2432 MiB: a heap of 2 GiB"},
	} {
		got, err := heapFor(tc.asked*mib, tc.limit*mib, tc.used*mib)
		if got != tc.want*mib || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%+v: %d MiB, %v", tc, got/mib, err)
		}
	}
}

func TestRequiredWith(t *testing.T) {
	requires := map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d", "a"}, "e": {"a"}}
	for service, want := range map[string][]string{"a": {"a", "b", "c", "d"}, "d": {"d"}, "e": {"e", "a", "b", "c", "d"}} {
		if got := requiredWith(service, func(name string) []string { return requires[name] }); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", service, got, want)
		}
	}
}

// TestSettings: the second JVM must not call the first one's stop command, write its log files, or be asked at its port.
func TestSettings(t *testing.T) {
	var s config.Service
	s.Kind = config.KindTomcat
	s.Stop.Command, s.Stop.Drain, s.Output.File.Path = []string{"catalina.sh", "stop"}, time.Minute, "/var/log/app.log"
	s.Stop.Signal, s.Ready.Log, s.Ready.HTTP.URL = "INT", "started", "http://localhost:8080/"
	s.Cgroup.Own, s.Restart.Policy = true, supervisor.Always
	high := 15
	s.Nice = &high
	got := settings(s, time.Hour)
	if got.Stop.Command != nil || got.Stop.Drain != 0 || got.Stop.Signal != "INT" || got.Stop.Timeout != time.Hour || *got.Stop.Requests != 0 {
		t.Errorf("stop: %+v", got.Stop)
	}
	if got.Ready.IsSet() || got.Ready.Log != "" || got.Ready.Within != time.Hour {
		t.Errorf("ready: %+v", got.Ready)
	}
	if got.Output.File.Path != "" || got.Cgroup.Own || got.Restart.Policy != supervisor.Never || *got.Nice != 15 || *got.OOMScoreAdj != 1000 {
		t.Errorf("%+v", got)
	}
	s.Kind, s.Nice = config.KindJava, nil
	if got := settings(s, time.Hour); got.Ready.HTTP.URL == "" || *got.Nice != lowNice {
		t.Errorf("java: ready %+v, nice %d", got.Ready, *got.Nice)
	}
}

// TestWorkFolder: a folder whose command was killed is removed, one that is in use is not, whatever its age.
func TestWorkFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archives")
	used, err := newWorkFolder(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	killed, err := newWorkFolder(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := newWorkFolder(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	killed.lock.Close() // as the end of a process does
	fresh.lock.Close()
	for _, w := range []*workFolder{used, killed} {
		if err := os.WriteFile(filepath.Join(w.path, "classes"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-2 * abandonedAfter)
		if err := os.Chtimes(w.path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	next, err := newWorkFolder(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	next.remove()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	want := []string{used.path, fresh.path}
	slices.Sort(want)
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("left are %v, %v, want %v", left, err, want)
	}
}

// TestWorkFolderOfUser: the service's user can write its part of the folder and nothing else there, whatever the umask is, and a
// folder that is closed to it is an error before the first start.
func TestWorkFolderOfUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives folders away")
	}
	defer unix.Umask(unix.Umask(0o077))
	user, err := asuser.Lookup("65534:65534")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dir := range []string{root, filepath.Dir(root)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w, err := newWorkFolder(filepath.Join(root, "state/archives"), user)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{w.made(): true, w.path: false} {
		err := user.Identity().Do(func() error { return os.WriteFile(filepath.Join(path, "file"), nil, 0o600) })
		if (err == nil) != want {
			t.Errorf("the user writes into %s: %v", path, err)
		}
	}
	w.remove()
	if err := os.Chmod(filepath.Join(root, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = newWorkFolder(filepath.Join(root, "state/archives"), user)
	if err == nil || !strings.Contains(err.Error(), "the service's user 65534:65534 cannot reach") {
		t.Errorf("a closed folder: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "state/archives", workPrefix+"*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestPorts: the sockets are on loopback, with the names of the configuration, and the same ones for each start.
func TestPorts(t *testing.T) {
	var p Ports
	defer p.Close()
	s := config.Service{Kind: config.KindJava}
	s.Listen = []listen.Config{{Name: "web", TCP: ":8080"}, {Name: "admin", Unix: "/run/admin.sock"}}
	first, err := p.Sockets(s)
	if err != nil || len(first) != 2 {
		t.Fatal(first, err)
	}
	for k, name := range []string{"web", "admin"} {
		if c := first[k].Config; c.Name != name || c.Unix != "" || !strings.HasPrefix(c.TCP, "127.0.0.1:") || c.TCP == "127.0.0.1:8080" {
			t.Errorf("%+v", c)
		}
	}
	again, err := p.Sockets(s)
	if err != nil || again[0].File != first[0].File {
		t.Errorf("other sockets for the second start: %v", err)
	}
	var tomcat Ports
	defer tomcat.Close()
	if got, err := tomcat.Sockets(config.Service{Kind: config.KindTomcat}); err != nil || len(got) != 1 {
		t.Errorf("a Tomcat has %v, %v", got, err)
	}
}

// TestPortInUse: a service that answers at the port of readiness would be taken for the new one.
func TestPortInUse(t *testing.T) {
	var p Ports
	defer p.Close()
	open, err := p.Sockets(config.Service{Kind: config.KindTomcat})
	if err != nil {
		t.Fatal(err)
	}
	var s config.Service
	if err := portInUse(s); err != nil {
		t.Errorf("without a port: %v", err)
	}
	s.Ready.HTTP.URL = "http://" + open[0].TCP + "/"
	if err := portInUse(s); err == nil {
		t.Errorf("%s is in use", open[0].TCP)
	}
	p.Close()
	if err := portInUse(s); err != nil {
		t.Errorf("it is closed: %v", err)
	}
}
