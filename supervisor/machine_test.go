package supervisor

import (
	"context"
	"errors"
	"os"
	"reflect"
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
func (st *stage) bring(state State) {
	st.cfg.Restart.Policy, st.made = Always, "this"
	st.l.prepare = func(ctx context.Context, n int) (*Launch, error) {
		if state == Fatal || state == Exited || state == Delayed {
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
		st.tell(happening{event: EvReady})
	case Stopping:
		st.w.last().ignores = true
		st.ask(EvStop)
	}
	st.want(state)
}

// tell lets something happen to the present start.
func (st *stage) tell(h happening) {
	h.gen = st.s.Snapshot().gen
	st.s.happened <- h
	synctest.Wait()
}

// cause lets an event happen.
func (st *stage) cause(ev Event) {
	switch ev {
	case EvStart, EvStop, EvRestart:
		st.ask(ev)
	case EvChanged:
		st.send(request{event: EvChanged, by: "test", def: &Definition{Name: "app", Config: st.cfg, Launcher: st.l, Made: "other"}})
	case EvHooked:
		st.tell(happening{event: ev, text: string(lifecycle.PreStart)})
	case EvReleased, EvAsked, EvWell, EvOutlived:
		st.tell(happening{event: ev})
	case EvAttached:
		st.tell(happening{event: ev, launch: &Launch{Ready: probe.Func(func(context.Context, probe.Process) error { return errors.New("not yet") })}})
	case EvSick:
		for range 3 {
			st.tell(happening{event: ev, err: errors.New("no answer")})
		}
	case EvComplaint:
		st.tell(happening{event: ev, err: &Complaint{Cause: incident.CauseJVMStarved, Text: "no memory", Ill: true}})
	case EvSpawned:
		st.tell(happening{event: EvSpawned, launch: &Launch{Ready: probe.Func(func(context.Context, probe.Process) error { return errors.New("not yet") })}})
	case EvNotBorn:
		st.tell(happening{event: EvSpawned, err: errors.New("cannot fork")})
	case EvReady:
		st.tell(happening{event: EvReady})
	case EvUnready:
		st.tell(happening{event: EvUnready, err: errors.New("refused")})
	case EvFailed:
		st.tell(happening{event: EvFailed, text: "it said so"})
	case EvExited:
		st.w.last().exits(3)
		synctest.Wait()
	case EvGroupGone:
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
	noProcess := state == Stopped || state == Delayed || state == Exited || state == Fatal
	if noProcess && (ev == EvExited || ev == EvGroupGone) {
		return none
	}
	changes := map[State]map[Event]State{
		Stopped: {EvStart: Starting, EvRestart: Starting},
		Starting: {EvStop: Stopped, EvReady: Running, EvFailed: Delayed, EvComplaint: Delayed, EvExited: Delayed, EvGroupGone: Delayed,
			EvDeadline: Delayed},
		Running: {EvStop: Stopped, EvRestart: Starting, EvExited: Delayed, EvGroupGone: Delayed, EvSick: Delayed, EvChanged: Starting},
		// A start that cannot be made leads back to BACKOFF, here and in FATAL.
		Delayed:  {EvStop: Stopped},
		Stopping: {EvExited: Stopped, EvGroupGone: Stopped, EvDeadline: Stopped},
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
		for _, ev := range Events() {
			want := follows(state, ev)
			if want == none {
				continue
			}
			t.Run(string(state)+"/"+string(ev), func(t *testing.T) {
				play(t, func(st *stage) {
					st.bring(state)
					before := st.snap().gen
					st.cause(ev)
					st.want(want)
					repeated := ev == EvStart || ev == EvRestart || ev == EvDeadline || ev == EvChanged && state != Stopped && state != Exited
					switch tried := st.snap().gen != before; {
					case tried && !repeated:
						t.Errorf("a start follows")
					case !tried && (state == Delayed || state == Fatal) && repeated:
						t.Errorf("no start follows")
					}
					st.l.becomes(nil) // whatever came of it, it can be started
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
		for _, ev := range Events() {
			if r := ruleOf(state, ev); r.leads == "" {
				before := kept{State: state, Gen: 3}
				s := &Service{kept: before}
				r.do(s, happening{event: ev})
				if !reflect.DeepEqual(s.kept, before) {
					t.Errorf("%s, %s: said to do nothing, and does", state, ev)
				}
			}
		}
	}
}

func TestTableIsInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/supervision.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), Table()) {
		t.Errorf("docs/reference/supervision.md does not have this table:\n%s", Table())
	}
}

func TestPrepareMeetsEveryEvent(t *testing.T) {
	cases := map[Event]State{EvStart: Starting, EvStop: Stopped, EvRestart: Starting, EvNotBorn: Delayed, EvSpawned: Starting,
		EvDeadline: Delayed}
	for ev, want := range cases {
		t.Run(string(ev), func(t *testing.T) {
			play(t, func(st *stage) {
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
	play(t, func(st *stage) {
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
	play(t, func(st *stage) {
		st.w.startup = func(int, *fakeProcess) error { return proc.ErrStopping }
		st.open()
		st.ask(EvStart)
		st.want(Stopped)
	})
}
