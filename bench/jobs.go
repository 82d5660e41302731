package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/executor/client"
)

const (
	jobRounds   = 500 // of a raw start and a job through the socket
	slowRounds  = 25  // of all ways
	jobClients  = 8
	jobTime     = 5 * time.Second // of jobClients
	jobCommand  = "/bin/true"
	dockerImage = "stoker-bench"
)

// jobBox is stoker with an executor.
type jobBox struct {
	*box
	client *client.Client
	socket string
	ready  float64 // ms from its execution to the first answer
}

// openJobs starts the stoker with a journal in a folder.
func (b *bench) openJobs(journal string) (*jobBox, error) {
	p := b.peers[0]
	if p.name != stokerName {
		return nil, errors.New("there is no stoker: run make build")
	}
	p.args = func(dir string, services []service) ([]string, error) {
		args, err := stokerArgs(dir, services)
		if err != nil {
			return nil, err
		}
		f, err := os.OpenFile(args[2], os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		_, err = fmt.Fprintf(f, "executor: {slots: %d, journal: %s, keep: {jobs: 1000000}}\n", jobClients, journal)
		return args, err
	}
	x, launched, err := b.open(p, b.probes(1))
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(x.dir, "api.sock")
	j := &jobBox{box: x, client: client.Dial(socket), socket: socket}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, err = j.client.Status(ctx); err != nil && ctx.Err() == nil; _, err = j.client.Status(ctx) {
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		err = fmt.Errorf("the executor does not answer: %w; its output ends with %q", err, x.tail())
		x.close()
		return nil, err
	}
	j.ready = float64(monotonic()-launched) / 1e6
	return j, nil
}

// run submits a job and waits until its end is seen.
func (j *jobBox) run() error {
	job, _, err := j.client.Submit(context.Background(), executor.Spec{Command: []string{jobCommand}})
	if err == nil {
		job, err = j.client.Wait(context.Background(), job.ID.String(), nil)
	}
	if err == nil && job.State != executor.Succeeded {
		err = fmt.Errorf("job %s is %s: %s", job.ID, job.State, job.Reason)
	}
	return err
}

// rate returns how many jobs a second several clients get done.
func (j *jobBox) rate() (float64, error) {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var clients sync.WaitGroup
	began := time.Now()
	for range jobClients {
		clients.Go(func() { // ends with the time, or with an error
			for time.Since(began) < jobTime && failed.Load() == nil {
				if err := j.run(); err != nil {
					failed.Store(&err)
				}
				done.Add(1)
			}
		})
	}
	clients.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / time.Since(began).Seconds(), nil
}

// way is one way to run the command and see its end.
type way struct {
	name string
	run  func() error
}

// jobWays are the ways that this machine has, the raw one and the socket first.
func (b *bench) jobWays(j *jobBox) (ways []way, end func()) {
	command := func(name string, args ...string) func() error {
		return func() error {
			cmd := exec.Command(name, args...)
			cmd.Env = append(os.Environ(), "STOKER_SOCKET="+j.socket)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
			}
			return nil
		}
	}
	ways = []way{{"raw fork+exec+wait", rawSpawn}, {"job through the socket", j.run},
		{"stoker job run", command(b.peers[0].program, "job", "run", "--", jobCommand)}}
	container, err := startContainer()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: docker is left out:", err)
		return ways, func() {}
	}
	return append(ways, way{"docker exec", command("docker", "exec", container, jobCommand)},
			way{"docker run", command("docker", "run", "--rm", "--network", "none", dockerImage, jobCommand)}), func() {
			_ = command("docker", "rm", "-f", container)() // what is left over shows in docker ps
			_ = command("docker", "rmi", dockerImage)()
		}
}

// startContainer starts a container with the command and what it needs of this machine.
func startContainer() (id string, err error) {
	const script = `set -eu
libraries=$(ldd "$1" /bin/sleep | grep -o '/[^ ]* (' | tr -d '( ' | sort -u)
tar -chPC / --hard-dereference "$1" /bin/sleep $libraries | docker import - "$2" >/dev/null
docker run -d --network none "$2" /bin/sleep 3600`
	text, err := exec.Command("sh", "-c", script, "sh", jobCommand, dockerImage).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return strings.TrimSpace(string(text)), err
}

// measureWays adds the ms of each way in each round, so that other load affects all alike.
func measureWays(ways []way, rounds int, times map[string][]float64) error {
	for range rounds {
		for _, w := range ways {
			began := time.Now()
			if err := w.run(); err != nil {
				return err
			}
			times[w.name] = append(times[w.name], since(began))
		}
	}
	return nil
}

// jobs measures a job beside other ways to run its command, and the rate of several clients.
func (b *bench) jobs() (text string, err error) {
	fmt.Fprintf(os.Stderr, "jobs: %d rounds\n", jobRounds)
	j, err := b.openJobs(filepath.Join(b.work, "jobs"))
	if err != nil {
		return "", err
	}
	defer j.close()
	ways, end := b.jobWays(j)
	defer end()
	times := map[string][]float64{}
	if err := measureWays(ways[:2], jobRounds, times); err != nil {
		return "", err
	}
	rate, err := j.rate()
	if err != nil {
		return "", err
	}
	if err := measureWays(ways, slowRounds, times); err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "\n| %s, started and its end seen | median (ms) | ratio |\n|---|---:|---:|\n", jobCommand)
	raw, _ := median(times[ways[0].name])
	for _, w := range ways {
		v, _ := median(times[w.name])
		fmt.Fprintf(&out, "| %s | %s | %sx |\n", w.name, figure(v), figure(v/raw))
	}
	fmt.Fprintf(&out, "\n%d clients at the same time: %.0f jobs/s (goal 800; one of them at most 3 times raw).\n", jobClients, rate)
	return out.String(), nil
}
