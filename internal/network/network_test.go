package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/netinit/kernel"
	"github.com/stoker-init/stoker/netinit/source"
)

// fakeMachine is a source and a kernel.
type fakeMachine struct {
	mu       sync.Mutex // guards the fields below
	fetchErr error
	stale    error // the last good description is used, if that is allowed
	link     net.Interface
	hangs    bool // the source does not answer
	applyErr error
	differs  []kernel.Change
	recorded *kernel.Record
	repair   bool // what the last apply was
	breaks   bool // another program changes what was applied at once
	changed  func()

	fetched, applied, compared int
	longest                    time.Duration // that the last fetch could have taken
	events                     []string
	saved                      saved
	log                        strings.Builder
}

// set changes what the machine does.
func (m *fakeMachine) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// drift makes the kernel differ, with a notification.
func (m *fakeMachine) drift(details ...string) {
	m.set(func() {
		m.differs = nil
		for _, d := range details {
			m.differs = append(m.differs, kernel.Change{Verb: "add", Object: "address", Link: "eth0", Detail: d})
		}
	})
	m.changed()
}

// flap changes the link for a moment, with a notification.
func (m *fakeMachine) flap(change func(*net.Interface)) {
	m.set(func() { change(&m.link) })
	m.changed()
	synctest.Wait()
	time.Sleep(time.Millisecond)
	m.set(func() { m.link.Flags = net.FlagUp })
	m.changed()
	synctest.Wait()
}

func (m *fakeMachine) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Write(p)
}

func (m *fakeMachine) tools() tools {
	return tools{
		fetch: func(ctx context.Context, o source.Options) (*source.Description, error) {
			m.mu.Lock()
			m.fetched++
			hangs, err, stale := m.hangs, m.fetchErr, m.stale
			m.longest = o.Wait
			m.mu.Unlock()
			o.OnRetry(errors.New("connection refused"))
			if hangs {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			if err != nil {
				return nil, err
			}
			if stale != nil && o.RequireFresh {
				return nil, &source.UnreachableError{Err: stale}
			}
			return &source.Description{Plan: &netinit.Plan{Warnings: []string{"four name servers"}}, From: o.Source, Time: time.Now(),
				Stale: stale}, nil
		},
		apply: func(_ context.Context, _ *netinit.Plan, o kernel.Options) (*kernel.Result, error) {
			if o.OnMissing != nil {
				o.OnMissing(`"eth0" (name eth0)`)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.applied++
			m.repair = o.Repair
			if m.applyErr != nil {
				return nil, m.applyErr
			}
			m.recorded = &kernel.Record{Plan: &netinit.Plan{}, Time: time.Now()}
			result := &kernel.Result{Changes: m.differs}
			if m.differs = nil; m.breaks {
				m.differs = result.Changes
				m.changed()
			}
			return result, nil
		},
		compare: func(*netinit.Plan, kernel.Options) ([]kernel.Change, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.compared++
			return m.differs, nil
		},
		record: func(string) (*kernel.Record, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.recorded, nil
		},
		watch: func(context.Context) (<-chan struct{}, error) {
			changes := make(chan struct{}, 1)
			m.set(func() {
				m.changed = func() {
					select {
					case changes <- struct{}{}:
					default:
					}
				}
			})
			return changes, nil
		},
		links: func() ([]net.Interface, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return []net.Interface{{Index: 1, Flags: net.FlagUp}, m.link}, nil
		},
		announce: func(context.Context, []kernel.Announcement, hclog.Logger) {},
	}
}

func (m *fakeMachine) network(ctx context.Context) *Network {
	return &Network{tools: m.tools(), log: hclog.New(&hclog.LoggerOptions{Output: m}), ctx: ctx, folder: "/state",
		save:    func(s saved) error { m.set(func() { m.saved = s }); return nil },
		drifted: func(reason string) { m.set(func() { m.events = append(m.events, reason) }) }}
}

// wantCounts compares how often the machine was asked.
func (m *fakeMachine) wantCounts(t *testing.T, fetched, applied int) {
	t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fetched != fetched || m.applied != applied {
		t.Errorf("fetched %d times, applied %d times, want %d and %d", m.fetched, m.applied, fetched, applied)
	}
}

func (m *fakeMachine) wantEvents(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if fmt.Sprintf("%q", m.events) != fmt.Sprintf("%q", want) {
		t.Errorf("events %q, want %q", m.events, want)
	}
}

func (m *fakeMachine) wantLog(t *testing.T, want string, times int) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := strings.Count(m.log.String(), want); n != times {
		t.Errorf("the log has %q %d times, want %d:\n%s", want, n, times, m.log.String())
	}
}

// settingsOf is a section netinit.
func settingsOf(change func(*netinit.Config)) Settings {
	cfg := config.Config{Netinit: netinit.Config{Source: "/net.yaml"}}
	change(&cfg.Netinit)
	return Settings{Config: config.WithDefaults(cfg).Netinit}
}

func usual(*netinit.Config) {}

// inBubble runs a test with a machine whose workers end with it.
func inBubble(t *testing.T, f func(t *testing.T, m *fakeMachine, n *Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		m := &fakeMachine{link: net.Interface{Index: 2, Flags: net.FlagUp}}
		f(t, m, m.network(ctx))
		cancel()
		synctest.Wait()
	})
}

