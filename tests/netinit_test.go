//go:build container

package tests

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Exit codes of stoker netinit, docs/reference/exit-codes.md.
const (
	netinitDiffers      = 1
	netinitNotPermitted = 3
	netinitBadInput     = 65
	netinitNoSource     = 68
	netinitConflict     = 71
	netinitLate         = 75
)

// patience bounds a wait for something that a machine without load does at once.
const patience = 30 * time.Second

// network is a network namespace. It has a mount namespace, in which /etc/resolv.conf and /etc/hosts are bind mounts of files of the
// test, as in a container of Docker, and a UTS namespace.
type network struct {
	t   testing.TB
	pid int    // of a process in it
	dir string // for files of the test
}

// newNetwork makes a network namespace, which is gone at the end of the test.
func newNetwork(t testing.TB) *network {
	t.Helper()
	needsNamespaces(t)
	for _, name := range []string{"ip", "nsenter", "ping", "setpriv"} {
		if _, err := exec.LookPath(name); err != nil {
			lacking(t, name+"(1) is missing")
		}
	}
	n := &network{t: t, dir: t.TempDir()}
	write(t, n.resolvConf(), "nameserver 203.0.113.53\n", 0o644)
	write(t, n.hostsFile(), "127.0.0.1 localhost\n", 0o644)
	cmd := exec.Command("unshare", "--net", "--mount", "--uts", "sh", "-c",
		`mount --bind "$0" /etc/resolv.conf && mount --bind "$1" /etc/hosts && echo made && exec cat`, n.resolvConf(), n.hostsFile())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // its end ends cat, also if the test is killed
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	if said, err := bufio.NewReader(out).ReadString('\n'); said != "made\n" {
		t.Fatalf("cannot make a network namespace: %q, %v", said, err)
	}
	n.pid = cmd.Process.Pid
	return n
}

func (n *network) resolvConf() string { return filepath.Join(n.dir, "resolv.conf") }
func (n *network) hostsFile() string  { return filepath.Join(n.dir, "hosts") }
func (n *network) stateDir() string   { return filepath.Join(n.dir, "state") }

// enter returns the start of a command line that runs a command in the namespaces.
func (n *network) enter() []string {
	return []string{"nsenter", "--target", strconv.Itoa(n.pid), "--net", "--mount", "--uts", "--"}
}

func (n *network) command(command ...string) *exec.Cmd {
	args := append(n.enter(), command...)
	return exec.Command(args[0], args[1:]...)
}

// run runs a command that must succeed.
func (n *network) run(command ...string) string {
	n.t.Helper()
	out, err := n.command(command...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%q fails: %v: %s", command, err, out)
	}
	return string(out)
}

// ip runs ip(8) of the machine with arguments separated by spaces.
func (n *network) ip(args string) string {
	n.t.Helper()
	command := append([]string{"--target", strconv.Itoa(n.pid), "--net", "--", "ip"}, strings.Fields(args)...)
	out, err := exec.Command("nsenter", command...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("ip %s fails: %v: %s", args, err, out)
	}
	return string(out)
}

// plug makes a pair of veth: one end stays, and the other one goes to the network of a process, with a name and a MAC address.
func (n *network) plug(pid int, outside, inside, mac string) {
	n.t.Helper()
	n.ip(fmt.Sprintf("link add %s type veth peer name p%s address %s", outside, outside, mac))
	n.ip("link set " + outside + " up")
	n.ip(fmt.Sprintf("link set p%s netns %d name %s", outside, pid, inside))
}

// reaches sends pings.
func (n *network) reaches(addresses ...string) {
	n.t.Helper()
	for _, a := range addresses {
		if out, err := n.command("ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", a).CombinedOutput(); err != nil {
			n.t.Errorf("cannot reach %s: %v: %s\n%s", a, err, out, n.state())
		}
	}
}

// outcome is the end of a command.
type outcome struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

func finish(cmd *exec.Cmd) outcome {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	from := time.Now()
	err := cmd.Run()
	return outcome{exitCode(err), stdout.String(), stderr.String(), time.Since(from)}
}

// try runs stoker netinit COMMAND with a description and the files of the network. The description is a file, a source with a
// colon, or else a text.
func (n *network) try(command, description string, flags ...string) outcome {
	n.t.Helper()
	return finish(n.netinit(command, description, flags...))
}

func (n *network) netinit(command, description string, flags ...string) *exec.Cmd {
	n.t.Helper()
	args := []string{stoker(n.t), "netinit", command, "--state-dir", n.stateDir()}
	if command != "status" {
		args = append(args, "--from", n.source(description))
	}
	if command == "apply" {
		args = append(args, "--no-announce")
	}
	return n.command(append(args, flags...)...)
}

