// Command bench compares stoker with the inits and supervisors that Debian packages: each runs as PID 1 of a new PID namespace with
// the same tiny service, interleaved in one run. It prints Markdown tables: medians with their ratio to stoker's, the cost of a start
// through internal/proc, and the cost of hooks, of jobs, of console sessions and of the configuration of a network.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	if runSpawnRole() {
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	probe := flag.String("probe", "", "the compiled probe/probe.c")
	stoker := flag.String("stoker", "bin/stoker", "the stoker to measure; left out if it is not there")
	before := flag.String("before", "", "an older build of stoker to measure beside it")
	ochinchina := flag.String("ochinchina", "", "a build of github.com/ochinchina/supervisord to measure too")
	pebble := flag.String("pebble", "", "a build of github.com/canonical/pebble to restart a Tomcat under too")
	rounds := flag.Int("rounds", 15, "launches and restarts of each")
	idle := flag.Duration("idle", idleSpan, "how long context switches are counted")
	only := flag.String("only", "",
		"measure only these parts: launch,restart,idle,orphans,lines,output,recovery,stop,spawn,hooks,jobs,kept,console,netinit,tomcat,"+
			"archive")
	jdk := flag.String("jdk", "", "the home of the JVM for the part archive; empty: the java in PATH")
	flag.Parse()
	if *probe == "" {
		return errors.New("cannot measure without a probe: run make bench")
	}
	if os.Geteuid() != 0 {
		return errors.New("cannot make PID namespaces without root: run make bench as root")
	}
	work, err := os.MkdirTemp("", "stoker-bench-")
	if err != nil {
		return fmt.Errorf("cannot make a folder for the configurations: %w", err)
	}
	defer os.RemoveAll(work)

	b := bench{probe: *probe, work: work, rounds: *rounds, idle: *idle, peers: peers(*stoker, *before, *ochinchina), jdk: *jdk,
		pebble: *pebble}
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	rows, err := b.measure()
	if err != nil {
		return err
	}
	spawns := []row{{}}
	if b.wants("spawn") {
		if spawns, err = b.spawns(); err != nil {
			return err
		}
	}
	var hooks hookTimes
	if b.wants("hooks") {
		if hooks, err = b.hooks(); err != nil {
			return err
		}
	}
	tables, err := b.tables()
	if err != nil {
		return err
	}
	if err := (report{peers: b.peers, rows: rows, rounds: *rounds, idle: *idle}).print(os.Stdout); err != nil {
		return err
	}
	if b.wants("spawn") {
		fmt.Print(spawnTable(spawns[0]))
	}
	if b.wants("hooks") {
		fmt.Print(hooksTable(hooks))
	}
	fmt.Print(strings.Join(tables, ""))
	return nil
}

// tables are the parts that have tables of their own.
func (b *bench) tables() ([]string, error) {
	var out []string
	for _, part := range []struct {
		name    string
		measure func() (string, error)
	}{{"output", b.output}, {"jobs", b.jobs}, {"kept", b.kept}, {"console", b.console}, {"netinit", b.netinit}, {"tomcat", b.tomcat},
		{"archive", b.archive}} {
		if !b.wants(part.name) {
			continue
		}
		text, err := part.measure()
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}
