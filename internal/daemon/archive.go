package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/archive"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/supervisor"
)

// ArchiveOptions are the arguments of stoker jvm archive.
type ArchiveOptions struct {
	Service string
	Dir     string        // of the archive; empty: that of the configuration
	Within  time.Duration // the longest time of a start, and of a stop, which writes the archive
	Heap    int64         // of the JVM in bytes; 0: what there is room for
}

// archiver makes the class archive of a service: it starts it three times by the ordinary supervisor.
type archiver struct {
	ArchiveOptions
	d       *daemon
	out     io.Writer // progress
	started atomic.Pointer[launch.Training]

	identity archive.Identity // of the service's ordinary starts; set by the first start
	major    int              // Java's version; 0: unknown
	options  []string         // for the JVM
	from     int64            // where the output of the present start begins
}

// archiveBy is the requester of the starts and stops.
const archiveBy = "stoker jvm archive"

// runArchive is runSupervisor for stoker jvm archive: no API, console, jobs or network, and only pre-start hooks.
func (d *daemon) runArchive(rec *proc.Recovered) (code int, grace time.Duration) {
	if rec.Starts > 1 { // the file of the one before is unfinished
		return d.program.Report(errors.New("cannot make the archive: the supervisor has died; run the command again")), 0
	}
	d.log.SetLevel(hclog.Error) // failures are in the error
	d.hooks.start(d.m, rec, d)
	a := &archiver{ArchiveOptions: *d.opts.Archive, d: d, out: os.Stdout}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d.shared.Training = a.training
	end := make(chan struct{})
	d.sup = supervisor.New(d.m, rec, d.currentPlan().supervisorSet(), supervisor.Options{Log: d.log, OOM: launch.OOMCount,
		Listener: d.hooks, End: end})
	var failed error
	through := make(chan struct{})
	go func() { // ends with the archive, or with ctx
		failed = a.make(ctx)
		close(through)
		close(end)
	}()
	d.sup.Run(ctx, rec)
	select {
	case <-through:
	default: // a signal
		cancel()
		<-through
		failed = errors.New("cannot make the archive: a stop was asked for")
	}
	d.private.close()
	if failed != nil {
		return d.program.Report(failed), 0
	}
	return 0, 0
}

// training is launch.Shared.Training.
func (a *archiver) training(service string) *launch.Training {
	if service != a.Service {
		return nil
	}
	return a.started.Load()
}

// make makes the archive and keeps it.
func (a *archiver) make(ctx context.Context) error {
	if err := a.room(); err != nil {
		return err
	}
	a.Dir = a.d.archiveDir(a.Dir)
	launcher := a.d.currentPlan().launcher(a.Service)
	work, err := newWorkFolder(a.Dir, launcher.User)
	if err != nil {
		return a.cannotWrite(err)
	}
	defer work.remove()
	file := filepath.Join(work.path, "classes")
	fmt.Fprintf(a.out, "making a class archive of %s in %s\n", a.Service, a.Dir)
	var times archive.Times
	var wrote time.Duration
	if _, wrote, err = a.start(ctx, launch.TrainRecord, file); err != nil {
		return a.explain(err)
	}
	size, err := a.recorded(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "  recorded: %s, written in %s\n", jvm.SizeText(size), layout.Duration(wrote))
	if times.Without, _, err = a.start(ctx, launch.TrainPlain, ""); err != nil {
		return a.explain(err)
	}
	fmt.Fprintf(a.out, "  ready without it after %s\n", layout.Duration(times.Without))
	if times.With, _, err = a.start(ctx, launch.TrainUse, file); err != nil {
		return a.explain(err)
	}
	fmt.Fprintf(a.out, "  ready with it after %s\n", layout.Duration(times.With))
	if err := archive.Keep(a.Dir, a.Service, a.identity, file, times); err != nil {
		return a.cannotWrite(err)
	}
	fmt.Fprintf(a.out, "kept for Java %d; %s starts with it from now on\n", a.major, a.Service)
	return nil
}