func TestNetworkOpens(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		if n.Opening(settingsOf(func(c *netinit.Config) { c.Source = "" })) != nil || n.Snapshot() != nil {
			t.Error("without a source there is something to do")
		}
		var waits []string
		if err := n.Opening(settingsOf(usual))(t.Context(), func(what string) { waits = append(waits, what) }); err != nil {
			t.Fatal(err)
		}
		if want := []string{"its description is fetched from /net.yaml", "no description from /net.yaml yet: connection refused",
			"the description from /net.yaml is applied", `no link yet: "eth0" (name eth0)`}; !slices.Equal(waits, want) {
			t.Errorf("the services wait for %q", waits)
		}
		m.wantCounts(t, 1, 1)
		if s := n.Snapshot(); s.Applied == nil || s.From != "/net.yaml" || s.Error != "" || s.Doing != "" {
			t.Errorf("%+v", s)
		}
		m.wantLog(t, `warning="four name servers"`, 1)
		n.Reload(settingsOf(usual), settingsOf(usual), true)
		m.wantCounts(t, 2, 2)
		m.wantLog(t, `warning="four name servers"`, 1)
	})
}

func TestNetworkError(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		code int
		hint string
	}{
		"refused":       {&source.RefusedError{Err: errors.New("links[0]: x")}, 65, ""},
		"unreachable":   {&source.UnreachableError{Err: errors.New("connection refused"), Waited: true}, 68, "--wait"},
		"no such page":  {&source.UnreachableError{Err: errors.New("it answers with the status 404")}, 68, ""},
		"not permitted": {fmt.Errorf("x: %w", kernel.ErrNotPermitted), 3, "NET_ADMIN"},
		"no link":       {fmt.Errorf("x: %w", kernel.ErrNoLink), 75, "optional: true"},
		"as a user":     {&kernel.HintError{Err: fmt.Errorf("x: %w", kernel.ErrNotPermitted), Hint: "run stoker as root"}, 3, "as root"},
		"locked":        {fmt.Errorf("x: %w", kernel.ErrLocked), 75, "stoker status"},
		"interrupted":   {fmt.Errorf("x: %w", kernel.ErrInterrupted), 75, ""},
		"two links":     {fmt.Errorf("x: %w", kernel.ErrAmbiguous), 71, "by its name"},
		"duplicate":     {fmt.Errorf("x: %w", kernel.ErrDuplicate), 75, ""},
		"tentative":     {fmt.Errorf("x: %w", kernel.ErrTentative), 75, ""},
		"too late":      {context.DeadlineExceeded, 75, ""},
		"hint":          {fmt.Errorf("x: %w", &kernel.HintError{Err: errors.New("x"), Hint: "y"}), 71, "y"},
		"other":         {errors.New("file exists"), 71, ""},
		"usage":         {exit.UsageError("y", "x"), 2, "y"},
	} {
		err := Error(tc.err)
		var coded *exit.Error
		if !errors.As(err, &coded) || coded.Code != tc.code || !strings.Contains(coded.Hint, tc.hint) || (tc.hint == "") != (coded.Hint == "") {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

// An error at the start ends the container; the supervisor logs it.
func TestNetworkIsRequired(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		m.applyErr = fmt.Errorf("cannot add an address: %w", kernel.ErrNotPermitted)
		err := n.Opening(settingsOf(usual))(t.Context(), func(string) {})
		e, ok := errors.AsType[*exit.Error](err)
		if !ok || e.Code != exit.Refused || !strings.Contains(e.Hint, "NET_ADMIN; netinit.required: false") {
			t.Errorf("%v: %+v", err, e)
		}
		m.wantLog(t, "[ERROR]", 0)
	})
}

