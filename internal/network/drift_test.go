package network

import (
	"encoding/json"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/netinit/kernel"
	"github.com/stoker-init/stoker/netinit/source"
)

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// opened is a network that is configured.
func opened(t *testing.T, n *Network, change func(*netinit.Config)) {
	t.Helper()
	if err := n.Opening(settingsOf(change))(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestDriftIsRepaired(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, usual)
		m.drift("192.0.2.10/24", "192.0.2.11/24")
		time.Sleep(driftSettle)
		m.wantEvents(t, "repaired: add address 192.0.2.10/24 of eth0; add address 192.0.2.11/24 of eth0")
		m.wantCounts(t, 1, 2)
		if s := n.Snapshot(); s.Repairs != 1 || s.RepairFailures != 0 || len(s.Differences) != 0 || !m.repair {
			t.Errorf("%+v", s)
		}
		// Without a notification it is found at the next comparison.
		m.set(func() {
			m.differs = []kernel.Change{{Verb: "set", Object: "link", Link: "eth0", Detail: "mtu 1450 (was 1500)"}}
		})
		time.Sleep(time.Minute)
		m.wantCounts(t, 1, 3)
	})
}

// What another program puts right meanwhile, such as netinit apply, is no drift.
func TestDriftThatIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, usual)
		n.tools.compare = func(*netinit.Plan, kernel.Options) ([]kernel.Change, error) {
			return []kernel.Change{{Verb: "add", Object: "address"}}, nil
		}
		m.drift()
		time.Sleep(driftSettle)
		m.wantCounts(t, 1, 2)
		m.wantEvents(t)
		if s := n.Snapshot(); s.Repairs != 0 || len(s.Differences) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDriftIsReported(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, func(c *netinit.Config) { c.Drift.Then = "report" })
		m.drift("192.0.2.10/24")
		time.Sleep(time.Hour)
		m.wantEvents(t, "needs: add address 192.0.2.10/24 of eth0")
		m.wantCounts(t, 1, 1)
		if s := n.Snapshot(); len(s.Differences) != 1 {
			t.Errorf("%+v", s)
		}
		m.drift("192.0.2.11/24")
		time.Sleep(time.Hour)
		m.drift()
		time.Sleep(time.Hour)
		m.wantLog(t, "the network is again what was applied", 1)
		m.drift("192.0.2.11/24")
		time.Sleep(time.Hour)
		const again = "needs: add address 192.0.2.11/24 of eth0"
		m.wantEvents(t, "needs: add address 192.0.2.10/24 of eth0", again, again)
	})
}

func TestDriftIsIgnored(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, func(c *netinit.Config) { c.Drift.Then = ignoreDrift })
		m.set(func() { m.differs = []kernel.Change{{Verb: "add", Object: "address"}} })
		time.Sleep(time.Hour)
		m.wantCounts(t, 1, 1)
		if m.changed != nil || m.compared != 0 {
			t.Error("it is watched")
		}
	})
}

// Repairs that fail come less and less often, and the event comes once.
func TestRepairFails(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, usual)
		m.set(func() { m.applyErr = errors.New("not permitted") })
		m.drift("192.0.2.10/24")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s := n.Snapshot()
		if s.RepairFailures < 10 || s.RepairFailures > 16 || s.Error != "cannot repair the network: not permitted" || len(s.Differences) != 1 {
			t.Errorf("%+v", s)
		}
		m.wantEvents(t, "cannot repair the network: not permitted; needs: add address 192.0.2.10/24 of eth0")
		m.set(func() { m.applyErr = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		if s = n.Snapshot(); s.Repairs != 1 || s.Error != "" || len(s.Differences) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Two programs that undo each other's changes do not do so more often than once a minute.
func TestDriftThatComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, usual)
		m.set(func() { m.breaks = true })
		m.drift("192.0.2.10/24")
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := n.Snapshot(); s.Repairs < 60 || s.Repairs > 68 {
			t.Errorf("%d repairs in an hour", s.Repairs)
		}
		if m.compared > 300 {
			t.Errorf("compared %d times", m.compared)
		}
		m.wantLog(t, "another program changes it too: next_repair_in=1m0s", 59)
		// Other differences are repaired at once all the same, and do not end the back-off.
		before := n.Snapshot().Repairs
		for n.Snapshot().Repairs == before {
			time.Sleep(time.Second)
		}
		m.set(func() { m.breaks = false })
		m.drift("192.0.2.12/24", "192.0.2.10/24")
		time.Sleep(2 * driftSettle)
		m.wantCounts(t, 1, int(before)+3)
		m.drift("192.0.2.10/24")
		time.Sleep(50 * time.Second)
		m.wantCounts(t, 1, int(before)+3)
		// A quiet time ends the back-off.
		time.Sleep(10 * time.Minute)
		before = n.Snapshot().Repairs
		m.drift("192.0.2.11/24")
		time.Sleep(driftSettle)
		m.wantCounts(t, 1, int(before)+2)
	})
}

// What a link that goes down and up again has lost is repaired at once, however often; also what one that is replaced has lost.
func TestLinkFlaps(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, usual)
		for i := range 50 {
			if i%2 == 0 {
				m.flap(func(l *net.Interface) { l.Flags = 0 })
			} else {
				m.flap(func(l *net.Interface) { l.Index += 10 })
			}
			m.drift("192.0.2.10/24")
			time.Sleep(driftSettle + time.Duration(i%4)*400*time.Millisecond) // the next is seen while the changes of the repair settle
			m.wantCounts(t, 1, i+2)
		}
		m.wantLog(t, "another program", 0)
	})
}

