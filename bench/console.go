package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	consoleRounds = 5    // of throughput
	consoleKeys   = 2000 // of echo
	consoleIdle   = 50   // sessions
	terminalFlood = "seq 1 1000000"
	pipeFlood     = "head -c 268435456 /dev/zero"
)

// consoleBox is stoker with a console.
type consoleBox struct {
	*box
	socket string
}

// openConsole starts the stoker.
func (b *bench) openConsole() (*consoleBox, error) {
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
		_, err = fmt.Fprintf(f, "console: {enabled: true, sessions: %[1]d, sessions_per_client: %[1]d}\n", 2*consoleIdle)
		return args, err
	}
	x, _, err := b.open(p, b.probes(1))
	if err != nil {
		return nil, err
	}
	c := &consoleBox{box: x, socket: filepath.Join(x.dir, "api.sock")}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s, err := c.session(false, "true")
		if err == nil {
			s.Close()
			return c, nil
		}
		if time.Now().After(end) {
			x.close()
			return nil, fmt.Errorf("the console does not answer: %w; stoker's output ends with %q", err, x.tail())
		}
	}
}

// session is a websocket of v5.channel.k8s.io.
type session struct {
	net.Conn
	in *bufio.Reader
}

// session opens a session with a command of the shell.
func (c *consoleBox) session(terminal bool, command string) (*session, error) {
	conn, err := net.Dial("unix", c.socket)
	if err != nil {
		return nil, err
	}
	s := &session{conn, bufio.NewReaderSize(conn, 64<<10)}
	query := url.Values{"command": {"sh", "-c", "exec " + command}, "stdin": {"true"}, "stdout": {"true"}}
	if terminal {
		query.Set("tty", "true")
	}
	_, err = fmt.Fprintf(conn, "GET /v1/exec?%s HTTP/1.1\r\nHost: stoker\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
		query.Encode())
	if err == nil {
		err = s.upgraded()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// upgraded reads the answer.
func (s *session) upgraded() error {
	answer, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		answer.Body.Close()
		return fmt.Errorf("%s: %s", answer.Status, body)
	}
	return nil
}

// send sends up to 124 bytes of input, with a mask of zeros.
func (s *session) send(text string) error {
	_, err := s.Write(append([]byte{0x82, 0x80 | byte(len(text)+1), 0, 0, 0, 0, 0}, text...))
	return err
}

// next returns how many bytes of output the next message has; io.EOF: the session is over.
func (s *session) next() (int, error) {
	var head [8]byte
	if _, err := io.ReadFull(s.in, head[:2]); err != nil {
		return 0, err
	}
	length := int64(head[1])
	opcode := head[0] & 0x0f
	var err error
	switch length {
	case 126:
		_, err = io.ReadFull(s.in, head[:2])
		length = int64(binary.BigEndian.Uint16(head[:]))
	case 127:
		_, err = io.ReadFull(s.in, head[:])
		length = int64(binary.BigEndian.Uint64(head[:]))
	}
	if err != nil {
		return 0, err
	}
	if opcode == 8 {
		return 0, io.EOF
	}
	channel, err := s.in.ReadByte()
	if err == nil {
		_, err = s.in.Discard(int(length - 1))
	}
	if err != nil || channel != 1 {
		return 0, err
	}
	return int(length - 1), nil
}

// flood measures MB/s of a command's output.
func (c *consoleBox) flood(terminal bool, command string) (float64, error) {
	began := time.Now()
	s, err := c.session(terminal, command)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	total := 0
	for {
		n, err := s.next()
		total += n
		if errors.Is(err, io.EOF) {
			return float64(total) / 1e6 / time.Since(began).Seconds(), nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// rawTerminal measures a terminal that is read in a loop.
func rawTerminal(command string) (float64, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, err
	}
	defer master.Close()
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return 0, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		return 0, err
	}
	total, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{master}, make([]byte, 32<<10)) // ends with EIO
	if !errors.Is(err, syscall.EIO) {
		return 0, err
	}
	return float64(total) / 1e6 / time.Since(began).Seconds(), cmd.Wait()
}

// rawPipe measures a pipe whose output goes through one copy, over a socket.
func rawPipe(command string) (float64, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	to, from := os.NewFile(uintptr(fds[0]), "to"), os.NewFile(uintptr(fds[1]), "from")
	defer from.Close()
	began := time.Now()
	cmd := exec.Command("sh", "-c", "exec "+command)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		to.Close()
		return 0, err
	}
	go func() { // ends with the command
		defer to.Close()
		_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{out}, make([]byte, 32<<10)) // the total tells
	}()
	total, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{from}, make([]byte, 64<<10))
	if err != nil {
		return 0, err
	}
	return float64(total) / 1e6 / time.Since(began).Seconds(), cmd.Wait()
}

