package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stokerName is the column that the others are compared with.
const stokerName = "stoker"

// peer is one program that can be PID 1.
type peer struct {
	name    string
	program string // empty: args begins with it
	// commandOnly is set for one that runs a single command and restarts nothing.
	commandOnly bool
	// slowReaper is set for one that takes most of a minute to reap 5000 orphans; it is measured once.
	slowReaper bool
	// stop is the signal that makes it stop its services and exit; 0: it does not wait for them.
	stop syscall.Signal
	// args returns the arguments that run the services, and writes configuration files to dir.
	args func(dir string, services []service) ([]string, error)
}

// service is one service to run.
type service struct {
	name    string
	command []string
}

// peers returns the known programs on this machine, stoker first. The bare command shows the cost of the kernel alone. before is an
// older build to compare with, and ochinchina the supervisord of Go; empty: none.
func peers(stoker, before, ochinchina string) []peer {
	stoker, err := filepath.Abs(stoker)
	if err != nil {
		stoker = ""
	}
	wrapped := func(_ string, s []service) ([]string, error) {
		return append([]string{"--"}, s[0].command...), nil
	}
	all := []peer{
		{name: stokerName, program: stoker, args: stokerArgs, stop: syscall.SIGTERM},
		{name: "bare exec", program: "/bin/true", commandOnly: true},
		{name: "tini", program: "tini", commandOnly: true, args: wrapped},
		{name: "dumb-init", program: "dumb-init", commandOnly: true, args: wrapped},
		{name: "s6", program: "s6-svscan", args: s6Args, stop: syscall.SIGTERM},
		{name: "runit", program: "runsvdir", args: runitArgs},
		{name: "Supervisor", program: "supervisord", slowReaper: true, args: supervisorArgs},
	}
	if ochinchina != "" {
		all = append(all, peer{name: "ochinchina", program: ochinchina, stop: syscall.SIGTERM, args: ochinchinaArgs})
	}
	if before != "" {
		older := peer{name: "stoker before", program: before, args: stokerArgs, stop: syscall.SIGTERM}
		all = slices.Insert(all, 1, older)
	}
	found := make([]peer, 0, len(all))
	for _, p := range all {
		path, err := exec.LookPath(p.program)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s is left out: %v\n", p.name, err)
			continue
		}
		p.program = path
		found = append(found, p)
	}
	return found
}

// command returns the whole command line of the peer.
func (p peer) command(dir string, services []service) ([]string, error) {
	if p.args == nil {
		return services[0].command, nil
	}
	args, err := p.args(dir, services)
	if err != nil {
		return nil, fmt.Errorf("cannot write the configuration of %s: %w", p.name, err)
	}
	if p.program == "" {
		return args, nil
	}
	return append([]string{p.program}, args...), nil
}

func stokerArgs(dir string, services []service) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "main: %s\napi: {socket: %s}\nservices:\n", services[0].name, filepath.Join(dir, "api.sock"))
	for _, s := range services {
		quoted := make([]string, len(s.command))
		for i, word := range s.command {
			quoted[i] = strconv.Quote(word)
		}
		fmt.Fprintf(&b, "  %s:\n    command: [%s]\n", s.name, strings.Join(quoted, ", "))
		b.WriteString("    restart: {policy: always, backoff: {first: 0s, jitter: 0}, limit: {starts: 1000000, within: 1s}}\n")
	}
	path := filepath.Join(dir, "stoker.yaml")
	return []string{"run", "--config", path}, os.WriteFile(path, []byte(b.String()), 0o600)
}

func supervisorArgs(dir string, services []service) ([]string, error) {
	var b strings.Builder
	socket := filepath.Join(dir, "api.sock")
	fmt.Fprintf(&b, "[supervisord]\nnodaemon=true\nuser=root\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=%s\n", filepath.Join(dir, "pid"))
	fmt.Fprintf(&b, "[unix_http_server]\nfile=%s\n", socket)
	b.WriteString("[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n")
	for _, s := range services {
		fmt.Fprintf(&b, "[program:%s]\ncommand=%s\nautorestart=true\nstartsecs=0\nstartretries=1000000\n", s.name, strings.Join(s.command, " "))
		b.WriteString("stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0\nredirect_stderr=true\n")
	}
	path := filepath.Join(dir, "supervisord.conf")
	return []string{"-c", path}, os.WriteFile(path, []byte(b.String()), 0o600)
}

func ochinchinaArgs(dir string, services []service) ([]string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "[supervisord]\nlogfile=/dev/null\npidfile=%s\n", filepath.Join(dir, "pid"))
	for _, s := range services {
		fmt.Fprintf(&b, "[program:%s]\ncommand=%s\nautorestart=true\nstartsecs=0\nstartretries=1000000\n", s.name, strings.Join(s.command, " "))
		b.WriteString("stdout_logfile=/dev/stdout\nredirect_stderr=true\n")
	}
	path := filepath.Join(dir, "supervisord.conf")
	return []string{"-c", path}, os.WriteFile(path, []byte(b.String()), 0o600)
}

func s6Args(dir string, services []service) ([]string, error) {
	// Half of the default limit is reserved for loggers.
	return []string{"-c", strconv.Itoa(max(500, 2*len(services))), dir}, runFiles(dir, services)
}

func runitArgs(dir string, services []service) ([]string, error) {
	if err := runFiles(dir, services); err != nil {
		return nil, err
	}
	// runsvdir defers a folder that changed within the current second; folders of an image are older.
	made := time.Now().Add(-time.Hour)
	return []string{"-P", dir}, os.Chtimes(dir, made, made)
}

// runFiles makes the folders that s6 and runit watch, each with a program called run. For the probe that is the program itself, so
// that the start of a shell is not measured.
func runFiles(dir string, services []service) error {
	for _, s := range services {
		folder := filepath.Join(dir, s.name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
		path := filepath.Join(folder, "run")
		var err error
		if s.command[1] == "service" {
			err = os.Symlink(s.command[0], path)
		} else {
			err = os.WriteFile(path, []byte("#!/bin/sh\nexec "+strings.Join(s.command, " ")+"\n"), 0o755)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
