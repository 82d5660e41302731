package launch

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"

	"github.com/stoker-init/stoker/internal/cgroup"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

// evidence finds the artifacts that the processes of one service leave behind. The zero value is ready to use.
type evidence struct {
	// searchMu is held while files are read. A read on a file system that hangs cannot be cancelled, so no second one starts beside it.
	searchMu sync.Mutex
}

// Observe adds what applies to any process, which may be a JVM or a script that runs one.
func Observe(out *supervisor.Launch) {
	out.ReadOutput, out.Debugger, out.Evidence = outputReader(nil), findDebugger, new(evidence).find
}

// find implements incident.Evidence for every kind of service. A process that is no JVM yields no findings. Files are searched until ctx
// ends.
func (e *evidence) find(ctx context.Context, end incident.End) incident.Findings {
	f := incident.Findings{Options: redact.Args(end.Argv),
		Notes: []string{"files were not looked for: the file system has not answered since an earlier look"}}
	if e.searchMu.TryLock() {
		found := make(chan incident.Findings, 1)
		go func() { // ends with the search, which only a hanging file system delays
			defer e.searchMu.Unlock()
			out := addCrashReport(incident.ProcessEvidence(ctx, end), hotspot.InspectCrash(hotspotExit(end)))
			out.Limits, _ = json.Marshal(cgroup.Read("/")) // in the form of stoker limits
			found <- out
		}()
		select {
		case f = <-found:
		case <-ctx.Done():
			f.Notes = []string{"files were not found in time: the file system does not answer"}
		}
	}
	if dump, ok := hotspot.ThreadDump(end.Output); ok {
		f.ThreadDump = dump
	}
	return f
}

// outputReader returns the ReadOutput of a start with these JVM options, or nil without options. If the JVM rejects an option, the reason
// names its source.
func outputReader(options []jvm.Option) func(incident.End) incident.Findings {
	return func(end incident.End) incident.Findings {
		a := hotspot.CrashFromOutput(hotspotExit(end))
		if names := namesOf(rejectedBy(options, a.StartupError)); names != "" {
			a.Reason += "; the option is " + names
		}
		a.Reason = redact.Line(a.Reason)
		return addCrashReport(incident.Findings{}, a)
	}
}

// OOMCount reads the OOM counter of a service's own cgroup, or of the container's.
func OOMCount(dirs []string) incident.OOMCount {
	count, source, _ := cgroup.OOMKills("/", dirs...) // an unknown one is zero
	return incident.OOMCount{Count: count, Source: source}
}

// stokerMemory is an upper bound of the memory of init and supervisor, in bytes.
const stokerMemory = 64 << 20

// OOMRaise returns by how much the OOM score adjustment of services exceeds stoker's own. The adjustment is in thousandths of the machine's
// memory; the result ranks even the smallest service process above stoker.
func OOMRaise() int {
	memory := cgroup.EffectiveMemory("/")
	if memory == nil || *memory <= 0 {
		return 0
	}
	return int(1000*stokerMemory / *memory) + 1
}

// hotspotExit converts an end to a hotspot.Exit.
func hotspotExit(end incident.End) hotspot.Exit {
	d := hotspot.Exit{Argv: end.Argv, Dir: end.Dir, Pid: end.Pid, Started: end.Started, Output: end.Output, Code: -1}
	if end.Exit != nil {
		d.Code, d.Signal = end.Exit.Code, end.Exit.Signal
	}
	return d
}

// addCrashReport adds the findings of a crash report.
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
