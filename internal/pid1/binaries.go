package pid1

import (
	"fmt"
	"strconv"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/spawn"
	"golang.org/x/sys/unix"
)

// A new binary is on trial: its supervisors must ping before the watchdog's limit, must not
// end trialDeaths times, and one must be healthy for trialSteps steps in a row, of time in
// which the init itself ran.
const (
	trialDeaths = 2
	trialStep   = time.Second
	trialSteps  = 60
	exitLimit   = time.Second // of a supervisor that handed over
	loopDeaths  = 8           // in a row after the trial: it does not work any more
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

func (b binary) exe() string {
	if b.fd > 0 {
		return "/proc/self/fd/" + strconv.Itoa(b.fd)
	}
	return spawn.OwnExe()
}

// binaries are the one in use and the one to return to.
type binaries struct {
	current, previous binary
	upgrades          int
	trial             bool
	deaths            int         // on trial
	healthTicks       tickCounter // steps of health on trial
	failed, why       string      // version of the last one that failed, and how
}

// upgrade takes a new binary. The supervisor that sent it exits by itself.
func (i *initState) upgrade(m *initproto.Msg) {
	b := &i.binaries
	if len(m.Fds) != 1 || m.Binary == nil || i.stops > 0 || i.killAll != nil {
		initproto.CloseAll(m.Fds)
		i.log.printf("cannot upgrade: the request is incomplete, or the container stops")
		return
	}
	// Not one of the numbers that a child's own descriptors are put on.
	fd, err := unix.FcntlInt(uintptr(m.Fds[0]), unix.F_DUPFD_CLOEXEC, 16)
	initproto.CloseAll(m.Fds)
	if err != nil {
		i.log.printf("cannot upgrade: %v", err)
		return
	}
	b.previous.close()
	next := binary{fd: fd, version: shorten(m.Binary.Version), path: shorten(m.Binary.Path)}
	*b = binaries{current: next, previous: b.current, upgrades: b.upgrades + 1, trial: true}
	i.log.printf("upgrading the supervisor to %s (stoker %s, before it %s), requested by %s",
		next.path, next.version, b.previous.version, shorten(m.Binary.By))
	i.supervisor.exitBy = time.Now().Add(exitLimit)
}

// shorten bounds a text of the supervisor's.
func shorten(s string) string { return s[:min(len(s), 512)] }

// checkTrial ends the trial of a binary that has worked for long enough.
func (i *initState) checkTrial(now time.Time) {
	b := &i.binaries
	if !b.trial || !i.supervisor.onTrial || !i.supervisor.healthy {
		return
	}
	if b.healthTicks.tick(now, trialStep); b.healthTicks.n >= trialSteps {
		b.trial = false
		b.previous.close()
		b.previous = i.ownBinary()
	}
}

// countDeath counts the end of a supervisor, or its failed start, against its binary.
func (i *initState) countDeath(how string) {
	b := &i.binaries
	b.healthTicks = tickCounter{}
	switch {
	case b.trial:
		if b.deaths++; b.deaths >= trialDeaths {
			i.revertBinary(fmt.Sprintf("ended %d times within its first minute, the last time with %s", b.deaths, how))
		}
	case b.current.fd > 0 && i.supervisor.failures >= loopDeaths:
		i.revertBinary(fmt.Sprintf("does not work any more: it ended %d times in a row, the last time with %s", i.supervisor.failures, how))
	}
}

// revertBinary returns to the previous binary. A supervisor of the present one is killed.
func (i *initState) revertBinary(why string) {
	b, s := &i.binaries, &i.supervisor
	b.failed, b.why, b.trial = b.current.version, why, false
	b.current.close()
	b.current, b.previous = b.previous, i.ownBinary()
	i.log.printf("stoker %s %s; returning to %s", b.failed, why, b.current.version)
	s.failures, s.stopFailures, s.nextStart = 0, 0, time.Now()
	if s.pid != 0 {
		s.exitBy = time.Now()
	}
}

func (i *initState) ownBinary() binary { return binary{version: i.opts.Version} }

// message is what a new supervisor learns of the binaries.
func (b *binaries) message(own string) *initproto.Binary {
	return &initproto.Binary{Version: b.current.version, Path: b.current.path, Init: own, Count: b.upgrades, Failed: b.failed, Why: b.why}
}