// source returns the description as an argument.
func (n *network) source(description string) string {
	n.t.Helper()
	if strings.HasPrefix(description, "unix:") || strings.HasPrefix(description, "http:") || strings.HasPrefix(description, "/") {
		return description
	}
	file, err := os.CreateTemp(n.dir, "description-")
	if err != nil {
		n.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(description); err != nil {
		n.t.Fatal(err)
	}
	return file.Name()
}

// apply applies a description, which must succeed.
func (n *network) apply(description string, flags ...string) outcome {
	n.t.Helper()
	o := n.try("apply", description, flags...)
	if o.code != 0 {
		n.t.Fatalf("apply ends with %d: %s%s\n%s", o.code, o.stdout, o.stderr, n.state())
	}
	return o
}

// ends checks the exit code and, if it is not empty, a text of stderr.
func (o outcome) ends(t testing.TB, code int, text string) {
	t.Helper()
	if o.code != code || !strings.Contains(o.stderr, text) {
		t.Errorf("it ends with %d after %v, want %d and %q: %s%s", o.code, o.took, code, text, o.stdout, o.stderr)
	}
}

// linkInfo is what ip -j addr prints.
type linkInfo struct {
	Name      string   `json:"ifname"`
	MAC       string   `json:"address"`
	MTU       int      `json:"mtu"`
	State     string   `json:"operstate"`
	Flags     []string `json:"flags"`
	Addresses []struct {
		Family    string `json:"family"`
		Local     string `json:"local"`
		Length    int    `json:"prefixlen"`
		Scope     string `json:"scope"`
		Protocol  string `json:"protocol"`
		Tentative bool   `json:"tentative"`
		Failed    bool   `json:"dadfailed"`
		Secondary bool   `json:"secondary"`
	} `json:"addr_info"`
}

// link returns a link of the network as ip sees it.
func (n *network) link(name string) linkInfo {
	n.t.Helper()
	var all []linkInfo
	if err := json.Unmarshal([]byte(n.ip("-j addr show dev "+name)), &all); err != nil || len(all) == 0 {
		n.t.Fatalf("cannot read the output of ip: %v", err)
	}
	return all[0]
}

// addresses returns the addresses of a link without those that the kernel makes itself.
func (n *network) addresses(name string) []string {
	n.t.Helper()
	var out []string
	for _, a := range n.link(name).Addresses {
		if a.Protocol == "kernel_ll" || a.Family == "inet6" && a.Scope == "link" {
			continue
		}
		text := fmt.Sprintf("%s/%d", a.Local, a.Length)
		if a.Tentative {
			text += " tentative"
		}
		if a.Failed {
			text += " failed"
		}
		out = append(out, text)
	}
	return out
}

// routes returns the routes of a family ("-4", "-6") in a table, without those that the kernel makes itself. A route that has not the
// mark of stoker says so.
func (n *network) routes(family, table string) []string {
	n.t.Helper()
	var all []struct {
		To       string           `json:"dst"`
		Via      string           `json:"gateway"`
		Link     string           `json:"dev"`
		Protocol string           `json:"protocol"`
		Source   string           `json:"prefsrc"`
		Type     string           `json:"type"`
		Metric   int              `json:"metric"`
		Flags    []string         `json:"flags"`
		Metrics  []map[string]int `json:"metrics"`
	}
	if err := json.Unmarshal([]byte(n.ip("-j "+family+" route show table "+table)), &all); err != nil {
		n.t.Fatalf("cannot read the output of ip: %v", err)
	}
	var out []string
	for _, r := range all {
		if r.Protocol == "kernel" {
			continue
		}
		text := r.To
		if r.Type != "" && r.Type != "unicast" {
			text = r.Type + " " + text
		}
		for _, part := range []struct{ name, value string }{{"via", r.Via}, {"dev", r.Link}, {"src", r.Source}} {
			if part.value != "" {
				text += " " + part.name + " " + part.value
			}
		}
		if r.Metric != 0 && (family == "-4" || r.Metric != 1024) {
			text += fmt.Sprintf(" metric %d", r.Metric)
		}
		for _, m := range r.Metrics {
			if m["mtu"] != 0 {
				text += fmt.Sprintf(" mtu %d", m["mtu"])
			}
		}
		for _, f := range r.Flags {
			if f == "onlink" {
				text += " onlink"
			}
		}
		if r.Protocol != "115" {
			text += " proto " + cmp.Or(r.Protocol, "boot") // of ip's own, which it leaves out
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

// volatile is what a link has after it was up and down again, though it is as before.
var volatile = regexp.MustCompile(` qdisc \w+`)

// state is all that can be changed, for comparison, without what follows by itself: link-local addresses and the table local.
func (n *network) state() string {
	n.t.Helper()
	var out strings.Builder
	for _, args := range []string{"-o link", "-o addr", "-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule"} {
		for line := range strings.Lines(n.ip(args)) {
			if !strings.Contains(line, "fe80:") && !strings.Contains(line, "table local") {
				out.WriteString(volatile.ReplaceAllString(line, ""))
			}
		}
	}
	for _, file := range []string{n.resolvConf(), n.hostsFile()} {
		data, err := os.ReadFile(file)
		if err != nil {
			n.t.Fatal(err)
		}
		out.Write(data)
	}
	return out.String() + n.run("hostname")
}

// changes returns the lines in which the state differs from an earlier one, in any order.
func (n *network) changes(before string) []string {
	n.t.Helper()
	var out []string
	left := slices.Collect(strings.Lines(n.state()))
	for line := range strings.Lines(before) {
		if at := slices.Index(left, line); at >= 0 {
			left = slices.Delete(left, at, at+1)
		} else {
			out = append(out, "- "+line)
		}
	}
	for _, line := range left {
		out = append(out, "+ "+line)
	}
	return out
}

// unchanged checks that the state is what it was.
func (n *network) unchanged(before string) {
	n.t.Helper()
	if changes := n.changes(before); len(changes) > 0 {
		n.t.Errorf("the network was changed:\n%s", strings.Join(changes, ""))
	}
}

// same compares lists.
func same(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s are\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