// echo measures how long a key takes to come back, in ms.
func (c *consoleBox) echo() ([]float64, error) {
	s, err := c.session(true, "cat")
	if err != nil {
		return nil, err
	}
	defer s.Close()
	time.Sleep(100 * time.Millisecond)
	times := make([]float64, 0, consoleKeys)
	for range consoleKeys {
		began := time.Now()
		if err := s.send("x"); err != nil {
			return nil, err
		}
		for n := 0; n == 0; {
			if n, err = s.next(); err != nil {
				return nil, err
			}
		}
		times = append(times, since(began))
		if len(times)%1000 == 0 { // a line of a terminal has at most 4096 bytes
			if err := s.send("\x15"); err != nil {
				return nil, err
			}
			time.Sleep(50 * time.Millisecond)
			_ = s.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			for err == nil {
				_, err = s.next()
			}
			_ = s.SetReadDeadline(time.Time{})
		}
	}
	slices.Sort(times)
	return times, nil
}

// idleMemory measures KiB of stoker for each session that does nothing.
func (c *consoleBox) idleMemory() (float64, error) {
	use := func() (float64, error) {
		time.Sleep(2 * time.Second)
		var own []int
		all, _, err := c.processes()
		for _, pid := range all {
			if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && strings.TrimSpace(string(name)) == stokerName {
				own = append(own, pid)
			}
		}
		if err != nil {
			return 0, err
		}
		u, err := measureUsage(own)
		return u.pss * 1024, err
	}
	before, err := use()
	if err != nil {
		return 0, err
	}
	for range consoleIdle {
		s, err := c.session(true, "cat")
		if err != nil {
			return 0, err
		}
		defer s.Close()
	}
	after, err := use()
	return (after - before) / consoleIdle, err
}

// console measures sessions of the console beside a raw terminal and a raw pipe.
func (b *bench) console() (string, error) {
	c, err := b.openConsole()
	if err != nil {
		return "", err
	}
	defer c.close()
	rates := map[string][]float64{}
	for range consoleRounds {
		for _, way := range []struct {
			name string
			run  func() (float64, error)
		}{
			{"raw terminal", func() (float64, error) { return rawTerminal(terminalFlood) }},
			{"terminal", func() (float64, error) { return c.flood(true, terminalFlood) }},
			{"raw pipe", func() (float64, error) { return rawPipe(pipeFlood) }},
			{"pipe", func() (float64, error) { return c.flood(false, pipeFlood) }},
		} {
			v, err := way.run()
			if err != nil {
				return "", fmt.Errorf("%s: %w", way.name, err)
			}
			rates[way.name] = append(rates[way.name], v)
		}
	}
	memory, err := c.idleMemory()
	if err != nil {
		return "", err
	}
	keys, err := c.echo()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString("\n| console | goal | stoker | raw | of raw |\n|---|---|---:|---:|---:|\n")
	for _, row := range []struct{ what, goal, stoker, raw string }{
		{terminalFlood + " in a terminal (MB/s)", ">= 0.8x", "terminal", "raw terminal"},
		{"256 MiB through a pipe (MB/s), raw: one copy to a socket", ">= 0.5x", "pipe", "raw pipe"},
	} {
		v, _ := median(rates[row.stoker])
		raw, _ := median(rates[row.raw])
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %sx |\n", row.what, row.goal, figure(v), figure(raw), figure(v/raw))
	}
	fmt.Fprintf(&out, "| echo of a key, median (ms) | <= 0.1 | %s | - | - |\n| echo of a key, 99th percentile (ms) | <= 1 | %s | - | - |\n"+
		"| memory of an idle session, PSS (KiB) | <= 100 | %s | - | - |\n",
		figure(keys[len(keys)/2]), figure(keys[len(keys)*99/100]), figure(memory))
	return out.String(), nil
}
