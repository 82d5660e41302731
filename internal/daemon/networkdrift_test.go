package daemon

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/netinit/kernel"
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
func opened(t *testing.T, n *network, change func(*netinit.Config)) {
	t.Helper()
	if err := n.opening(planOf(change))(t.Context(), func(string) {}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestDriftIsRepaired(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *network) {
		opened(t, n, usual)
		m.drift("192.0.2.10/24", "192.0.2.11/24")
		time.Sleep(driftSettle)
		m.wantEvents(t, "repaired: add address 192.0.2.10/24 of eth0; add address 192.0.2.11/24 of eth0")
		m.wantCounts(t, 1, 2)
		if s := n.snapshot(); s.Repairs != 1 || s.RepairFailures != 0 || len(s.Differences) != 0 || !m.repair {
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
	inBubble(t, func(t *testing.T, m *fakeMachine, n *network) {
		opened(t, n, usual)
		n.tools.compare = func(*netinit.Plan, kernel.Options) ([]kernel.Change, error) {
			return []kernel.Change{{Verb: "add", Object: "address"}}, nil
		}
		m.drift()
		time.Sleep(driftSettle)
		m.wantCounts(t, 1, 2)
		m.wantEvents(t)
		if s := n.snapshot(); s.Repairs != 0 || len(s.Differences) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestDriftIsReported(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *network) {
		opened(t, n, func(c *netinit.Config) { c.Drift.Then = "report" })
		m.drift("192.0.2.10/24")
		time.Sleep(time.Hour)
		m.wantEvents(t, "needs: add address 192.0.2.10/24 of eth0")
		m.wantCounts(t, 1, 1)
		if s := n.snapshot(); len(s.Differences) != 1 {
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
	inBubble(t, func(t *testing.T, m *fakeMachine, n *network) {
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
	inBubble(t, func(t *testing.T, m *fakeMachine, n *network) {
		opened(t, n, usual)
		m.set(func() { m.applyErr = errors.New("not permitted") })
		m.drift("192.0.2.10/24")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s := n.snapshot()
		if s.RepairFailures < 10 || s.RepairFailures > 16 || s.Error != "cannot repair the network: not permitted" || len(s.Differences) != 1 {
			t.Errorf("%+v", s)
		}
		m.wantEvents(t, "cannot repair the network: not permitted; needs: add address 192.0.2.10/24 of eth0")
		m.set(func() { m.applyErr = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		if s = n.snapshot(); s.Repairs != 1 || s.Error != "" || len(s.Differences) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Two programs that undo each other's changes do not do so more often than once a minute.
func TestDriftThatComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *network) {
		opened(t, n, usual)
		m.set(func() { m.breaks = true })
		m.drift("192.0.2.10/24")
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := n.snapshot(); s.Repairs < 60 || s.Repairs > 68 {
			t.Errorf("%d repairs in an hour", s.Repairs)
		}
		if m.compared > 300 {
			t.Errorf("compared %d times", m.compared)
		}
		m.wantLog(t, "another program changes it too: next_repair_in=1m0s", 59)
		// A quiet time ends the back-off.
		m.set(func() { m.breaks = false })
		time.Sleep(10 * time.Minute)
		before := n.snapshot().Repairs
		m.drift("192.0.2.11/24")
		time.Sleep(driftSettle)
		m.wantCounts(t, 1, int(before)+2)
	})
}

// Notifications that do not end do not keep the loop busy, nor a failed start from being repeated.
func TestManyNotifications(t *testing.T) {
	inBubble(t, func(t *testing.T, m *fakeMachine, n *network) {
		m.fetchErr = errors.New("connection refused")
		opened(t, n, func(c *netinit.Config) { c.Required = new(false) })
		m.recorded = &kernel.Record{Plan: &netinit.Plan{}}
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
	inBubble(t, func(t *testing.T, m *fakeMachine, n *network) {
		opened(t, n, usual)
		m.drift(make([]string, 1000)...)
		time.Sleep(driftSettle)
		synctest.Wait()
		if len(m.events) != 1 || len(m.events[0]) > driftReason+20 {
			t.Errorf("%d events, %d bytes", len(m.events), len(m.events[0]))
		}
	})
}
