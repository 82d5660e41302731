package launch

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
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

// find is the incident.Evidence of every kind of service: a process may be a
// JVM, or a script that runs one, and what is not has none of its traces.
func (e *evidence) find(ctx context.Context, end incident.End) incident.Findings {
	f := e.bounded(ctx, end, func() incident.Findings {
		return addCrashReport(incident.ProcessEvidence(ctx, end), hotspot.InspectCrash(exitOf(end)))
	})
	if dump, ok := hotspot.ThreadDump(end.Output); ok {
		f.ThreadDump = dump
	}
	return f
}

// outputReader gives the ReadOutput of a start with these JVM options; nil: they are
// not known, or there are none. Where the JVM names one that it does not take, the
// reason says where that comes from.
func outputReader(options []jvm.Option) func(incident.End) incident.Findings {
	return func(end incident.End) incident.Findings {
		a := hotspot.CrashFromOutput(exitOf(end))
		var names []string
		if a.StartupError.Message != "" {
			for _, o := range optionsMeant(options, a.StartupError) {
				names = append(names, o.Named())
			}
		}
		if len(names) > 0 {
			a.Reason += "; the option is " + strings.Join(names, " and ")
		}
		a.Reason = redact.Line(a.Reason)
		return addCrashReport(incident.Findings{}, a)
	}
}

// bounded runs f, for as long as ctx allows.
func (e *evidence) bounded(ctx context.Context, end incident.End, f func() incident.Findings) incident.Findings {
	without := func(note string) incident.Findings {
		return incident.Findings{Options: redact.Args(end.Argv), Notes: []string{note}}
	}
	if !e.looking.TryLock() {
		return without("files were not looked for: the file system has not answered since an earlier look")
	}
	found := make(chan incident.Findings, 1)
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
func OOMCount(dirs []string) incident.OOMCount {
	count, source, ok := cgroup.OOMKills("/", dirs...)
	if !ok {
		return incident.OOMCount{}
	}
	return incident.OOMCount{Count: count, Source: source}
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

// exitOf puts an end into the words of package hotspot.
func exitOf(end incident.End) hotspot.Exit {
	d := hotspot.Exit{Argv: end.Argv, Dir: end.Dir, Pid: end.Pid, Started: end.Started, Output: end.Output, Code: -1}
	if end.Exit != nil {
		d.Code, d.Signal = end.Exit.Code, end.Exit.Signal
	}
	return d
}

// addCrashReport adds what was found out about a JVM.
func addCrashReport(f incident.Findings, a hotspot.CrashReport) incident.Findings {
	switch a.Kind {
	case hotspot.OutOfMemory:
		f.Cause = incident.CauseJVMMemory
	case hotspot.Crashed:
		f.Cause = incident.CauseJVMCrash
	}
	f.Reason = a.Reason
	f.Notes = append(f.Notes, a.Notes...)
	kinds := map[string]string{hotspot.ErrorReport: incident.FileHsErr, hotspot.HeapDump: incident.FileHeapDump}
	for _, t := range a.Files {
		f.Files = append(f.Files, incident.File{Kind: kinds[t.Kind], Path: t.Path, Size: t.Size, ModTime: t.ModTime,
			Excerpt: []byte(redact.Text(string(t.Excerpt)))})
	}
	return f
}
