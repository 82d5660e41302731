package console

import (
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// BenchmarkSession compares sessions with a loop that reads the terminal or the pipe itself, in the same run: medians of five, in turns.
func BenchmarkSession(b *testing.B) {
	for b.Loop() {
		for _, line := range container(b, "bench") {
			if name, value, ok := strings.Cut(line, " "); ok {
				n, _ := strconv.ParseFloat(value, 64)
				b.ReportMetric(n, name)
			}
		}
	}
}

// benchRounds is the number of measurements of each kind.
const benchRounds = 5

func playBench(s *stage) {
	lines := []string{"/bin/sh", "-c", "seq 1 2000000"}
	zeros := []string{"/bin/sh", "-c", "head -c 1G /dev/zero"}
	kinds := map[string]func() float64{
		"pty-raw-MB/s":      func() float64 { return s.rawTerminal(lines) },
		"pty-session-MB/s":  func() float64 { return s.session(lines, true) },
		"pipe-raw-MB/s":     func() float64 { return s.rawPipe(zeros) },
		"pipe-session-MB/s": func() float64 { return s.session(zeros, false) },
		"echo-raw-us":       s.rawEcho,
		"echo-session-us":   s.echo,
	}
	results := map[string][]float64{}
	for range benchRounds {
		for name, measure := range kinds {
			results[name] = append(results[name], measure())
		}
	}
	for name, r := range results {
		slices.Sort(r)
		s.say("%s %.1f", name, r[len(r)/2])
	}
	s.say("pty-share %.2f", results["pty-session-MB/s"][benchRounds/2]/results["pty-raw-MB/s"][benchRounds/2])
	s.say("pipe-share %.2f", results["pipe-session-MB/s"][benchRounds/2]/results["pipe-raw-MB/s"][benchRounds/2])
	s.say("end")
}

// start starts a process without a session.
func (s *stage) start(id string, argv []string, io proc.Stdio) *proc.Process {
	p, err := s.m.Start(context.Background(), proc.Spec{ID: proc.CookieVar + id + strconv.FormatInt(time.Now().UnixNano(), 36), Argv: argv,
		Env: os.Environ(), Stdio: io})
	if err != nil {
		s.say("FAIL %v", err)
	}
	return p
}

// rate reads to the end, and returns MB/s.
func rate(r io.Reader) float64 {
	begun, total := time.Now(), 0
	for buf := make([]byte, 32<<10); ; {
		n, err := r.Read(buf)
		if total += n; err != nil {
			return float64(total) / time.Since(begun).Seconds() / 1e6
		}
	}
}

func (s *stage) rawTerminal(argv []string) float64 {
	p := s.start("tty", argv, proc.Stdio{Mode: proc.Pty})
	defer p.Done()
	return rate(p.Terminal())
}

func (s *stage) rawPipe(argv []string) float64 {
	r, w, _ := os.Pipe()
	p := s.start("pipe", argv, proc.Stdio{Mode: proc.Files, Files: [3]*os.File{nil, w, w}})
	defer p.Done()
	w.Close()
	defer r.Close()
	return rate(r)
}

// reader reads a link.
type reader struct{ l *Link }

func (r *reader) Read(p []byte) (int, error) {
	c, err := r.l.Next(context.Background())
	return len(c.Data), err // the data itself is not copied again
}

func (s *stage) session(argv []string, tty bool) float64 {
	_, l := s.open(Spec{Command: argv, TTY: tty})
	defer l.Close()
	return rate(&reader{l})
}

const keys = 2000

func (s *stage) rawEcho() float64 {
	p := s.start("echo", []string{"/bin/cat"}, proc.Stdio{Mode: proc.Pty})
	defer p.Done()
	defer p.SignalGroup(9)
	t, buf := p.Terminal(), make([]byte, 16)
	begun := time.Now()
	for range keys {
		_, _ = t.Write([]byte("x"))
		_, _ = t.Read(buf)
	}
	return float64(time.Since(begun).Microseconds()) / keys
}

func (s *stage) echo() float64 {
	_, l := s.open(Spec{Command: []string{"/bin/cat"}, TTY: true, Stdin: true})
	defer l.Close()
	begun := time.Now()
	for range keys {
		_ = l.Write([]byte("x"))
		_, _ = l.Next(context.Background())
	}
	return float64(time.Since(begun).Microseconds()) / keys
}
