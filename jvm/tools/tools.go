// Package tools runs the diagnostic commands of JVMs: thread dumps, class histograms, flags, native memory and heap dumps.
package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/supervisor"
)

// services is implemented by *supervisor.Supervisor.
type services interface {
	Service(name string) (supervisor.Snapshot, bool)
	Process(name string) (supervisor.Process, bool)
}

// Tools runs diagnostic commands in the JVMs of services.
type Tools struct {
	services services
	attacher *launch.Attacher
	log      hclog.Logger
	folder   string   // for heap dumps; empty: none
	dumps    sync.Map // pid -> the dump file being written
}

// New keeps heap dumps below the state folder unless it is empty.
func New(services services, a *launch.Attacher, log hclog.Logger, stateFolder string) *Tools {
	t := &Tools{services: services, attacher: a, log: log}
	if stateFolder != "" {
		t.folder = filepath.Join(stateFolder, "heapdumps")
	}
	return t
}

// maxHistogram bounds a class histogram in bytes: 100,000 classes take less.
const maxHistogram = 16 << 20

// apiError returns an API error.
func apiError(status int, code, hint, format string, args ...any) *api.StatusError {
	return &api.StatusError{Status: status, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func notNow(hint, format string, args ...any) error {
	return apiError(http.StatusConflict, api.CodeNotNow, hint, format, args...)
}

func noRoom(hint, format string, args ...any) error {
	return apiError(http.StatusInsufficientStorage, api.CodeNoRoom, hint, format, args...)
}

func failed(hint, format string, args ...any) error {
	return apiError(http.StatusInternalServerError, "failed", hint, format, args...)
}

// JVMTool returns the output of a diagnostic command.
func (j *Tools) JVMTool(ctx context.Context, service string, t api.JVMTool, by string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	text, err := j.run(ctx, service, t, by)
	if err != nil {
		cancel()
		return nil, err
	}
	return &textWithCancel{text, cancel}, nil
}

// textWithCancel cancels its context when it is closed.
type textWithCancel struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (e *textWithCancel) Close() error {
	defer e.cancel()
	return e.ReadCloser.Close()
}

func (j *Tools) run(ctx context.Context, service string, t api.JVMTool, by string) (io.ReadCloser, error) {
	p, err := j.process(service, t.Tool)
	if err != nil {
		return nil, err
	}
	explain := func(err error) error { return j.apiErrorOf(ctx, service, t, p, err) }
	if err := hotspot.Identify(p.Pid()); err != nil {
		return nil, explain(err)
	}
	at, err := j.attacher.Attach(ctx, p)
	if err != nil {
		return nil, explain(err)
	}
	j.log.Info("JVM tool", "name", service, "pid", p.Pid(), "tool", t.Tool, "by", by)
	var text io.ReadCloser
	switch t.Tool {
	case api.ToolThreads:
		text, err = launch.OpenThreads(ctx, at)
	case api.ToolHisto:
		command := "GC.class_histogram"
		if t.All {
			command += " -all"
		}
		text, err = at.Open(ctx, maxHistogram, "jcmd", command)
	case api.ToolFlags:
		text, err = flagsOf(ctx, at, t.All)
	case api.ToolNMT:
		text, err = nativeMemory(ctx, at, service)
	case api.ToolHeapDump:
		text, err = j.heapDump(ctx, &heapDump{service: service, want: t, p: p, at: at})
	default:
		return nil, apiError(http.StatusNotFound, "not-found", "", "there is no tool %q", t.Tool)
	}
	if err != nil {
		return nil, explain(err)
	}
	return text, nil
}

// process returns the process of a service whose JVM can be reached now.
func (j *Tools) process(service, tool string) (supervisor.Process, error) {
	snap, _ := j.services.Service(service)
	p, ok := j.services.Process(service)
	switch {
	case !ok:
		return nil, notNow("stoker status "+service+" tells why", "%s is %s and has no process", service, snap.State)
	case snap.State == supervisor.Stopping && tool != api.ToolThreads:
		return nil, notNow("only threads may be asked for now", "%s is STOPPING, and its time is limited", service)
	}
	if file, busy := j.dumps.Load(p.Pid()); busy {
		return nil, notNow("it answers when that is done", "the JVM of %s is stopped while it writes the heap dump %s", service, file)
	}
	return p, nil
}

// flagsOf returns the flags of a JVM: all of them, or those that differ from the default.
func flagsOf(ctx context.Context, at *hotspot.Attached, all bool) (io.ReadCloser, error) {
	text, err := at.Command(ctx, "jcmd", "VM.flags -all")
	if !all {
		text = hotspot.ChangedFlags(text)
	}
	return answerText(text, err)
}

// answerText returns the text of an answer. If it was truncated, reading ends with err.
func answerText(text string, err error) (io.ReadCloser, error) {
	if errors.Is(err, hotspot.ErrLongReply) {
		return io.NopCloser(io.MultiReader(strings.NewReader(text), errorReader{err})), nil
	}
	return io.NopCloser(strings.NewReader(text)), err
}

// errorReader returns err on every read.
type errorReader struct{ err error }

func (e errorReader) Read([]byte) (int, error) { return 0, e.err }

// nativeMemory returns the native memory summary of a JVM with tracking enabled.
func nativeMemory(ctx context.Context, at *hotspot.Attached, service string) (io.ReadCloser, error) {
	text, err := at.Command(ctx, "jcmd", "VM.native_memory summary")
	if err == nil && strings.HasPrefix(strings.TrimSpace(text), "Native memory tracking is not enabled") {
		return nil, apiError(http.StatusUnprocessableEntity, "refused",
			`set jvm.default.options: ["-XX:NativeMemoryTracking=summary"], then stoker restart `+service+
				"; it costs 5 to 10 % of the speed, by the JVM's makers",
			"the JVM of %s does not track its native memory", service)
	}
	return answerText(text, err)
}

// exitWait is how long to wait for the exit of a process that closed the connection.
const exitWait = 500 * time.Millisecond

// apiErrorOf converts an error for the API.
func (j *Tools) apiErrorOf(ctx context.Context, service string, t api.JVMTool, p supervisor.Process, err error) error {
	if known := new(api.StatusError); errors.As(err, &known) {
		return known
	}
	select {
	case <-p.Exited():
		err = os.ErrProcessDone
	default:
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) { // as of an exiting JVM
		select {
		case <-p.Exited():
			err = os.ErrProcessDone
		case <-time.After(exitWait):
		}
	}
	if ctx.Err() != nil && hotspot.Stopped(p.Pid()) { // it was stopped in the meantime
		err = hotspot.ErrStopped
	}
	status := new(hotspot.StatusError)
	switch {
	case errors.Is(err, os.ErrProcessDone):
		return notNow("stoker status "+service+" tells why", "the process of %s has ended", service)
	case errors.Is(err, hotspot.ErrNotJVM):
		return apiError(http.StatusNotFound, "no-jvm", "if its command is a script, end it with: exec java ...",
			"the process of %s is no JVM", service)
	case errors.Is(err, hotspot.ErrOpenJ9):
		return apiError(http.StatusNotFound, "no-jvm", "use the jcmd of OpenJ9",
			"the JVM of %s is OpenJ9, which does not take HotSpot's commands", service)
	case errors.Is(err, hotspot.ErrStarting), errors.Is(err, hotspot.ErrNotCaught):
		return notNow("ask again in a moment", "the JVM of %s is still starting: the attach signal would end it", service)
	case errors.Is(err, hotspot.ErrNoAttach):
		return apiError(http.StatusUnprocessableEntity, "refused", "stoker jvm explain "+service+" shows where the option comes from",
			"the options of the JVM of %s forbid to attach (-XX:+DisableAttachMechanism), or its attach socket in /tmp was removed (-Xrs)", service)
	case errors.Is(err, hotspot.ErrNameTaken):
		return failed("remove that file: an earlier JVM has left it", "%v", err)
	case errors.Is(err, hotspot.ErrNoTmp):
		return apiError(http.StatusUnprocessableEntity, "refused",
			"give the container a tmpfs at /tmp (docker run --tmpfs /tmp; in Kubernetes an emptyDir), writable for the service's user",
			"the JVM of %s cannot be reached: %v", service, err)
	case errors.Is(err, hotspot.ErrStopped):
		return notNow("kill -CONT lets it go on, if no debugger holds it", "the process of %s is stopped, and cannot answer", service)
	case errors.Is(err, fs.ErrPermission):
		return apiError(http.StatusForbidden, "forbidden", "let stoker run as root, or the service and stoker as one user",
			"the JVM of %s belongs to a user that stoker may not act as: %v", service, err)
	case errors.As(err, &status):
		return failed("", "the JVM of %s refuses: %s", service, status.Text)
	case errors.Is(err, hotspot.ErrNotListening), ctx.Err() != nil:
		return apiError(http.StatusGatewayTimeout, api.CodeTimeout, "it may hang, or be short of CPU; --timeout gives it more time",
			"the JVM of %s did not answer within %v", service, t.Timeout)
	}
	return failed("", "%v", err)
}