// start starts the service until it is ready, and stops it. It returns how long each took.
func (a *archiver) start(ctx context.Context, step launch.TrainingStep, file string) (ready, stopped time.Duration, err error) {
	a.started.Store(&launch.Training{Step: step, File: file, Options: a.options,
		Identified: func(id archive.Identity, major int) { a.identity, a.major = id, major }})
	if log := a.d.sup.Log(a.Service); log != nil {
		a.from = log.End()
	}
	number, err := a.d.sup.Ask(ctx, a.Service, supervisor.EvStart, archiveBy, nil)
	if err != nil {
		return 0, 0, err
	}
	result, _ := a.d.sup.AwaitStart(ctx, a.Service, number)
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	s := result.Snapshot
	if result.Failure != "" || s.UpSince == nil {
		return 0, 0, fmt.Errorf("it does not become ready: %s", result.Failure)
	}
	ready = s.Since.Sub(*s.UpSince)
	used := true
	if step == launch.TrainUse {
		used = a.mapped(file)
	}
	begin := time.Now()
	if err := a.d.sup.Command(ctx, a.Service, supervisor.EvStop, archiveBy); err != nil {
		return 0, 0, err
	}
	stopped = time.Since(begin)
	switch s, _ := a.d.sup.Service(a.Service); {
	case s.Exit == nil || !s.Exit.Success:
		return 0, 0, fmt.Errorf("it did not end well after %s: %s", layout.Duration(stopped), exitText(s))
	case !used:
		return 0, 0, errors.New("the JVM does not use the archive that it has written")
	}
	return ready, stopped, nil
}

func exitText(s supervisor.Snapshot) string {
	if s.Exit == nil {
		return "how is unknown"
	}
	return s.Exit.String()
}

// mapped reports whether the JVM has mapped a file. It does so even if that is unknown.
func (a *archiver) mapped(file string) bool {
	p, ok := a.d.sup.Process(a.Service)
	if !ok {
		return true
	}
	found := true
	err := launch.AsUserOf(p)(func() (err error) {
		found, err = procfs.Maps(p.Pid(), file)
		return err
	})
	return found || err != nil
}

// recorded returns the size of the file that the JVM has written.
func (a *archiver) recorded(file string) (int64, error) {
	info, err := os.Lstat(file)
	if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		return info.Size(), nil
	}
	free := ""
	if n, ok := freeSpace(a.Dir); ok {
		free = fmt.Sprintf(" (%s are free in %s)", jvm.SizeText(n), a.Dir)
	}
	return 0, &exit.Error{Err: fmt.Errorf("cannot make the archive of %s: the JVM has written none%s%s", a.Service, free, a.lastOutput()),
		Hint: "it needs some 100 MiB on the disk; --dir DIR names another folder", Code: exit.CannotWrite}
}

// explain makes the error of a start one for the user.
func (a *archiver) explain(err error) error {
	if a.major > 0 {
		if unsupported := archive.Supported(a.major); unsupported != nil {
			return &exit.Error{Err: fmt.Errorf("cannot make the archive of %s: %w", a.Service, unsupported),
				Hint: "leave the command out for this image, or use a later Java; the service starts without one"}
		}
	}
	return &exit.Error{Err: fmt.Errorf("cannot make the archive of %s: %w%s", a.Service, err, a.lastOutput()),
		Hint: "does it start here by stoker run? In an image build what it needs (a database, secrets) may be missing; " +
			"beside the running service it takes other ports only if it is a Tomcat. --within gives it more time, --heap more memory"}
}

// lastOutput is the end of what the present start has written, for an error.
func (a *archiver) lastOutput() string {
	if last := printable.LastLines(string(a.d.sup.OutputOf(a.Service, a.from, 0, 4096)), 5); last != "" {
		return "; its output ends: " + last
	}
	return ""
}

func (a *archiver) cannotWrite(err error) error {
	return &exit.Error{Err: fmt.Errorf("cannot write the archive of %s to %s: %w", a.Service, a.Dir, err),
		Hint: "--dir DIR, or jvm.archive_dir, names another folder; the service then needs the same jvm.archive_dir", Code: exit.CannotWrite}
}

// archiveDir is the folder of the archives; given is that of the command line.
func (d *daemon) archiveDir(given string) string {
	if given != "" {
		return given
	}
	if dir := d.currentPlan().Config.JVM.ArchiveDir; dir != "" {
		return dir
	}
	return filepath.Join(stateFolder(os.Geteuid(), os.Getenv), "archives")
}

// requiredWith returns a service and what it requires, by what requires returns.
func requiredWith(service string, requires func(string) []string) []string {
	out := []string{service}
	for k := 0; k < len(out); k++ {
		for _, r := range requires(out[k]) {
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	}
	return out
}

// serviceNames lists services for an error.
func serviceNames[T any](services map[string]T) string {
	return strings.Join(slices.Sorted(maps.Keys(services)), ", ")
}
