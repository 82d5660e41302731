package kernel

import (
	"context"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/statefile"
	"github.com/stoker-init/stoker/netinit"
)

func TestReadRecord(t *testing.T) {
	dir := t.TempDir()
	if r, err := ReadRecord(dir); r != nil || err != nil {
		t.Errorf("without a file: %v, %v", r, err)
	}
	here, err := namespace()
	must(t, err)
	want := Record{Plan: &netinit.Plan{Hostname: "app1"}, Time: time.Now().UTC(), Namespace: here, Addresses: []RecordedAddress{{"eth0", "", prefixes("192.0.2.1/24")[0]}}}
	must(t, recordFile(dir).Write(want))
	if r, err := ReadRecord(dir); err != nil || !reflect.DeepEqual(*r, want) {
		t.Errorf("read %v, %v, want %v", r, err, want)
	}
	want.Namespace = "1:2 another boot"
	must(t, recordFile(dir).Write(want))
	if r, err := ReadRecord(dir); r != nil || err != nil {
		t.Errorf("of another namespace: %v, %v", r, err)
	}
	must(t, os.WriteFile(recordFile(dir).Path, []byte("{}"), 0o600))
	if _, err := ReadRecord(dir); !isDamaged(err) {
		t.Errorf("a damaged file: %v", err)
	}
}

// TestNamespace makes namespaces one after the other until the kernel uses the number of an inode again.
func TestNamespace(t *testing.T) {
	isolated(t)
	inodes, seen := map[string]bool{}, map[string]bool{}
	again := false
	for begin := time.Now(); !again && time.Since(begin) < 10*time.Second; {
		t.Run("", func(t *testing.T) {
			machine{newNamespace(t)}.in(t, func() {
				inode, err := os.Readlink("/proc/thread-self/ns/net")
				must(t, err)
				id, err := namespace()
				must(t, err)
				if second, err := namespace(); second != id || err != nil {
					t.Errorf("first %q, then %q, %v", id, second, err)
				}
				if seen[id] {
					t.Errorf("%q is of two namespaces", id)
				}
				again = inodes[inode]
				inodes[inode], seen[id] = true, true
			})
		})
	}
	if !again {
		t.Skip("the kernel uses no number again")
	}
}

// TestNamespaceOfOldKernels checks what Linux before 5.14 has.
func TestNamespaceOfOldKernels(t *testing.T) {
	isolated(t)
	here, err := inodeAndStart()
	must(t, err)
	if again, err := inodeAndStart(); again != here || err != nil {
		t.Errorf("%q, then %q, %v", here, again, err)
	}
	machine{newNamespace(t)}.in(t, func() {
		if other, err := inodeAndStart(); other == here || err != nil {
			t.Errorf("two namespaces are %q, %v", other, err)
		}
	})
}

func isDamaged(err error) bool {
	_, ok := errors.AsType[*statefile.DamagedError](err)
	return ok
}

// TestSavedResolv keeps the original of resolv.conf, also after a crash between the record and the file.
func TestSavedResolv(t *testing.T) {
	plan := &netinit.Plan{DNS: netinit.DNS{Search: []string{"new"}}}
	content := netinit.ResolvConf(plan.DNS)
	for name, c := range map[string]struct {
		old     *SavedFile
		file    string
		pending []string
	}{
		"first":                    {nil, "original", []string{content}},
		"changed":                  {&SavedFile{"/r", "original", []string{"ours"}}, "ours", []string{content, "ours"}},
		"killed before the change": {&SavedFile{"/r", "original", []string{"never", "ours"}}, "ours", []string{content, "never", "ours"}},
		"written by others since":  {&SavedFile{"/r", "older", []string{"ours"}}, "original", []string{content}},
		"another file":             {&SavedFile{"/x", "older", []string{"original"}}, "original", []string{content}},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Files: netinit.Files{ResolvConf: "/r"}}
			a := &applier{plan: plan, o: o, record: &Record{Resolv: c.old}, first: &state{resolv: c.file}}
			if got, want := a.savedResolv(true), (&SavedFile{"/r", "original", c.pending}); !reflect.DeepEqual(got, want) {
				t.Errorf("pending: %v, want %v", got, want)
			}
			if got, want := a.savedResolv(false), (&SavedFile{"/r", "original", []string{content}}); !reflect.DeepEqual(got, want) {
				t.Errorf("final: %v, want %v", got, want)
			}
		})
	}
}

// TestUnmarkedAddresses keeps the addresses of kernels without IFA_PROTO in the record.
func TestUnmarkedAddresses(t *testing.T) {
	s := ready()
	for i, p := range prefixes("192.0.2.1/24", "192.0.2.2/24", "192.0.2.3/24") {
		s.addresses = append(s.addresses, address{index: 2, prefix: p, ours: i == 0})
	}
	a := &applier{plan: &netinit.Plan{}, record: &Record{}, first: &s, state: &s}
	var changes []change
	for _, p := range prefixes("192.0.2.1/24", "192.0.2.2/24", "192.0.2.9/24") {
		changes = append(changes, change{Change: Change{"add", "address", "eth0", p.String()}, prefix: p, index: 2})
	}
	a.owned = a.pending(changes)
	if n := len(a.owned.Addresses); n != 3 {
		t.Errorf("pending: %v", a.owned.Addresses)
	}
	want := []RecordedAddress{{"eth0", "02:00:00:00:00:02", prefixes("192.0.2.2/24")[0]}}
	if got := a.final().Addresses; !reflect.DeepEqual(got, want) {
		t.Errorf("final: %v, want %v", got, want)
	}
}

// Two runs with a state folder wait for each other.
func TestApplyIsLocked(t *testing.T) {
	b := newBench(t)
	unlock, err := lock(t.Context(), b.o.StateDir)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Apply(ctx, b.plan, b.o)
	if !errors.Is(err, ErrLocked) {
		t.Errorf("error %v, want that another process changes the network", err)
	}
	unlock()
	b.mustApply()
	// There is nothing to wait for without another run.
	cancel()
	if r, err := Apply(ctx, b.plan, b.o); err != nil || len(r.Changes) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
