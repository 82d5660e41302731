package pid1

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// A binary that supervisors are newly started from is on trial: it must ping
// within the patience before Hello, must not end trialDeaths times, and must then
// be healthy for trialSteps steps in a row. Time in which the init itself did not
// run is not counted.
const (
	trialDeaths = 2
	trialStep   = time.Second
	trialSteps  = 60
	leaveLimit  = time.Second // of a supervisor that handed over
	loopDeaths  = 8           // in a row, and no trial: it does not work any more
)

// binary is an executable that supervisors are started from.
type binary struct {
	fd            int // 0: the init's own
	version, path string
}

func (b binary) close() {
	if b.fd > 0 {
		unix.Close(b.fd)
	}
}

// binaries are the one in use and the one to return to.
type binaries struct {
	now, before binary
	count       int // upgrades so far
	trial       bool
	deaths      int   // on trial
	good        ticks // steps of health on trial
	failed, why string
}

// exe is the path of what supervisors are started from.
func (b binary) exe() string {
	if b.fd > 0 {
		return "/proc/self/fd/" + strconv.Itoa(b.fd)
	}
	return ownExe()
}

// upgrade takes a new binary. The supervisor that sent it leaves by itself.
func (i *initState) upgrade(m *initproto.Msg) {
	b := &i.bins
	if len(m.Fds) != 1 || m.Binary == nil || i.stop > 0 || i.sweep != nil {
		initproto.CloseAll(m.Fds)
		i.log.printf("a new binary is refused: it comes incomplete, or the container stops")
		return
	}
	// Not one of the numbers that a child's own descriptors are put on.
	fd, err := unix.FcntlInt(uintptr(m.Fds[0]), unix.F_DUPFD_CLOEXEC, 16)
	initproto.CloseAll(m.Fds)
	if err != nil {
		i.log.printf("cannot take the new binary: %v", err)
		return
	}
	b.before.close()
	*b = binaries{now: binary{fd: fd, version: cut(m.Binary.Version), path: cut(m.Binary.Path)}, before: b.now, count: b.count + 1, trial: true}
	i.log.printf("supervisors are started from %s now (stoker %s, before it %s); asked for by %s", b.now.path, b.now.version, b.before.version, cut(m.Binary.By))
	i.keeper.leaveBy = time.Now().Add(leaveLimit)
}

// cut bounds a text that is not ours.
func cut(s string) string { return s[:min(len(s), 512)] }

// judge ends the trial of a binary that has worked for long enough.
func (i *initState) judge(now time.Time) {
	b := &i.bins
	if !b.trial || !i.keeper.trial || !i.keeper.healthy {
		return
	}
	if b.good.tick(now, trialStep); b.good.n >= trialSteps {
		b.trial = false
		b.before.close()
		b.before = i.own()
	}
}

// trialDeath counts the end of a supervisor, or its failed start.
func (i *initState) trialDeath(how string) {
	b := &i.bins
	b.good = ticks{}
	switch {
	case b.trial:
		if b.deaths++; b.deaths >= trialDeaths {
			i.fallBack(fmt.Sprintf("ended %d times within its first minute, the last time with %s", b.deaths, how))
		}
	case b.now.fd > 0 && i.keeper.failures >= loopDeaths:
		i.fallBack(fmt.Sprintf("does not work any more: it ended %d times in a row, the last time with %s", i.keeper.failures, how))
	}
}

// fallBack returns to the binary before. A supervisor of the present one that
// still lives is killed, which is no failure of its successor.
func (i *initState) fallBack(why string) {
	b, k := &i.bins, &i.keeper
	b.failed, b.why, b.trial = b.now.version, why, false
	b.now.close()
	b.now, b.before = b.before, i.own()
	i.log.printf("stoker %s %s; returning to %s", b.failed, why, b.now.version)
	k.failures, k.stopFail, k.nextStart = 0, 0, time.Now()
	if k.pid != 0 {
		k.leaveBy = time.Now()
	}
}

// own is the init's own binary.
func (i *initState) own() binary { return binary{version: i.opts.Version} }

// tell is what a new supervisor is told of the binaries.
func (b *binaries) tell(own string) *initproto.Binary {
	return &initproto.Binary{Version: b.now.version, Path: b.now.path, Init: own, Count: b.count, Failed: b.failed, Why: b.why}
}

// ownExe is the executable of the init: by its path (which also names the process
// in ps) while that is still the same file, and by the kernel's link after it was
// replaced or removed.
func ownExe() string {
	const self = "/proc/self/exe"
	path, err := os.Readlink(self)
	if err != nil {
		return self
	}
	here, err1 := os.Stat(self)
	there, err2 := os.Stat(path)
	if err1 != nil || err2 != nil || !os.SameFile(here, there) {
		return self
	}
	return path
}
