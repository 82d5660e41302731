package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Bounds on what a test may wait for.
const (
	commandTime  = 2 * time.Minute  // one command
	scriptTime   = 5 * time.Minute  // one script
	leftoverTime = 10 * time.Second // what a script has left running, after its end
	receiveTime  = time.Minute      // one value of a channel
)

// heedSignals gives ignored signals their default action in the commands that tests start. They are ignored here under nohup, and
// in a background job of a shell without job control.
func heedSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s) // a caught signal has its default action after exec
		}
	}
}

// command returns a command that fails the test and is killed if it takes longer than commandTime.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error {
		t.Errorf("%s has not ended after %v, and is killed", cmd, commandTime)
		return cmd.Process.Kill()
	}
	cmd.WaitDelay = leftoverTime // its children may have its output
	return cmd
}

// receive returns the next value of a channel.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(receiveTime):
		t.Fatalf("%s did not come within %v", what, receiveTime)
	}
	panic("unreachable")
}

// limitScript kills the processes of a script that takes too long, and those that are left leftoverTime after its end: testscript only
// interrupts them, and waits until nothing has their output open.
func limitScript(e *testscript.Env) {
	limit := time.AfterFunc(scriptTime, func() { killScript(e.WorkDir, fmt.Sprintf("%v after its start", scriptTime)) })
	e.Defer(func() {
		limit.Stop()
		time.AfterFunc(leftoverTime, func() { killScript(e.WorkDir, fmt.Sprintf("%v after its end", leftoverTime)) })
	})
}

// killScript kills the processes with the environment of a script.
func killScript(dir, when string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is valid
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, env...), []byte("\x00WORK="+dir+"\x00")) {
			continue
		}
		process := filepath.Dir(file)
		pid, _ := strconv.Atoi(filepath.Base(process)) // the pattern has digits only
		args, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		fmt.Fprintf(os.Stderr, "%s: %d (%s) runs %s, and is killed\n", filepath.Base(dir), pid,
			strings.TrimSpace(strings.ReplaceAll(string(args), "\x00", " ")), when)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
