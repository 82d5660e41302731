package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// box is one peer as PID 1 of its own PID namespace.
type box struct {
	peer   string
	cmd    *exec.Cmd
	fifo   *os.File
	output *os.File
	marks  chan mark
	ns     string
	dir    string
}

// mark is one line of the probe: its name, and the time in nanoseconds of CLOCK_MONOTONIC.
type mark struct {
	name string
	at   int64
}

// open starts p with services that write to a FIFO, and returns when p is about to be executed, with that time.
func (b *bench) open(p peer, services func(fifo string) []service) (*box, int64, error) {
	return b.openTo(p, nil, services)
}

// openTo is open with a stdout for the services; nil: a file.
func (b *bench) openTo(p peer, stdout *os.File, services func(fifo string) []service) (*box, int64, error) {
	dir, err := os.MkdirTemp(b.work, "box-")
	if err != nil {
		return nil, 0, err
	}
	path := filepath.Join(b.work, filepath.Base(dir)+".fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return nil, 0, fmt.Errorf("cannot make the FIFO %s: %w", path, err)
	}
	// Opened for both, so that there is no end of file between two probes.
	fifo, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open the FIFO %s: %w", path, err)
	}
	command, err := p.command(dir, services(path))
	if err != nil {
		return nil, 0, err
	}
	x := &box{peer: p.name, fifo: fifo, marks: make(chan mark, 1024), dir: dir}
	x.cmd = exec.Command(b.probe, append([]string{"launch", path}, command...)...)
	x.cmd.Dir = "/"
	x.cmd.Env = append(os.Environ(), "BENCH_FIFO="+path)
	x.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Setsid:     true,
		Pdeathsig:  syscall.SIGKILL,
	}
	if x.output, err = os.CreateTemp(b.work, "output-"); err != nil {
		return nil, 0, err
	}
	x.cmd.Stdout, x.cmd.Stderr = x.output, x.output
	if stdout != nil {
		x.cmd.Stdout = stdout
	}
	if err := x.cmd.Start(); err != nil {
		return nil, 0, fmt.Errorf("cannot start %s: %w", p.name, err)
	}
	go x.read() // ends when close closes the FIFO
	launched, err := x.waitMark("launch")
	if err == nil {
		x.ns, err = os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", x.cmd.Process.Pid))
	}
	if err != nil {
		x.close()
		return nil, 0, err
	}
	return x, launched, nil
}

func (x *box) read() {
	lines := bufio.NewScanner(x.fifo)
	for lines.Scan() {
		name, at, _ := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseInt(at, 10, 64); err == nil {
			x.marks <- mark{name, n}
		}
	}
}

// waitMark returns the time of the next mark of name; "" is any name.
func (x *box) waitMark(name string) (int64, error) {
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	for {
		select {
		case m := <-x.marks:
			if name == "" || m.name == name {
				return m.at, nil
			}
		case <-deadline.C:
			return 0, fmt.Errorf("cannot measure %s: nothing was heard of its services for 60 s; its output ends with %q", x.peer, x.tail())
		}
	}
}

// tail returns the end of the output of PID 1 and its services.
func (x *box) tail() string {
	const most = 500
	data, err := os.ReadFile(x.output.Name())
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-most):])
}

// close kills PID 1, and the kernel kills the rest of the namespace.
func (x *box) close() {
	_ = x.cmd.Process.Kill()
	_ = x.cmd.Wait() // always the status of the kill
	x.fifo.Close()
	x.output.Close()
	os.Remove(x.output.Name())
	os.RemoveAll(x.dir)
}

// processes returns the pids of the peer's own processes, and those of the probe.
func (x *box) processes() (own, services []int, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if ns, err := os.Readlink("/proc/" + e.Name() + "/ns/pid"); err != nil || ns != x.ns {
			continue
		}
		// A service is identified by its executable, since argv may change.
		if text, err := os.Readlink("/proc/" + e.Name() + "/exe"); err == nil && filepath.Base(text) == "probe" {
			services = append(services, pid)
		} else if err == nil {
			own = append(own, pid)
		}
	}
	return own, services, nil
}
