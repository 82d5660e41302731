package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/pid1"
	"github.com/stoker-init/stoker/internal/proc"
)

// Names under which this program executes itself to measure a start through internal/proc, which needs an init as its parent.
const (
	spawnInit       = "bench-spawn-init"
	spawnSupervisor = "bench-spawn-supervisor"
)

// spawnCount is the number of measured starts of /bin/true per way.
const spawnCount = 1500

// spawnWays are the ways to start /bin/true and wait for its exit.
func spawnWays() []string {
	return []string{"raw fork+exec+wait", "internal/proc", "with captured output"}
}

// runSpawnRole runs the role that argv[0] names; false: none.
func runSpawnRole() bool {
	switch os.Args[0] {
	case spawnInit, hooksInit:
		supervisor := map[string]string{spawnInit: spawnSupervisor, hooksInit: hooksSupervisor}[os.Args[0]]
		sigs := pid1.Catch()
		os.Exit(pid1.Run(sigs, pid1.Options{Args: []string{supervisor, os.Args[1]}, Env: os.Environ(), Log: os.Stderr}))
	case spawnSupervisor, hooksSupervisor:
		pid1.Catch()
		measure := map[string]func(string) error{spawnSupervisor: measureSpawns, hooksSupervisor: measureHooks}[os.Args[0]]
		if err := measure(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	default:
		return false
	}
	return true
}

// asSupervisor runs this program as a supervisor below an init in a new PID namespace, and returns the file that it has written.
func (b *bench) asSupervisor(init, name string) ([]byte, error) {
	out := b.work + "/" + name + ".json"
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("unshare", "-pf", "--mount-proc", "--kill-child", "bash", "-c", `exec -a "$0" "$@"`, init, self, out)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// spawns runs the measurement as PID 1 of a namespace and returns the times in ms.
func (b *bench) spawns() ([]row, error) {
	fmt.Fprintf(os.Stderr, "spawn: %d starts of /bin/true, each way\n", spawnCount)
	data, err := b.asSupervisor(spawnInit, "spawns")
	if err != nil {
		return nil, fmt.Errorf("cannot measure starts: %w", err)
	}
	r := newRow("start and end of /bin/true, one at a time", "ms", "<= 1.5x raw; with output <= 1.8x")
	return []row{r}, json.Unmarshal(data, &r.values)
}

// measureSpawns measures all ways in the supervisor process.
func measureSpawns(out string) error {
	m, _, err := proc.Connect(initproto.SocketFD, proc.Options{})
	if err != nil {
		return err
	}
	m.Adopted()
	log, err := m.Logs.Open("true", logs.Options{})
	if err != nil {
		return err
	}
	times := map[string][]float64{}
	for n := range spawnCount {
		for k, way := range spawnWays() {
			began := time.Now()
			switch k {
			case 0:
				err = rawSpawn()
			case 1:
				err = procSpawn(m, fmt.Sprintf("plain.%d", n), proc.Stdio{})
			case 2:
				err = procSpawn(m, fmt.Sprintf("log.%d", n), proc.Stdio{Mode: proc.Capture, Log: log})
			}
			if err != nil {
				return fmt.Errorf("%s: %w", way, err)
			}
			times[way] = append(times[way], float64(time.Since(began))/1e6)
		}
	}
	data, err := json.Marshal(times)
	if err == nil {
		err = os.WriteFile(out, data, 0o644)
	}
	m.Final(0, 0)
	return err
}

// rawSpawn measures the kernel and Go's fork alone.
func rawSpawn() error {
	pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	if err != nil {
		return err
	}
	_, err = syscall.Wait4(pid, nil, 0, nil)
	return err
}

func procSpawn(m *proc.Manager, id string, stdio proc.Stdio) error {
	p, err := m.Start(context.Background(), proc.Spec{ID: id, Argv: []string{"/bin/true"}, Stdio: stdio})
	if err != nil {
		return err
	}
	<-p.Exited()
	p.Done()
	return nil
}

// spawnTable prints the medians with their ratio to the raw start.
func spawnTable(r row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | median (%s) | ratio | per second |\n|---|---:|---:|---:|\n", r.what, r.unit)
	raw, _ := median(r.values[spawnWays()[0]])
	for _, way := range spawnWays() {
		if v, ok := median(r.values[way]); ok {
			sum := 0.0
			for _, t := range r.values[way] {
				sum += t
			}
			fmt.Fprintf(&b, "| %s | %s | %sx | %.0f |\n", way, figure(v), figure(v/raw), float64(len(r.values[way]))/sum*1000)
		}
	}
	return b.String()
}
