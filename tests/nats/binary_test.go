package nats_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
)

// build builds the program.
func build(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stoker")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/stoker")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// TestProgram runs the program with a consumer: jobs are processes, kill -9 of the supervisor is not seen, and a stop reports the end.
func TestProgram(t *testing.T) {
	t.Parallel()
	stoker := build(t)
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, nil)
	dir := t.TempDir()
	file := filepath.Join(dir, "stoker.yaml")
	text := fmt.Sprintf(`
services: {idle: {command: [sleep, "1000"]}}
labels: {appid: "7"}
api: {socket: %s/api.sock}
executor:
  slots: 4
  journal: %s/jobs
  nats: {url: "%s", stream: JOBS, results: jobs.results}
`, dir, dir, s.ClientURL())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(stoker, "run", "-c", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	tool := func(args ...string) string {
		command := exec.Command(stoker, args...)
		command.Env = append(os.Environ(), "STOKER_SOCKET="+dir+"/api.sock")
		out, _ := command.CombinedOutput()
		return string(out)
	}
	poll(t, "the status", func() bool { return strings.Contains(tool("job", "status"), "attached to JOBS/stoker") })
	shell := func(name, script string) {
		c.submit(fmt.Sprintf(`{"command":["sh","-c","echo %s $TRACEPARENT >>%s/ledger; %s"],"key":"%s"}`, name, dir, script, name),
			"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	}
	shell("quick", "true")
	want(t, c.await(1), executor.Succeeded)
	shell("long", "while [ ! -e "+dir+"/go ]; do sleep 0.05; done; exit 3")
	poll(t, "the job runs", func() bool { return strings.Contains(tool("job", "list"), "RUNNING") })
	out, err := exec.Command("pgrep", "-o", "-P", fmt.Sprint(cmd.Process.Pid), "-x", "stoker").Output()
	if err != nil {
		t.Fatalf("no supervisor: %v", err)
	}
	if err := exec.Command("kill", "-KILL", strings.TrimSpace(string(out))).Run(); err != nil {
		t.Fatal(err)
	}
	<-time.After(2500 * time.Millisecond) // longer than AckWait
	if n := c.info().NumRedelivered; n != 0 {
		t.Errorf("%d messages came again", n)
	}
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, c.await(2), executor.Succeeded, executor.Failed)
	shell("stopped", "exec sleep 1000")
	poll(t, "the job runs", func() bool {
		text, err := os.ReadFile(dir + "/ledger")
		return err == nil && strings.Contains(string(text), "stopped")
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its code is that of the service
	want(t, c.await(3), executor.Succeeded, executor.Failed, executor.Killed)
	ledger, err := os.ReadFile(dir + "/ledger")
	trace := " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	lines := strings.Split(strings.TrimSpace(string(ledger)), "\n")
	if err != nil || !slices.Equal(lines, []string{"quick" + trace, "long" + trace, "stopped" + trace}) {
		t.Errorf("ledger %q, %v", lines, err)
	}
}

// latencyVariable asks for TestStartLatency.
const latencyVariable = "MEASURE_NATS"

// TestStartLatency measures the time from the publication of a message to the start of its process.
func TestStartLatency(t *testing.T) {
	if os.Getenv(latencyVariable) == "" {
		t.Skip(latencyVariable + "=1 measures")
	}
	s := startServer(t, nil)
	c := dial(t, s.ClientURL())
	c.setUp(1, func(_ *jetstream.StreamConfig, c *jetstream.ConsumerConfig) {
		c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyPrioritized, []string{"jobs"}
	})
	box := startContainer(t, s.ClientURL(), 4, func(c *container) { c.host.begun = make(chan time.Time, 1) })
	box.awaitStatus("attached")
	const jobs = 500
	var took []time.Duration
	for k := range jobs {
		began := time.Now()
		if err := c.nc.Publish("jobs.new", fmt.Appendf(nil, `{"command":["true","%d"]}`, k)); err != nil {
			t.Fatal(err)
		}
		took = append(took, (<-box.host.begun).Sub(began))
		poll(t, "the end", func() bool { return box.jobs.ExecutorStatus().Running == 0 })
	}
	slices.Sort(took)
	t.Logf("publish to start: p50 %v, p90 %v, p99 %v", took[jobs/2], took[jobs*9/10], took[jobs*99/100])
}
