//go:build container

package tests

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
)

// host is a folder of containers with an agent.
type host struct {
	t      *testing.T
	dir    string // of the containers is dir/c
	boxes  []*box
	socket string // of the agent

	mu    sync.Mutex
	agent *exec.Cmd
}

// newHost starts containers of the application 1, each with one service and some slots.
func newHost(t *testing.T, containers, slots int) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "host") // t.TempDir() may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{t: t, dir: dir, socket: filepath.Join(dir, "agent.sock")}
	h.boxes = make([]*box, containers)
	for k := range containers {
		own := filepath.Join(dir, fmt.Sprintf("own-%02d", k))
		for _, folder := range []string{own, h.container(k)} {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		h.boxes[k] = newBox(t, boxOptions{dir: own, socket: filepath.Join(h.container(k), "stoker.sock"), config: fmt.Sprintf(`
main: app
services:
  app: {command: [sleep, "98437"]}
labels: {appid: "1"}
executor: {journal: %s/jobs, slots: %d, queue: 1000}
`, own, slots)})
	}
	for k, b := range h.boxes {
		await(t, time.Minute, fmt.Sprintf("the executor of container %d", k), func() bool {
			_, err := jobs.Dial(b.socket).Status(t.Context())
			return err == nil
		})
	}
	h.start()
	t.Cleanup(h.kill)
	return h
}

func (h *host) container(k int) string { return filepath.Join(h.dir, "c", fmt.Sprintf("c%02d", k)) }

// start starts the agent.
func (h *host) start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.agent = exec.Command(stoker(h.t), "agent", "run", "--dir", filepath.Join(h.dir, "c"), "--listen", h.socket)
	if err := h.agent.Start(); err != nil {
		h.t.Error(err)
	}
}

// kill kills the agent.
func (h *host) kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.agent.Process.Kill()
	_ = h.agent.Wait()
}

// ask asks the agent, over its deaths.
func (h *host) ask() *jobs.Client {
	c := jobs.New(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.socket)
	}}, "http://stoker")
	c.Patience = 30 * time.Second
	return c
}

// agentCommand runs a command on the folder of the containers.
func (h *host) agentCommand(args ...string) (string, error) {
	cmd := exec.Command(stoker(h.t), append([]string{"agent", args[0], "--dir", filepath.Join(h.dir, "c")}, args[1:]...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The agent is killed at random moments while jobs with keys are submitted, and supervisors too: each job runs once, and its end is
// known. STOKER_AGENT_CONTAINERS and STOKER_AGENT_JOBS set the numbers.
func TestAgentIsKilled(t *testing.T) {
	t.Parallel()
	h := newHost(t, number(t, "STOKER_AGENT_CONTAINERS", 6), 2)
	count := number(t, "STOKER_AGENT_JOBS", 200)
	ledger := filepath.Join(h.dir, "ledger")
	stop, killed := make(chan struct{}), 0
	var killing, clients sync.WaitGroup
	killing.Go(func() { // ends with stop
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(len(h.boxes)*(3+rand.IntN(25))) * time.Millisecond):
			}
			h.kill()
			if killed++; killed%3 == 0 {
				if pid := h.boxes[rand.IntN(len(h.boxes))].supervisor(); pid != 0 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			h.start()
		}
	})
	const submitters = 8
	for client := range submitters {
		clients.Go(func() { // ends with its jobs
			c := h.ask()
			for k := client; k < count; k += submitters {
				key := fmt.Sprintf("job-%d", k)
				spec := executor.Spec{Key: key, Labels: map[string]string{"appid": "1"},
					Command: []string{"sh", "-c", `echo "$1" >>"$2"; sleep 0.02`, "job", key, ledger}}
				for end := time.Now().Add(2 * time.Minute); ; {
					_, _, err := c.Submit(t.Context(), spec)
					if err == nil {
						break
					}
					if status := answered(err); status != 0 && status != 503 || time.Now().After(end) {
						t.Errorf("%s: %v", key, err)
						return
					}
					pass(20 * time.Millisecond)
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	killing.Wait()
	c := h.ask()
	for k := range count {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		job, err := c.Wait(ctx, fmt.Sprintf("key:job-%d", k), nil)
		if cancel(); err != nil || job.State != executor.Succeeded {
			t.Errorf("job-%d is %s (%s): %v", k, job.State, job.Reason, err)
		}
	}
	text, err := os.ReadFile(ledger)
	if err != nil {
		t.Fatal(err)
	}
	starts := map[string]int{}
	for _, key := range strings.Fields(string(text)) {
		starts[key]++
	}
	for k := range count {
		if n := starts[fmt.Sprintf("job-%d", k)]; n != 1 {
			t.Errorf("job-%d ran %d times", k, n)
		}
	}
	t.Logf("%d jobs in %d containers, the agent was killed %d times", len(starts), len(h.boxes), killed)
	if killed < 3 || len(starts) != count {
		t.Error("the test has not tried enough")
	}
}

// A frozen container holds up no other: not the submission of jobs, the list, the metrics, nor a restart over containers.
func TestAgentOfFrozenContainer(t *testing.T) {
	t.Parallel()
	h := newHost(t, 4, 2)
	frozen := h.boxes[1]
	pids := map[int]int{}
	for k, b := range h.boxes {
		b.awaitState("app", "RUNNING", 10*time.Second)
		st, _ := b.status()
		app, _ := st.service("app")
		pids[k] = app.Pid
	}
	supervisor := frozen.supervisor()
	halt(t, frozen.init) // it would resume its supervisor
	halt(t, supervisor)
	defer frozen.signal(syscall.SIGCONT)
	begun := time.Now()
	c := h.ask()
	for range 6 {
		spec := executor.Spec{Command: []string{"sleep", "98438"}, Labels: map[string]string{"appid": "1"}}
		if _, _, err := c.Submit(t.Context(), spec); err != nil {
			t.Error(err)
		}
	}
	await(t, 10*time.Second, "the start of 6 jobs in 6 slots", func() bool {
		list, err := c.Jobs(t.Context(), executor.Filter{States: []executor.State{executor.Running}})
		return err == nil && len(list) == 6
	})
	resp, err := (&http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", h.socket)
	}}}).Get("http://agent/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(resp.Body)
	for _, want := range []string{`stoker_ready{container="c00",appid="1"} 1`, `stoker_agent_container_up{container="c01"} 0`,
		`stoker_agent_container_up{container="c02",appid="1"} 1`} {
		if !bytes.Contains(metrics, []byte(want+"\n")) {
			t.Errorf("the metrics have no %s: %v", want, err)
		}
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if out, err := h.agentCommand("ps"); err != nil || !strings.Contains(out, "error: no answer within 2s") || strings.Count(out, "app RUNNING") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
	out, err := h.agentCommand("restart", "app", "--label", "appid=1")
	lines := strings.Split(out, "\n")
	slices.Sort(lines[:min(4, len(lines))])
	if exitCode(err) != 1 || len(lines) < 5 || !strings.HasPrefix(out, "c00: ready again\nc01: no answer") ||
		!strings.HasPrefix(lines[4], "stoker: cannot restart app everywhere: 1 containers are left") {
		t.Errorf("%v\n%s", err, out)
	}
	for k, b := range h.boxes {
		if b == frozen {
			continue
		}
		st, _ := b.status()
		if app, _ := st.service("app"); app.State != "RUNNING" || app.Pid == pids[k] {
			t.Errorf("the service of container %d is %s with pid %d, which was %d", k, app.State, app.Pid, pids[k])
		}
	}
}
