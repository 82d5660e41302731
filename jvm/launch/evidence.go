package launch

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
)

// evidence looks for what the processes of one service leave behind. The zero
// value is ready.
type evidence struct {
	// looking is held while files are looked at: a look at a file system that does
	// not answer cannot be ended, and must not be joined by others.
	looking sync.Mutex
}

// Observe adds what every process may turn out to be: a JVM, or a script that runs one.
func Observe(out *supervisor.Launch) {
	out.ReadOutput, out.Debugger, out.Evidence = outputReader(nil), lookForDebugger, new(evidence).find
}

// find is the supervisor.Evidence of every kind of service: a process may be a
// JVM, or a script that runs one, and what is not has none of its traces.
func (e *evidence) find(ctx context.Context, end supervisor.End) supervisor.Findings {
	f := e.look(ctx, end, func() supervisor.Findings {
		return addAutopsy(supervisor.ProcessEvidence(ctx, end), hotspot.InspectCrash(deathOf(end)))
	})
	if dump, ok := hotspot.ThreadDump(end.Output); ok {
		f.ThreadDump = dump
	}
	return f
}

// outputReader gives the ReadOutput of a start with these JVM options; nil: they are
// not known, or there are none. Where the JVM names one that it does not take, the
// reason says where that comes from.
func outputReader(options []jvm.Option) func(supervisor.End) supervisor.Findings {
	return func(end supervisor.End) supervisor.Findings {
		a := hotspot.CrashFromOutput(deathOf(end))
		var names []string
		if a.StartupError.Message != "" {
			for _, o := range blamed(options, a.StartupError) {
				names = append(names, o.Named())
			}
		}
		if len(names) > 0 {
			a.Reason += "; the option is " + strings.Join(names, " and ")
		}
		a.Reason = redact.Line(a.Reason)
		return addAutopsy(supervisor.Findings{}, a)
	}
}

// look runs f, for as long as ctx allows.
func (e *evidence) look(ctx context.Context, end supervisor.End, f func() supervisor.Findings) supervisor.Findings {
	without := func(note string) supervisor.Findings {
		return supervisor.Findings{Options: redact.Args(end.Argv), Notes: []string{note}}
	}
	if !e.looking.TryLock() {
		return without("files were not looked for: the file system has not answered since an earlier look")
	}
	found := make(chan supervisor.Findings, 1)
	go func() { // ends with the looks at files, which only a dead file system delays
		defer e.looking.Unlock()
		out := f()
		out.Limits = limitsInForce()
		found <- out
	}()
	select {
	case out := <-found:
		return out
	case <-ctx.Done():
		return without("files were not found in time: the file system does not answer")
	}
}

// limitsInForce are those of the container, as stoker limits prints them.
func limitsInForce() json.RawMessage {
	data, err := json.Marshal(cgroup.Read("/"))
	if err != nil {
		return nil
	}
	return data
}

// OOMCount reads the counter of a service's own cgroup, or of the container's.
func OOMCount(dirs []string) supervisor.OOMCount {
	count, source, ok := cgroup.OOMKills("/", dirs...)
	if !ok {
		return supervisor.OOMCount{}
	}
	return supervisor.OOMCount{Count: count, Source: source}
}

// stokerMemory is more than init and supervisor use, in bytes.
const stokerMemory = 64 << 20

// OOMRaise is by how much the OOM score adjustment of what stoker starts exceeds its
// own: the adjustment is in thousandths of the memory there is, and with this much even
// the smallest process of a service weighs more than stoker.
func OOMRaise() int {
	memory := cgroup.Read("/").EffectiveMemory
	if memory == nil || *memory <= 0 {
		return 0
	}
	return int(1000*stokerMemory / *memory) + 1
}

// deathOf puts an end into the words of package hotspot.
func deathOf(end supervisor.End) hotspot.Exit {
	d := hotspot.Exit{Argv: end.Argv, Dir: end.Dir, Pid: end.Pid, Started: end.Started, Output: end.Output, Code: -1}
	if end.Exit != nil {
		d.Code, d.Signal = end.Exit.Code, end.Exit.Signal
	}
	return d
}

// addAutopsy adds what was found out about a JVM.
func addAutopsy(f supervisor.Findings, a hotspot.CrashReport) supervisor.Findings {
	switch a.Kind {
	case hotspot.OutOfMemory:
		f.Cause = supervisor.CauseJVMMemory
	case hotspot.Crashed:
		f.Cause = supervisor.CauseJVMCrash
	}
	f.Reason = a.Reason
	f.Notes = append(f.Notes, a.Notes...)
	kinds := map[string]string{hotspot.ErrorReport: supervisor.FileHsErr, hotspot.HeapDump: supervisor.FileHeapDump}
	for _, t := range a.Files {
		f.Files = append(f.Files, supervisor.EvidenceFile{Kind: kinds[t.Kind], Path: t.Path, Size: t.Size, ModTime: t.ModTime,
			Excerpt: []byte(redact.Text(string(t.Excerpt)))})
	}
	return f
}
