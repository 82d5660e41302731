// Package training makes the class archive of a service: it has a supervisor start the service three times, keeps what the JVM writes,
// and measures the starts.
package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/archive"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/supervisor"
)

// Options are the arguments of stoker jvm archive.
type Options struct {
	Service string
	Dir     string        // of the archive
	Within  time.Duration // the longest time of a start, and of a stop, which writes the archive
	Heap    int64         // of the JVM in bytes; 0: what there is room for
}

// Supervisor starts the service; *supervisor.Supervisor is one.
type Supervisor interface {
	Ask(ctx context.Context, name string, event supervisor.Event, by string, after *uint64) (start uint64, err error)
	AwaitStart(ctx context.Context, name string, start uint64) (supervisor.StartResult, bool)
	Service(name string) (supervisor.Snapshot, bool)
	Process(name string) (supervisor.Process, bool)
	OutputOf(service string, from, to int64, most int) []byte
}

// Trainer makes the archive of a service.
type Trainer struct {
	Options
	Supervisor Supervisor
	Shared     *launch.Shared // of the launchers
	User       *asuser.User   // of the service; nil: stoker's own
	Out        io.Writer      // progress

	started  atomic.Pointer[launch.Training]
	identity archive.Identity // of the service's ordinary starts, when the first start read the classes
	unfit    error            // why the service uses no archive; nil: it can
	options  []string         // for the JVM
}

// by is the requester of the starts and stops.
const by = "stoker jvm archive"

// training is launch.Shared.Training.
func (t *Trainer) training(service string) *launch.Training {
	if service != t.Service {
		return nil
	}
	return t.started.Load()
}

// Make makes the archive and keeps it. Its error is for the user.
func (t *Trainer) Make(ctx context.Context) error {
	if err := t.room(); err != nil {
		return err
	}
	if t.Dir == "" {
		return t.cannotWrite(errors.New("there is none"))
	}
	work, err := newWorkFolder(t.Dir, t.User)
	if err != nil {
		return t.cannotWrite(err)
	}
	defer work.remove()
	t.Dir = filepath.Dir(work.path) // without links, as /proc shows it
	file := filepath.Join(work.made(), "classes")
	t.Shared.Training, t.Shared.Runtime = t.training, work.runtime()
	fmt.Fprintf(t.Out, "making a class archive of %s in %s\n", t.Service, t.Dir)
	var times archive.Times
	var wrote time.Duration
	if _, wrote, err = t.start(ctx, launch.TrainRecord, file); err != nil && !errors.Is(err, errEnd) {
		return t.explain(err)
	}
	size, err := t.recorded(file, err)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.Out, "  recorded: %s, written in %s\n", jvm.SizeText(size), layout.Duration(wrote))
	if times.Without, _, err = t.start(ctx, launch.TrainPlain, ""); err != nil {
		return t.explain(err)
	}
	fmt.Fprintf(t.Out, "  ready without it after %s\n", layout.Duration(times.Without))
	if times.With, _, err = t.start(ctx, launch.TrainUse, file); err != nil {
		return t.explain(err)
	}
	fmt.Fprintf(t.Out, "  ready with it after %s\n", layout.Duration(times.With))
	if err := t.keep(file, times); err != nil {
		return t.cannotWrite(err)
	}
	fmt.Fprintf(t.Out, "kept for Java %d; %s starts with it from now on\n", hotspot.ParseMajor(t.identity.Java), t.Service)
	return nil
}

// keep puts the archive and its description in their place, while no other command does so in this folder.
func (t *Trainer) keep(file string, times archive.Times) error {
	lock, err := lockFolder(t.Dir, 0)
	if err != nil {
		return err
	}
	defer lock.Close()
	return archive.Keep(t.Dir, t.Service, t.identity, file, t.User.ID(), times)
}

