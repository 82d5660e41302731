package incident

import (
	"strings"
	"syscall"
	"testing"
)

func TestClassify(t *testing.T) {
	const file = "/sys/fs/cgroup/memory.events"
	count := func(n uint64) OOMCount { return OOMCount{n, file} }
	code := func(n int) *Exit { return &Exit{Code: n} }
	by := func(s syscall.Signal) *Exit { return &Exit{Code: -1, Signal: s} }
	success := &Exit{Code: 143, Success: true}
	oom := Findings{Cause: CauseJVMMemory, Reason: "java.lang.OutOfMemoryError: Java heap space", Notes: []string{"a heap dump"}}
	crash := Findings{Cause: CauseJVMCrash, Reason: "SIGSEGV in libc"}
	for _, c := range []struct {
		name    string
		failure Failure
		cause   Cause // empty: no incident
		want    string
	}{
		{"no process", Failure{Starting: true, Exit: &Exit{Code: 127, NotStarted: true}, Reason: "cannot execute /x: no such file"},
			CauseNotStarted, "cannot execute /x: no such file"},
		{"nothing known", Failure{}, CauseUnseen, "ended while no supervisor worked"},
		{"nothing seen, but counted", Failure{Before: count(1), After: count(2)}, CauseUnseen,
			"|a process of the cgroup was killed by the kernel's OOM killer meanwhile (" + file + ": oom_kill 1 -> 2)"},
		{"ends", Failure{Exit: code(3)}, CauseExit, "exit code 3"},
		{"ends early", Failure{Starting: true, Exit: code(3)}, CauseExit, "exit code 3 before it was ready"},
		{"ends early, and says why", Failure{Starting: true, Exit: code(1), Found: Findings{Reason: "Could not reserve"}}, CauseExit,
			"exit code 1 before it was ready: Could not reserve"},
		{"nobody asked for a good end", Failure{Exit: success}, CauseExit, "exit code 143"},
		{"asked for", Failure{Exit: success, Asked: "test", Signaled: true}, "", ""},
		{"asked for, and ends badly", Failure{Exit: code(1), Asked: "test", Signaled: true}, CauseExit, "exit code 1"},
		{"too slow", Failure{Exit: by(9), Asked: "test", Signaled: true, Killed: true}, CauseStopTimeout, "did not stop in time"},
		{"ends by itself at the last moment", Failure{Exit: success, Asked: "test", Killed: true}, "", ""},
		{"KILL is its stop signal", Failure{Exit: &Exit{Code: -1, Signal: 9, Success: true}, Asked: "test"}, "", ""},
		{"not ready", Failure{Exit: by(15), GaveUp: CauseStartTimeout, Reason: "not ready within 2m"}, CauseStartTimeout, "not ready within 2m"},
		{"not ready, and lives", Failure{GaveUp: CauseStartTimeout, Reason: "not ready within 2m"}, CauseStartTimeout, "not ready within 2m"},
		{"not ready, killed", Failure{Exit: by(9), GaveUp: CauseFailedStart, Killed: true, Reason: "/app failed"}, CauseFailedStart,
			"/app failed"},
		{"hangs for want of memory", Failure{Exit: by(9), GaveUp: CauseUnhealthy, Killed: true, Reason: "no answer", Found: oom}, CauseUnhealthy,
			"no answer|a heap dump|java.lang.OutOfMemoryError: Java heap space"},
		{"by a signal", Failure{Exit: by(15)}, CauseSignal, "killed by signal 15 (TERM)"},
		{"by a signal, with a core", Failure{Exit: &Exit{Code: -1, Signal: 11, Core: true}}, CauseCore,
			"killed by signal 11 (SEGV), core dumped"},
		{"by the kernel", Failure{Exit: by(9), Before: count(2), After: count(3)}, CauseOOMKill,
			"killed by the kernel's OOM killer: the memory limit of the cgroup was reached (" + file + ": oom_kill 2 -> 3)"},
		{"by the kernel, behind a shell", Failure{Exit: code(137), Before: count(0), After: count(1)}, CauseOOMKill, "OOM killer"},
		{"by the kernel, in a stop", Failure{Exit: by(9), Asked: "test", Signaled: true, Before: count(0), After: count(1)}, CauseOOMKill,
			"OOM killer"},
		{"by the kernel, with others", Failure{Exit: by(9), Before: count(0), After: count(3)}, CauseOOMKill,
			"|a process of the cgroup was killed by the kernel's OOM killer meanwhile"},
		{"another one by the kernel", Failure{Exit: code(1), Before: count(0), After: count(1)}, CauseExit,
			"exit code 1|a process of the cgroup was killed by the kernel's OOM killer meanwhile (" + file + ": oom_kill 0 -> 1)"},
		{"by KILL, not counted", Failure{Exit: by(9), Before: count(7), After: count(7)}, CauseSignal,
			"|stoker has not sent this signal: it came from outside of the container, or from another process in it; it was not the OOM killer of this cgroup (" + file + ": oom_kill is still 7)"},
		{"by KILL, no counter", Failure{Exit: by(9)}, CauseSignal, "whose counter cannot be read here"},
		{"another counter", Failure{Exit: by(9), Before: count(1), After: OOMCount{5, "elsewhere"}}, CauseSignal,
			"whose counter cannot be read here"},
		{"a counter that fell", Failure{Exit: by(9), Before: count(5), After: count(1)}, CauseSignal, "killed by signal 9 (KILL)"},
		{"JVM out of memory", Failure{Exit: code(3), Found: oom}, CauseJVMMemory, "java.lang.OutOfMemoryError: Java heap space|a heap dump"},
		{"JVM crash", Failure{Starting: true, Exit: by(6), Found: crash}, CauseJVMCrash, "SIGSEGV in libc"},
		{"crash while it stops", Failure{Exit: by(6), Asked: "test", Signaled: true, Found: crash}, CauseJVMCrash, "SIGSEGV in libc"},
		{"the kernel knows better", Failure{Exit: by(9), Found: oom, Before: count(0), After: count(1)}, CauseOOMKill,
			"|a heap dump|java.lang.OutOfMemoryError: Java heap space"},
		{"JVM out of memory, asked to stop", Failure{Exit: success, Asked: "test", Signaled: true, Found: oom}, "", ""},
	} {
		got := Classify(c.failure)
		if got.Incident != (c.cause != "") || got.Incident && got.Cause != c.cause {
			t.Errorf("%s: %+v, want %q", c.name, got, c.cause)
		}
		text := got.Reason + "|" + strings.Join(got.Notes, "|")
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
	if len(oom.Notes) != 1 {
		t.Errorf("the findings were changed: %q", oom.Notes)
	}
}