// Where it is not required the container goes on, and the network is configured when that is possible.
func TestNetworkIsNotRequired(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		m.fetchErr = &source.UnreachableError{Err: errors.New("connection refused")}
		err := n.Opening(settingsOf(func(c *netinit.Config) { c.Required = new(false) }))(t.Context(), func(string) {})
		if s := n.Snapshot(); err != nil || s.Applied != nil || s.Error != "connection refused" || !m.saved.Pending {
			t.Errorf("%v, %+v", err, s)
		}
		m.wantLog(t, "the container goes on with that of the runtime", 1)
		time.Sleep(150 * time.Second)
		m.wantCounts(t, 3, 0)
		m.wantLog(t, "connection refused", 1)
		m.set(func() { m.fetchErr = nil })
		time.Sleep(time.Minute)
		m.wantCounts(t, 4, 1)
		if s := n.Snapshot(); s.Applied == nil || s.Error != "" || m.saved.Pending {
			t.Errorf("%+v", s)
		}
		time.Sleep(time.Hour)
		m.wantCounts(t, 4, 1)
	})
}

// A stop does not wait for the source.
func TestStopWhileTheNetworkIsAwaited(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		m.hangs = true
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if err := n.Opening(settingsOf(usual))(ctx, func(string) {}); !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.Sleep(time.Hour)
		m.wantCounts(t, 1, 0)
	})
}

// A reload during the opening replaces the source that does not answer.
func TestReloadWhileTheNetworkIsAwaited(t *testing.T) {
	for name, next := range map[string]func(*netinit.Config){"changed": func(c *netinit.Config) { c.Source = "/other.yaml" },
		"removed": func(c *netinit.Config) { c.Source = "" }} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
				m.hangs = true
				time.AfterFunc(time.Second, func() {
					m.set(func() { m.hangs = false })
					n.Reload(settingsOf(usual), settingsOf(next), false)
				})
				began := time.Now()
				if err := n.Opening(settingsOf(usual))(t.Context(), func(string) {}); err != nil || time.Since(began) != time.Second {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				if s := n.Snapshot(); (s == nil) != (name == "removed") || s != nil && s.From != "/other.yaml" {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestNetworkReload(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		none, some := settingsOf(func(c *netinit.Config) { c.Source = "" }), settingsOf(usual)
		n.Reload(none, none, true)
		m.wantCounts(t, 0, 0)
		n.Reload(none, some, false) // added
		m.wantCounts(t, 1, 1)
		n.Reload(some, some, false) // another section has changed
		m.wantCounts(t, 1, 1)
		n.Reload(some, some, true) // asked for
		m.wantCounts(t, 2, 2)
		m.set(func() { m.applyErr = errors.New("no buffer space") })
		n.Reload(some, settingsOf(func(c *netinit.Config) { c.Source = "/other.yaml" }), false)
		m.wantCounts(t, 3, 3)
		m.wantLog(t, "the network is not configured; it stays as it was: error=\"no buffer space\"", 1)
		if s := n.Snapshot(); s.Applied == nil || s.From != "/net.yaml" || s.Error != "no buffer space" {
			t.Errorf("%+v", s)
		}
		n.Reload(some, none, false)
		m.drift("192.0.2.10/24")
		time.Sleep(time.Hour)
		m.wantCounts(t, 3, 3)
		m.wantEvents(t)
		m.wantLog(t, "the network stays as it is and is not checked", 1)
		if n.Snapshot() != nil {
			t.Error("it has a status")
		}
	})
}

// The next supervisor continues with what was applied, or configures the network if that had not succeeded.
func TestNetworkResumes(t *testing.T) {
	applied := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		saved    saved
		recorded *kernel.Record
		fetched  int
	}{
		"applied":    {saved{}, &kernel.Record{Plan: &netinit.Plan{}}, 0},
		"pending":    {saved{Pending: true}, &kernel.Record{Plan: &netinit.Plan{}}, 1},
		"unrecorded": {saved{}, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
				tc.saved.Status.Applied, tc.saved.Status.Repairs = &applied, 7
				items := fdstore.NewItems()
				items.Add(fdItem, mustJSON(t, tc.saved), nil)
				m.recorded = tc.recorded
				n.Resume(settingsOf(usual), items)
				m.wantCounts(t, tc.fetched, tc.fetched)
				if s := n.Snapshot(); s.Repairs != 0 || s.Applied.Equal(applied) != (tc.fetched == 0) {
					t.Errorf("%+v", s)
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				m.drift("192.0.2.10/24")
				time.Sleep(2 * time.Second)
				m.wantEvents(t, "repaired: add address 192.0.2.10/24 of eth0")
			})
		})
	}
}
