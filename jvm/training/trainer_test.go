package training

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/jvm/archive"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// fakeSupervisor starts a service that becomes ready, and whose JVM writes an archive.
type fakeSupervisor struct {
	trainer *Trainer
	steps   []launch.TrainingStep
	failure string // of each start
	unfit   error
	writes  string // what is in the archive
	end     *incident.Exit
}

func (f *fakeSupervisor) Ask(_ context.Context, name string, event supervisor.Event, _ string, _ *uint64) (uint64, error) {
	start := f.trainer.training(name)
	if start == nil || f.trainer.training("another") != nil {
		return 0, errors.New("the training is not that of the service")
	}
	if event == supervisor.EvStart {
		f.steps = append(f.steps, start.Step)
		start.Identified(archive.Identity{Java: "17.0.1", Options: []string{strconv.Itoa(int(start.Step))}}, f.unfit)
	} else if start.Step == launch.TrainRecord && f.writes != "" {
		return 0, os.WriteFile(start.File, []byte(f.writes), 0o600)
	}
	return uint64(len(f.steps)), nil
}

func (f *fakeSupervisor) AwaitStart(context.Context, string, uint64) (supervisor.StartResult, bool) {
	up := time.Now()
	ready := up.Add(1500 * time.Millisecond)
	return supervisor.StartResult{Snapshot: supervisor.Snapshot{State: supervisor.Running, UpSince: &up, Since: ready}, Done: true,
		Failure: f.failure}, true
}

func (f *fakeSupervisor) Service(string) (supervisor.Snapshot, bool) {
	return supervisor.Snapshot{State: supervisor.Stopped, Exit: f.end}, true
}

func (f *fakeSupervisor) Process(string) (supervisor.Process, bool) { return nil, false }

func (f *fakeSupervisor) OutputOf(string, int64, int64, int) []byte {
	return []byte("first\nno space left on device\n")
}

// linked returns a link to a folder.
func linked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(t.TempDir(), dir+"/link"); err != nil {
		t.Fatal(err)
	}
	return dir + "/link"
}

func TestMake(t *testing.T) {
	all := []launch.TrainingStep{launch.TrainRecord, launch.TrainPlain, launch.TrainUse}
	ended := &incident.Exit{Code: 143, Success: true}
	for name, tc := range map[string]struct {
		f     fakeSupervisor
		dir   string
		steps []launch.TrainingStep
		err   string
		code  int
	}{
		"made":         {f: fakeSupervisor{writes: "classes", end: ended}, steps: all},
		"by a link":    {f: fakeSupervisor{writes: "classes", end: ended}, dir: linked(t), steps: all},
		"does not run": {f: fakeSupervisor{failure: "exit code 1"}, steps: all[:1], err: "it does not become ready: exit code 1; its output ends: first"},
		"killed": {f: fakeSupervisor{writes: "half", end: &incident.Exit{Signal: syscall.SIGKILL}}, steps: all[:1],
			err: "it did not end well: killed by signal 9 (KILL) after 0s"},
		"disk full": {f: fakeSupervisor{end: ended}, steps: all[:1], err: "the JVM has not written it (", code: exit.CannotWrite},
		"old Java": {f: fakeSupervisor{failure: "Java 11", unfit: errors.New("a run of Java 11 makes none")}, steps: all[:1],
			err: "cannot make the archive of app: a run of Java 11 makes none"},
		"not a folder": {f: fakeSupervisor{}, dir: "/dev/null/archives", err: "cannot write the archive of app to /dev/null/archives", code: exit.CannotWrite},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.dir == "" {
				tc.dir = t.TempDir()
			}
			var out bytes.Buffer
			trainer := &Trainer{Options: Options{Service: "app", Dir: tc.dir, Heap: 64 << 20}, Supervisor: &tc.f,
				Shared: new(launch.Shared), Out: &out}
			tc.f.trainer = trainer
			err := trainer.Make(context.Background())
			if !slices.Equal(tc.f.steps, tc.steps) {
				t.Errorf("steps %v, want %v", tc.f.steps, tc.steps)
			}
			if tc.err == "" {
				if err != nil || !strings.Contains(out.String(), "ready with it after 1.5s\nkept for Java 17") {
					t.Errorf("%v; %s", err, &out)
				}
				of := archive.Identity{Java: "17.0.1", Options: []string{strconv.Itoa(int(launch.TrainRecord))}}
				if kept, _ := filepath.Glob(filepath.Join(tc.dir, "app-*.jsa")); len(kept) != 1 || !strings.Contains(kept[0], of.Key()) {
					t.Errorf("kept: %v, want the one of the start that recorded it, %s", kept, of.Key())
				}
			} else {
				var coded *exit.Error
				if !errors.As(err, &coded) || !strings.Contains(err.Error(), tc.err) || coded.Code != tc.code || coded.Hint == "" {
					t.Errorf("%v (%+v), want %q, code %d", err, coded, tc.err, tc.code)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(tc.dir, workPrefix+"*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestMakeWithoutAFolder: what is written to the working directory would not be found by a start.
func TestMakeWithoutAFolder(t *testing.T) {
	trainer := &Trainer{Options: Options{Service: "app", Heap: 64 << 20}}
	err := trainer.Make(context.Background())
	if err == nil || !strings.Contains(err.Error(), "cannot write the archive of app to a state folder") {
		t.Error(err)
	}
}
