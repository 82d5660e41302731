package nats_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/internal/freeport"
)

// nodeVariable has the options of a node, for a process of its own: only a process can be killed.
const nodeVariable = "NATS_TEST_NODE"

// node are the options of a node of a cluster.
type node struct {
	Name          string
	Port, Cluster int
	Routes        string
	Dir           string
}

func TestMain(m *testing.M) {
	text := os.Getenv(nodeVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var n node
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		panic(err)
	}
	s, err := server.NewServer(&server.Options{ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, JetStream: true, StoreDir: n.Dir,
		NoLog: true, Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: n.Cluster}, Routes: server.RoutesFromStr(n.Routes)})
	if err != nil {
		panic(err)
	}
	s.Start()
	s.WaitForShutdown()
}

// startCluster starts three nodes and returns their URLs and the processes by name.
func startCluster(t *testing.T) (urls string, nodes map[string]*os.Process) {
	t.Helper()
	const size = 3
	var ports [2 * size]int
	for k := range ports {
		ports[k] = freeport.For(t)
	}
	var all, routes []string
	for k := range size {
		all = append(all, fmt.Sprintf("nats://127.0.0.1:%d", ports[k]))
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[size+k]))
	}
	nodes = map[string]*os.Process{}
	for k := range size {
		n := node{Name: fmt.Sprintf("n%d", k), Port: ports[k], Cluster: ports[size+k], Routes: strings.Join(routes, ","), Dir: t.TempDir()}
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), nodeVariable+"="+string(text))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Stderr = os.Stderr
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		nodes[n.Name] = cmd.Process
	}
	return strings.Join(all, ","), nodes
}

// TestNodeKilled holds that each message is one start in one of three containers while a node of the cluster, which leads the consumer, is
// killed under load.
func TestNodeKilled(t *testing.T) {
	t.Parallel()
	urls, nodes := startCluster(t)
	c := dial(t, urls, nats.RetryOnFailedConnect(true))
	c.setUp(3, func(_ *jetstream.StreamConfig, c *jetstream.ConsumerConfig) { c.AckWait = 20 * time.Second })
	var boxes []*container
	for range 3 {
		boxes = append(boxes, startContainer(t, urls, 8, nil))
	}
	for _, box := range boxes {
		box.awaitStatus("attached")
	}
	const jobs = 600
	killed := ""
	for k := range jobs {
		if k == jobs/3 {
			killed = c.info().Cluster.Leader
			if err := nodes[killed].Kill(); err != nil {
				t.Fatal(err)
			}
		}
		m := nats.NewMsg("jobs.new")
		m.Data = fmt.Appendf(nil, `{"command":["run","%d"]}`, k)
		m.Header.Set(jetstream.MsgIDHeader, fmt.Sprint(k))
		retry(c, func(ctx context.Context) (*jetstream.PubAck, error) { return c.js.PublishMsg(ctx, m) })
	}
	states := map[string]string{}
	for _, r := range c.await(jobs) {
		states[r.Header.Get("Stoker-Key")] = r.Header.Get("Stoker-State")
	}
	for k := range jobs {
		key, starts := fmt.Sprint(k), 0
		for _, box := range boxes {
			starts += box.host.starts(key)
		}
		if starts != 1 || states[key] != string(executor.Succeeded) {
			t.Errorf("message %d: %d starts, %s", k, starts, states[key])
		}
	}
	t.Logf("killed %s, which led the consumer; %d messages came again", killed, c.info().NumRedelivered)
}