// A flap may be over before it is seen: one of two is no reason for a back-off.
func TestLinkFlapsUnseen(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, usual)
		for i := range 50 {
			if i%2 == 0 {
				m.flap(func(l *net.Interface) { l.Flags = 0 })
			}
			m.drift("192.0.2.10/24")
			time.Sleep(driftSettle + 400*time.Millisecond)
			m.wantCounts(t, 1, i+2)
		}
		m.wantLog(t, "another program", 0)
	})
}

// A program that takes the link down is no flapping link.
func TestLinkIsTakenDown(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, usual)
		down := kernel.Change{Verb: "set", Object: "link", Link: "eth0", Detail: "up"}
		for range 600 {
			m.set(func() { m.differs = []kernel.Change{down} })
			m.flap(func(l *net.Interface) { l.Flags = 0 })
			time.Sleep(time.Second)
		}
		if s := n.Snapshot(); s.Repairs > 16 {
			t.Errorf("%d repairs in ten minutes", s.Repairs)
		}
		// It comes up by itself in the back-off.
		before := n.Snapshot().Repairs
		m.drift("192.0.2.10/24")
		time.Sleep(driftSettle)
		m.wantCounts(t, 1, int(before)+2)
	})
}

// A link that is not there is named as such, and its repair says what was changed.
func TestLinkIsAbsent(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, usual)
		n.tools.compare = func(*netinit.Plan, kernel.Options) ([]kernel.Change, error) {
			return []kernel.Change{{Verb: "add", Object: "link", Link: "eth1", Detail: "there is none with MAC address 02:00:5e:aa:0b:01"}}, nil
		}
		m.set(func() { m.applyErr = kernel.ErrNoLink })
		m.changed()
		time.Sleep(driftSettle)
		synctest.Wait()
		const want = "link eth1: there is none with MAC address 02:00:5e:aa:0b:01"
		if s := n.Snapshot(); len(s.Differences) != 1 || s.Differences[0] != want {
			t.Errorf("%q", s.Differences)
		}
		m.set(func() { m.applyErr = nil })
		m.drift("192.0.2.10/24")
		time.Sleep(driftPause)
		m.wantLog(t, `changes="add address 192.0.2.10/24 of eth0"`, 1)
	})
}

// After a start with the last good description the source is asked again, until it answers.
func TestStaleDescriptionIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		m.stale = errors.New("connection refused")
		opened(t, n, func(c *netinit.Config) { c.Drift.Then = ignoreDrift })
		time.Sleep(150 * time.Second)
		m.wantCounts(t, 3, 1)
		m.wantLog(t, "[ERROR]", 0)
		if s := n.Snapshot(); s.Stale != "connection refused" || s.Error != "" || s.Doing != "" || m.saved.Pending {
			t.Errorf("%+v, pending %v", s, m.saved.Pending)
		}
		m.set(func() { m.stale, m.fetchErr = nil, &source.RefusedError{Err: errors.New("links[0]: x")} })
		time.Sleep(time.Minute)
		m.wantLog(t, "the network is not configured; it stays as it was", 1)
		if m.longest > staleWait {
			t.Errorf("a source that does not answer holds up the repairs for %s", m.longest)
		}
		// The next supervisor continues.
		next := m.network(n.ctx)
		n.current().stop()
		m.set(func() { m.fetchErr, m.saved.Pending = nil, false })
		items := fdstore.NewItems()
		items.Add(fdItem, mustJSON(t, m.saved), nil)
		next.Resume(settingsOf(usual), items)
		time.Sleep(time.Hour)
		m.wantCounts(t, 5, 2)
		if s := next.Snapshot(); s.Stale != "" || s.Error != "" {
			t.Errorf("%+v", s)
		}
	})
}

// What an earlier container has applied is not put into force where this one has no description.
func TestRecordOfAnEarlierContainer(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		m.fetchErr = &source.RefusedError{Err: errors.New("links[0]: x")}
		m.recorded = &kernel.Record{Plan: &netinit.Plan{}, Time: time.Now().Add(-time.Minute)}
		opened(t, n, func(c *netinit.Config) { c.Required = new(false) })
		m.drift("192.0.2.10/24")
		time.Sleep(10 * time.Minute)
		m.wantCounts(t, 11, 0)
		m.set(func() { m.recorded.Time = time.Now() }) // applied by hand
		m.changed()
		time.Sleep(driftSettle)
		m.wantCounts(t, 11, 1)
	})
}

// Notifications that do not end do not keep the loop busy, nor a failed start from being repeated.
func TestManyNotifications(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		m.fetchErr = errors.New("connection refused")
		opened(t, n, func(c *netinit.Config) { c.Required = new(false) })
		m.recorded = &kernel.Record{Plan: &netinit.Plan{}, Time: time.Now()}
		for range 1200 {
			m.changed()
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if m.compared > 125 || m.compared < 100 || m.fetched != 3 {
			t.Errorf("compared %d times, fetched %d times in two minutes", m.compared, m.fetched)
		}
	})
}

func TestDriftReasonIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *Network) {
		opened(t, n, usual)
		m.drift(make([]string, 1000)...)
		time.Sleep(driftSettle)
		synctest.Wait()
		if len(m.events) != 1 || len(m.events[0]) > driftReason+20 {
			t.Errorf("%d events, %d bytes", len(m.events), len(m.events[0]))
		}
	})
}
