package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// outputSinks are where the output of a service goes to.
var outputSinks = []string{"stdout is a file", "stdout is a pipe", "output.file"}

// catName is the column that stoker is compared with: cat between the service and the sink.
const catName = "cat"

// outputRun is one measurement: ms of time and of cat's or stoker's processor time for each MiB.
type outputRun struct{ wall, cpu float64 }

// output measures lines of 100 bytes from a service through cat and through stoker to each sink.
func (b *bench) output() (string, error) {
	programs := []peer{{name: catName}}
	for _, p := range b.peers {
		if p.name == stokerName || strings.HasPrefix(p.name, stokerName+" ") {
			programs = append(programs, p)
		}
	}
	runs := map[string]map[string][]outputRun{}
	for round := range b.rounds {
		fmt.Fprintf(os.Stderr, "output: round %d of %d\n", round+1, b.rounds)
		for _, sink := range outputSinks {
			if runs[sink] == nil {
				runs[sink] = map[string][]outputRun{}
			}
			for k := range programs {
				p := programs[(k+round)%len(programs)]
				run, err := b.outputTime(p, sink)
				if err != nil {
					return "", err
				}
				runs[sink][p.name] = append(runs[sink][p.name], run)
			}
		}
	}
	return outputTable(programs, runs), nil
}

// outputTable has the medians, with their multiple of cat's.
func outputTable(programs []peer, runs map[string]map[string][]outputRun) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n| %d MiB of 100-byte lines, per MiB (ms; of cat) | measure |", linesSize)
	for _, p := range programs {
		fmt.Fprintf(&out, " %s |", p.name)
	}
	fmt.Fprint(&out, "\n|---|---|", strings.Repeat("---:|", len(programs)), "\n")
	for _, sink := range outputSinks {
		for _, measure := range []string{"time to the last line", "processor time"} {
			r := newRow(sink, "ms", "")
			for _, p := range programs {
				for _, run := range runs[sink][p.name] {
					v := run.wall
					if measure == "processor time" {
						v = run.cpu
					}
					r.add(p, v)
				}
			}
			fmt.Fprintf(&out, "| %s | %s |", sink, measure)
			raw, _ := median(r.values[catName])
			for _, p := range programs {
				v, _ := median(r.values[p.name])
				fmt.Fprintf(&out, " %s (%sx) |", figure(v), figure(v/raw))
			}
			fmt.Fprintln(&out)
		}
	}
	return out.String() + "\nGoal: 1.1x of cat.\n"
}

// outputTime measures one program. What is not read by then is in the sink: the time ends when the last byte is there.
func (b *bench) outputTime(p peer, sink string) (outputRun, error) {
	var stdout *os.File
	file := filepath.Join(b.work, "output-file")
	arrived := make(chan int64, 1)
	if sink == "stdout is a pipe" {
		w, err := countPipe(arrived)
		if err != nil {
			return outputRun{}, err
		}
		defer w.Close()
		stdout = w
	}
	p.args = outputArgs(p, sink, file)
	x, _, err := b.openTo(p, stdout, func(fifo string) []service {
		return []service{{"lines", []string{b.probe, "lines", fifo, strconv.Itoa(linesSize)}}}
	})
	if err != nil {
		return outputRun{}, err
	}
	defer x.close()
	defer os.Remove(file)
	begin, err := x.waitMark("begin")
	if err != nil {
		return outputRun{}, err
	}
	own, _, err := x.processes()
	if err != nil {
		return outputRun{}, err
	}
	before, err := measureUsage(own)
	if err != nil {
		return outputRun{}, err
	}
	end, err := x.waitMark("end")
	if err != nil {
		return outputRun{}, err
	}
	switch sink {
	case "stdout is a pipe":
		select {
		case at := <-arrived:
			end = max(end, at)
		case <-time.After(time.Minute):
			return outputRun{}, fmt.Errorf("%s has not passed on all after a minute", p.name)
		}
	case "stdout is a file":
		file = x.output.Name()
		fallthrough
	default:
		at, err := awaitSize(file, linesBytes)
		if err != nil {
			return outputRun{}, fmt.Errorf("cannot measure %s to %s: %w", p.name, sink, err)
		}
		end = max(end, at)
	}
	after, err := measureUsage(own)
	if err != nil {
		return outputRun{}, err
	}
	return outputRun{float64(end-begin) / 1e6 / linesSize, (after.cpu - before.cpu) / linesSize}, nil
}

// countPipe returns a pipe that is read, and the time when the last byte has arrived.
func countPipe(arrived chan<- int64) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() { // ends with the last byte, or when w is closed in all processes
		defer r.Close()
		buf := make([]byte, 128<<10)
		for n := 0; n < linesBytes; {
			got, err := readPipe(r, buf)
			if err != nil {
				return
			}
			n += got
		}
		arrived <- monotonic()
	}()
	return w, nil
}

// readPipe is read(2), without the poller.
func readPipe(f *os.File, buf []byte) (int, error) {
	n, err := unix.Read(int(f.Fd()), buf)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return max(n, 0), err
}

// awaitSize waits until a file has a size, and returns when.
func awaitSize(path string, size int64) (at int64, err error) {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Microsecond) {
		info, err := os.Stat(path)
		if err == nil && info.Size() >= size {
			return monotonic(), nil
		}
		if err != nil && !os.IsNotExist(err) {
			return 0, err
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("%s has not all %d bytes after a minute", path, size)
		}
	}
}

// outputArgs returns the arguments that run the service with its output to a sink.
func outputArgs(p peer, sink, file string) func(string, []service) ([]string, error) {
	if p.name == catName {
		return func(_ string, s []service) ([]string, error) {
			command := strings.Join(s[0].command, " ") + " | cat"
			if sink == "output.file" {
				command += " >" + file
			}
			return []string{"sh", "-c", command}, nil
		}
	}
	return func(dir string, s []service) ([]string, error) {
		args, err := p.args(dir, s)
		if err != nil {
			return nil, err
		}
		options := "overflow: block" // like cat: every line arrives
		if sink == "output.file" {
			options = fmt.Sprintf("format: none, keep: 128MiB, file: {path: %s, size: 1GiB}", file)
		}
		path := filepath.Join(dir, "stoker.yaml")
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		data = fmt.Appendf(data, "    output: {%s}\n", options)
		return args, os.WriteFile(path, data, 0o600)
	}
}
