package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/supervisor/incident"
	"github.com/stoker-init/stoker/supervisor/probe"
)

// bring brings a service into a state by what happens in real life. Readiness is
// proven only by an event.
func (st *harness) bring(state State) {
	st.cfg.Restart.Policy, st.configHash = Always, "this"
	st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
		if state == Fatal || state == Exited || state == Backoff {
			return nil, errors.New("no such file")
		}
		return readyWhen(func() error { return errors.New("not yet") })(ctx, n)
	}
	switch state {
	case Exited:
		st.cfg.Restart.Policy = Never
	case Fatal:
		st.cfg.Restart.Limit.Starts = 0
	}
	st.open()
	if state != Stopped {
		st.ask(EvStart)
	}
	switch state {
	case Running:
		st.deliver(event{kind: EvReady})
	case Stopping:
		st.w.last().ignores = true
		st.ask(EvStop)
	}
	st.want(state)
}

// deliver lets something happen to the present start.
func (st *harness) deliver(h event) {
	h.gen = st.s.Snapshot().Starts
	st.s.events <- h
	synctest.Wait()
}

// cause lets an event happen.
func (st *harness) cause(ev Event) {
	switch ev {
	case EvStart, EvStop, EvRestart:
		st.ask(ev)
	case EvReconfigured:
		st.send(request{event: EvReconfigured, by: "test", def: &Definition{Name: "app", Config: st.cfg, Launcher: st.l, ConfigHash: "other"}})
	case EvHooksDone:
		st.deliver(event{kind: ev, text: string(lifecycle.PreStart)})
	case EvUnblocked, EvRequestsEnded, EvStopCommandDone, EvLiveOK:
		st.deliver(event{kind: ev})
	case EvAttached:
		st.deliver(event{kind: ev, launch: &Launch{Ready: probe.Checker(func(context.Context,
			probe.Process) error {
			return errors.New("not yet")
		})}})
	case EvLiveFailed:
		for range 3 {
			st.deliver(event{kind: ev, err: errors.New("no answer")})
		}
	case EvHealthIssue:
		st.deliver(event{kind: ev, err: &HealthIssue{Cause: incident.CauseJVMStarved, Text: "no memory", Unhealthy: true}})
	case EvPrepared:
		st.deliver(event{kind: EvPrepared, launch: &Launch{Ready: probe.Checker(func(context.Context,
			probe.Process) error {
			return errors.New("not yet")
		})}})
	case EvSpawnFailed:
		st.deliver(event{kind: EvPrepared, err: errors.New("cannot fork")})
	case EvReady:
		st.deliver(event{kind: EvReady})
	case EvNotReady:
		st.deliver(event{kind: EvNotReady, err: errors.New("refused")})
	case EvFailureFound:
		st.deliver(event{kind: EvFailureFound, text: "it said so"})
	case EvExited:
		st.w.last().exits(3)
		synctest.Wait()
	case EvGroupEmpty:
		p := st.w.last()
		p.leave(map[int]bool{900: true})
		p.exits(0)
		st.sleep(time.Second)
		p.leave(nil)
		st.sleep(lastPoll)
	case EvDeadline:
		if d := st.snap().Deadline; d != nil {
			st.sleep(time.Until(*d))
		} else if d := st.snap().Next; d != nil {
			st.sleep(time.Until(*d))
		} else {
			st.sleep(time.Minute)
		}
	}
}

// none: the event cannot happen in the state, because there is no process.
const none State = ""

// follows is what follows when an event meets a state; an event that is not
// listed changes nothing.
func follows(state State, ev Event) State {
	noProcess := state == Stopped || state == Backoff || state == Exited || state == Fatal
	if noProcess && (ev == EvExited || ev == EvGroupEmpty) {
		return none
	}
	changes := map[State]map[Event]State{
		Stopped: {EvStart: Starting, EvRestart: Starting},
		Starting: {EvStop: Stopped, EvReady: Running, EvFailureFound: Backoff, EvHealthIssue: Backoff, EvExited: Backoff, EvGroupEmpty: Backoff,
			EvDeadline: Backoff},
		Running: {EvStop: Stopped, EvRestart: Starting, EvExited: Backoff, EvGroupEmpty: Backoff, EvLiveFailed: Backoff,
			EvReconfigured: Starting},
		// A start that cannot be made leads back to BACKOFF, here and in FATAL.
		Backoff:  {EvStop: Stopped},
		Stopping: {EvExited: Stopped, EvGroupEmpty: Stopped, EvDeadline: Stopped},
		Exited:   {EvStop: Stopped},
		Fatal:    {EvStop: Stopped},
	}
	if to, ok := changes[state][ev]; ok {
		return to
	}
	return state
}

