package kernel

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machine is a network namespace in which programs run. The zero value is the namespace of the tests themselves.
type machine struct{ ns *os.File }

// in calls f on a thread in the namespace. f must not start goroutines that need it.
func (m machine) in(t *testing.T, f func()) {
	t.Helper()
	if m.ns == nil {
		f()
		return
	}
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	defer own.Close()
	must(t, unix.Setns(int(m.ns.Fd()), unix.CLONE_NEWNET))
	defer func() {
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // the thread stays in the wrong namespace
		}
		runtime.UnlockOSThread()
	}()
	f()
}

// output runs a program in the namespace, within a minute.
func (m machine) output(t *testing.T, name string, args ...string) (out []byte, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // not t.Context, which has ended when the test cleans up
	defer cancel()
	m.in(t, func() {
		out, err = exec.CommandContext(ctx, name, args...).CombinedOutput()
	})
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return out, err
}

// ip runs ip with the words of line, which must succeed.
func (m machine) ip(t *testing.T, line string) string {
	t.Helper()
	out, err := m.output(t, "ip", strings.Fields(line)...)
	must(t, err)
	return string(out)
}

// ipJSON runs ip -j with the words of line, and returns the objects that it prints.
func (m machine) ipJSON(t *testing.T, line string) (out []map[string]any) {
	t.Helper()
	text := m.ip(t, "-j "+line)
	if strings.TrimSpace(text) != "" {
		must(t, json.Unmarshal([]byte(text), &out))
	}
	return out
}

// pings reports whether an address answers to an echo request.
func (m machine) pings(t *testing.T, address string) bool {
	t.Helper()
	_, err := m.output(t, "ping", "-n", "-c3", "-i0.2", "-W5", address)
	return err == nil
}

// setting writes a file below /proc/sys/net of the namespace.
func (m machine) setting(t *testing.T, path, value string) {
	t.Helper()
	m.in(t, func() { must(t, os.WriteFile("/proc/sys/net/"+path, []byte(value), 0)) })
}

// mac returns the address of a link.
func (m machine) mac(t *testing.T, link string) (mac net.HardwareAddr) {
	t.Helper()
	m.in(t, func() {
		l, err := net.InterfaceByName(link)
		must(t, err)
		mac = l.HardwareAddr
	})
	return mac
}

// index returns the index of a link of the tests' own namespace.
func index(t *testing.T, link string) int {
	t.Helper()
	l, err := net.InterfaceByName(link)
	must(t, err)
	return l.Index
}

// peer is another host: a second namespace, at the far end of a veth pair.
type peer struct {
	machine
	Near string // the link in the namespace of the tests; it is down
	Far  string // the link of the peer; it is up
}

// newPeer makes a namespace that ends with the test. Duplicate address detection is quick in both: 100 ms, not 1 to 2 s.
func newPeer(t *testing.T) peer {
	t.Helper()
	isolated(t)
	p := peer{Near: "near0", Far: "far0"}
	p.ns = newNamespace(t)
	machine{}.ip(t, fmt.Sprintf("link add %s type veth peer name %s netns /proc/%d/fd/%d", p.Near, p.Far, os.Getpid(), p.ns.Fd()))
	t.Cleanup(func() {
		_ = exec.Command("ip", "link", "del", p.Near).Run() // the test may have renamed or removed it
	})
	quick(t, machine{}, p.Near)
	quick(t, p.machine, p.Far)
	p.ip(t, "link set lo up")
	p.ip(t, "link set "+p.Far+" up")
	return p
}

// newNamespace makes an empty network namespace that lasts until the end of the test.
func newNamespace(t *testing.T) *os.File {
	t.Helper()
	type result struct {
		ns  *os.File
		err error
	}
	made := make(chan result)
	// It ends at once, and its thread, which is never unlocked, with it.
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{nil, err}
			return
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		made <- result{ns, err}
	}()
	r := <-made
	must(t, r.err)
	t.Cleanup(func() { r.ns.Close() })
	return r.ns
}

// quick shortens duplicate address detection on a link.
func quick(t *testing.T, m machine, link string) {
	t.Helper()
	m.setting(t, "ipv6/conf/"+link+"/router_solicitation_delay", "0")
	m.setting(t, "ipv6/neigh/"+link+"/retrans_time_ms", "100")
}

// persistent makes duplicate address detection of a link ask ten times, where a duplicate must be found: the carrier of the peer comes a
// little later than that of the link, and until then its answers are dropped.
func persistent(t *testing.T, link string) {
	t.Helper()
	machine{}.setting(t, "ipv6/conf/"+link+"/dad_transmits", "10")
}

// settled waits until no IPv6 address of a link with a carrier is tentative, in the namespace of the tests, so that what ip shows does not
// change by itself.
func settled(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	must(t, await(ctx, func() (bool, error) {
		out := machine{}.ip(t, "-6 -o address show up tentative")
		pending := slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
			fields := strings.Fields(line)
			return len(fields) > 1 && !strings.Contains(line, "dadfailed") && carrier(fields[1])
		})
		return !pending, nil
	}))
}

// carrier reports whether a link can pass packets; a link that does not exist cannot.
func carrier(link string) bool {
	l, err := net.InterfaceByName(link)
	return err == nil && l.Flags&net.FlagRunning != 0
}

// capture reads the packets that arrive at a link.
type capture struct {
	file *os.File
	buf  []byte
}

// capture starts to record what arrives at a link of the namespace, or leaves it.
func (m machine) capture(t *testing.T, link string) *capture {
	t.Helper()
	c := &capture{buf: make([]byte, 2048)}
	m.in(t, func() {
		l, err := net.InterfaceByName(link)
		must(t, err)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		must(t, err)
		c.file = os.NewFile(uintptr(fd), "packets of "+link)
		must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}), Ifindex: l.Index}))
	})
	t.Cleanup(func() { c.file.Close() })
	return c
}

// next returns the next packet for which match is true, or nil if there is none within limit.
func (c *capture) next(t *testing.T, limit time.Duration, match func(packet []byte) bool) []byte {
	t.Helper()
	must(t, c.file.SetReadDeadline(time.Now().Add(limit)))
	for {
		n, err := c.file.Read(c.buf)
		if os.IsTimeout(err) {
			return nil
		}
		must(t, err)
		if packet := c.buf[:n]; match(packet) {
			return append([]byte(nil), packet...)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// withoutCapability calls f on a thread without an effective capability.
func withoutCapability(t *testing.T, capability uint, f func()) {
	t.Helper()
	runtime.LockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all [2]unix.CapUserData
	must(t, unix.Capget(&header, &all[0]))
	less := all
	less[capability/32].Effective &^= 1 << (capability % 32)
	must(t, unix.Capset(&header, &less[0]))
	defer func() {
		if err := unix.Capset(&header, &all[0]); err != nil {
			panic(err) // the thread stays without it
		}
		runtime.UnlockOSThread()
	}()
	f()
}