// start starts the service until it is ready, and stops it. It returns how long each took.
func (t *Trainer) start(ctx context.Context, step launch.TrainingStep, file string) (ready, stopped time.Duration, err error) {
	t.started.Store(&launch.Training{Step: step, File: file, Options: t.options,
		Identified: func(id archive.Identity, err error) {
			if t.unfit = err; step == launch.TrainRecord {
				t.identity = id
			}
		}})
	number, err := t.Supervisor.Ask(ctx, t.Service, supervisor.EvStart, by, nil)
	if err != nil {
		return 0, 0, err
	}
	result, _ := t.Supervisor.AwaitStart(ctx, t.Service, number)
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	s := result.Snapshot
	if result.Failure != "" || s.UpSince == nil {
		return 0, 0, fmt.Errorf("it does not become ready: %s", result.Failure)
	}
	ready = s.Since.Sub(*s.UpSince)
	used := true
	if p, ok := t.Supervisor.Process(t.Service); ok && step == launch.TrainUse {
		used = launch.UsesArchive(p, file)
	}
	begin := time.Now()
	if _, err := t.Supervisor.Ask(ctx, t.Service, supervisor.EvStop, by, nil); err != nil {
		return 0, 0, err
	}
	stopped = time.Since(begin)
	switch s, _ := t.Supervisor.Service(t.Service); {
	case s.Exit == nil || !s.Exit.Success:
		return 0, 0, fmt.Errorf("%w: %s after %s", errEnd, exitText(s), layout.Duration(stopped))
	case !used:
		return 0, 0, errors.New("the JVM does not use the archive that it has written")
	}
	return ready, stopped, nil
}

// errEnd means that a JVM was ready, and ended with an error or had to be killed.
var errEnd = errors.New("it did not end well")

func exitText(s supervisor.Snapshot) string {
	if s.Exit == nil {
		return "how is unknown"
	}
	return s.Exit.String()
}

// fullDisk is the free space below which a JVM that does not end well is taken for one that could not write its archive.
const fullDisk = 64 << 20

// recorded returns the size of the file that the JVM has written; ended is how it ended.
func (t *Trainer) recorded(file string, ended error) (int64, error) {
	free, known := freeSpace(t.Dir)
	if ended != nil && (!known || free >= fullDisk) {
		return 0, t.explain(ended)
	}
	info, err := os.Lstat(file)
	if ended == nil && err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		return info.Size(), nil
	}
	room := ""
	if known {
		room = fmt.Sprintf(" (%s are free in %s)", jvm.SizeText(free), t.Dir)
	}
	return 0, &exit.Error{Err: fmt.Errorf("cannot make the archive of %s: the JVM has not written it%s%s", t.Service, room, t.lastOutput()),
		Hint: "it needs some 100 MiB on the disk; --dir DIR names another folder", Code: exit.CannotWrite}
}

// explain makes the error of a start one for the user.
func (t *Trainer) explain(err error) error {
	if t.unfit != nil {
		return &exit.Error{Err: fmt.Errorf("cannot make the archive of %s: %w", t.Service, t.unfit),
			Hint: "change that, or leave the command out for this image; the service starts without one"}
	}
	return &exit.Error{Err: fmt.Errorf("cannot make the archive of %s: %w%s", t.Service, err, t.lastOutput()),
		Hint: "does it start here by stoker run? In an image build what it needs (a database, secrets) may be missing; " +
			"beside the running service it takes other ports only if it is a Tomcat. --within gives it more time, --heap more memory"}
}

// lastOutput is the end of what the service has written, for an error.
func (t *Trainer) lastOutput() string {
	if last := printable.LastLines(string(t.Supervisor.OutputOf(t.Service, 0, 0, 4096)), 5); last != "" {
		return "; its output ends: " + last
	}
	return ""
}

func (t *Trainer) cannotWrite(err error) error {
	return &exit.Error{Err: fmt.Errorf("cannot write the archive of %s to %s: %w", t.Service, cmp.Or(t.Dir, "a state folder"), err),
		Hint: "--dir DIR, or jvm.archive_dir, names another folder; the service then needs the same jvm.archive_dir", Code: exit.CannotWrite}
}
