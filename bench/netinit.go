package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The same network for stoker and for ip(8): nothing in it has to be waited for.
const (
	networkDescription = `version: 1
links:
  - match: {name: eth0}
    addresses: [192.0.2.10/24, "2001:db8:1::10/64"]
    routes: [{to: default, via: 192.0.2.1}, {to: 198.51.100.0/24, via: 192.0.2.2}, {to: default, via: "2001:db8:1::1"}]
`
	networkBatch = `link set lo up
link set eth0 up
addr add 192.0.2.10/24 dev eth0
addr add 2001:db8:1::10/64 dev eth0 nodad
route add 198.51.100.0/24 via 192.0.2.2
route add default via 192.0.2.1
route add default via 2001:db8:1::1
`
)

// networkWay is one command, run in a network namespace. Those of the same namespace follow each other in it.
type networkWay struct {
	what, goal string
	fresh      bool // in a namespace of its own
	command    []string
	stdin      string
}

// netinit measures the configuration of a network beside ip(8).
func (b *bench) netinit() (string, error) {
	p := b.peers[0]
	if p.name != stokerName {
		return "", errors.New("there is no stoker: run make build")
	}
	dir := filepath.Join(b.work, "netinit")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	description := filepath.Join(dir, "network.yaml")
	if err := os.WriteFile(description, []byte(networkDescription), 0o600); err != nil {
		return "", err
	}
	state := filepath.Join(dir, "state")
	apply := []string{p.program, "netinit", "apply", "--from", description, "--state-dir", state, "--dad", "nodad", "--no-announce"}
	ways := []networkWay{
		{"stoker version, for comparison", "-", true, []string{p.program, "version"}, ""},
		{"apply of a link with two addresses and three routes", "<= 15", true, apply, ""},
		{"apply again", "<= 5", false, apply, ""},
		{"the same by ip -batch", "-", true, []string{"ip", "-batch", "-"}, networkBatch},
	}
	process, wall := newRow("", "ms", ""), newRow("", "ms", "")
	for round := range b.rounds {
		fmt.Fprintf(os.Stderr, "netinit: round %d of %d\n", round+1, b.rounds)
		for k := 0; k < len(ways); {
			together := 1
			for k+together < len(ways) && !ways[k+together].fresh {
				together++
			}
			if err := os.RemoveAll(state); err != nil {
				return "", err
			}
			if err := inNetwork(ways[k:k+together], process, wall); err != nil {
				return "", err
			}
			k += together
		}
	}
	var out strings.Builder
	out.WriteString("\n| netinit | goal | process time (ms) | wall time (ms) |\n|---|---|---:|---:|\n")
	for _, w := range ways {
		used, _ := median(process.values[w.what])
		took, _ := median(wall.values[w.what])
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", w.what, w.goal, figure(used), figure(took))
	}
	return out.String(), nil
}

// inNetwork runs commands one after the other in a new network namespace with a pair of veth, and adds their times.
func inNetwork(ways []networkWay, process, wall row) error {
	failed := make(chan error, 1)
	go func() { // ends with the commands, and its thread with it, which has another network namespace
		failed <- func() error {
			runtime.LockOSThread()
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("cannot make a network namespace: %w", err)
			}
			for _, args := range []string{"link add eth0 type veth peer name gw", "link set gw up"} {
				if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
					return fmt.Errorf("ip %s: %w: %s", args, err, out)
				}
			}
			for _, w := range ways {
				cmd := exec.Command(w.command[0], w.command[1:]...)
				var output bytes.Buffer
				cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(w.stdin), &output, &output
				began := time.Now()
				if err := cmd.Run(); err != nil {
					return fmt.Errorf("%s: %w: %s", w.what, err, &output)
				}
				wall.values[w.what] = append(wall.values[w.what], since(began))
				process.values[w.what] = append(process.values[w.what], float64(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())/1e6)
			}
			return nil
		}()
	}()
	return <-failed
}