func TestEveryEventInEveryState(t *testing.T) {
	for _, state := range States() {
		for _, ev := range events() {
			want := follows(state, ev)
			if want == none {
				continue
			}
			t.Run(string(state)+"/"+string(ev), func(t *testing.T) {
				withHarness(t, func(st *harness) {
					st.bring(state)
					before := st.snap().Starts
					st.cause(ev)
					st.want(want)
					repeated := ev == EvStart || ev == EvRestart || ev == EvDeadline || ev == EvReconfigured && state != Stopped && state != Exited
					switch tried := st.snap().Starts != before; {
					case tried && !repeated:
						t.Errorf("a start follows")
					case !tried && (state == Backoff || state == Fatal) && repeated:
						t.Errorf("no start follows")
					}
					st.l.setPrepare(nil) // whatever came of it, it can be started
					st.ask(EvStart)
					st.sleep(10 * time.Second)
					if got := st.snap().State; got != Running && got != Starting {
						t.Errorf("afterwards a start leads to %s", got)
					}
					st.ask(EvStop)
					st.sleep(10 * time.Second)
					st.want(Stopped)
					for _, p := range st.w.procs {
						if p.dones != 1 {
							t.Errorf("%s was done %d times", p.id, p.dones)
						}
					}
				})
			})
		}
	}
}

// An event that the table calls meaningless must not change anything that is kept.
func TestTableIsTheMachine(t *testing.T) {
	for _, state := range States() {
		for _, ev := range events() {
			if r := ruleOf(state, PhaseBegin, ev); r.leads == "" && r.do != nil {
				before := savedState{State: state, Gen: 3}
				s := &Service{saved: before}
				r.do(s, event{kind: ev})
				if !reflect.DeepEqual(s.saved, before) {
					t.Errorf("%s, %s: said to do nothing, and does", state, ev)
				}
			}
		}
	}
}

// events lists every event, in the order of the table in the docs.
func events() []Event {
	return []Event{EvStart, EvStop, EvRestart, EvReconfigured, EvUnblocked, EvHooksDone, EvPrepared, EvSpawnFailed, EvAttached, EvReady,
		EvNotReady, EvFailureFound, EvLiveFailed, EvLiveOK, EvDebugger, EvHealthIssue, EvRequestsEnded, EvStopCommandDone, EvExited, EvGroupEmpty,
		EvDeadline}
}

// table is the state machine as a Markdown table: what each event leads to in
// each state, and in each phase of STOPPING. docs/reference/supervision.md holds it.
func table() string {
	var b strings.Builder
	b.WriteString("| state | event | leads to |\n|---|---|---|\n")
	for _, st := range States() {
		var idle []string
		for _, ev := range events() {
			leads := stateRules[st][ev].leads
			switch inPhase := st == Stopping && slices.ContainsFunc(phaseRules, func(p phaseRule) bool { return p.event == ev }); {
			case inPhase:
			case leads == "":
				idle = append(idle, string(ev))
			default:
				fmt.Fprintf(&b, "| %s | %s | %s |\n", st, ev, leads)
			}
		}
		if st == Stopping {
			for _, r := range phaseRules {
				fmt.Fprintf(&b, "| %s (%s) | %s | %s |\n", st, r.phase, r.event, r.leads)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | nothing |\n", st, strings.Join(idle, ", "))
	}
	return b.String()
}

func TestTableIsInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/supervision.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), table()) {
		t.Errorf("docs/reference/supervision.md does not have this table:\n%s", table())
	}
}

func TestPrepareMeetsEveryEvent(t *testing.T) {
	cases := map[Event]State{EvStart: Starting, EvStop: Stopped, EvRestart: Starting, EvSpawnFailed: Backoff, EvPrepared: Starting,
		EvDeadline: Backoff}
	for ev, want := range cases {
		t.Run(string(ev), func(t *testing.T) {
			withHarness(t, func(st *harness) {
				var canceled atomic.Int32
				st.l.prepare = func(ctx context.Context, _ int) (*Launch, error) {
					<-ctx.Done()
					canceled.Add(1)
					return nil, ctx.Err()
				}
				st.open()
				st.ask(EvStart)
				st.cause(ev)
				st.want(want)
				if wantCanceled := map[bool]int32{true: 0, false: 1}[ev == EvStart]; canceled.Load() != wantCanceled {
					t.Errorf("Prepare was canceled %d times, want %d", canceled.Load(), wantCanceled)
				}
			})
		})
	}
}

// A timer of one state must not end the next one: here the start timeout would
// come 1 s after readiness, and the reset time 1 s after the restart.
func TestTimerOfAnEarlierState(t *testing.T) {
	withHarness(t, func(st *harness) {
		var ready atomic.Bool
		st.l.prepare = readyWhen(func() error {
			if !ready.Load() {
				return errors.New("not yet")
			}
			return nil
		})
		st.cfg.Ready.Within = 10 * time.Second
		st.open()
		st.ask(EvStart)
		st.until(8 * time.Second)
		ready.Store(true)
		st.until(9 * time.Second)
		st.want(Running)
		st.until(30 * time.Second)
		st.want(Running)
		ready.Store(false)
		st.ask(EvRestart)
		st.want(Starting)
		ready.Store(true)
		st.sleep(2 * time.Second)
		st.want(Running)
		if got := st.snap(); got.Deadline != nil || got.Next != nil {
			t.Errorf("a deadline is shown: %+v", got)
		}
		st.sleep(time.Hour)
		st.want(Running)
		if n := st.w.count(); n != 2 {
			t.Errorf("%d processes, want 2", n)
		}
	})
}

func TestContainerStops(t *testing.T) {
	withHarness(t, func(st *harness) {
		st.w.startup = func(int, *fakeProcess) error { return proc.ErrStopping }
		st.open()
		st.ask(EvStart)
		st.want(Stopped)
	})
}
