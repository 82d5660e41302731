package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/procfs"
	"github.com/stoker-init/stoker/internal/statefile"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// Record is what was applied in this network namespace. It is written before the first change and after the last, so that after a crash
// what was added is found.
type Record struct {
	Plan *netinit.Plan `json:"plan"`
	Time time.Time     `json:"time"`
	// Namespace identifies the network namespace.
	Namespace string `json:"namespace"`
	// Addresses are those that were added and have no mark: the kernel has no IFA_PROTO, or they were not there yet. With IFA_PROTO only
	// the mark counts.
	Addresses []RecordedAddress `json:"addresses,omitempty"`
	Links     []string          `json:"links,omitempty"`   // names of the VLANs
	Renamed   []RenamedLink     `json:"renamed,omitempty"` // other links
	Resolv    *SavedFile        `json:"resolv_conf,omitempty"`
}

// RecordedAddress is an address that was added.
type RecordedAddress struct {
	Link   string       `json:"link"` // name
	MAC    string       `json:"mac,omitempty"`
	Prefix netip.Prefix `json:"prefix"`
}

// RenamedLink is a link that the plan matches by name and renames. Until it has its new name the renaming has not happened.
type RenamedLink struct {
	Name  string `json:"name"` // the new one
	Index int    `json:"index"`
	MAC   string `json:"mac,omitempty"`
}

// SavedFile is a file that was changed.
type SavedFile struct {
	Path     string   `json:"path"`
	Original string   `json:"original"`
	Written  []string `json:"written"` // what it may contain now
}

// hasAddress reports whether an address was added to a link.
func (r *Record) hasAddress(l *link, p netip.Prefix) bool {
	return slices.ContainsFunc(r.Addresses, func(a RecordedAddress) bool {
		return a.Prefix == p && (a.Link == l.name || a.MAC == l.mac && a.MAC != "")
	})
}

// hasRenamed reports whether a link has its name from an earlier run.
func (r *Record) hasRenamed(l *link) bool {
	return slices.Contains(r.Renamed, RenamedLink{l.name, l.index, l.mac})
}

func recordFile(stateDir string) statefile.File {
	return statefile.File{Path: filepath.Join(stateDir, "applied.json"), Kind: "netinit-applied", Max: 8 << 20}
}

// ReadRecord returns the record of this network namespace; nil without an error: nothing was applied in it, or stateDir is empty.
func ReadRecord(stateDir string) (*Record, error) {
	if stateDir == "" {
		return nil, nil
	}
	var r Record
	switch err := recordFile(stateDir).Read(&r); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	ns, err := namespace()
	if err != nil || r.Namespace != ns || r.Plan == nil {
		return nil, err
	}
	return &r, nil
}

// namespace identifies this network namespace, by what the kernel does not use again in this boot. The number of its inode alone is used
// again by the next namespace.
func namespace() (string, error) {
	boot, err := untrusted.ReadFile("/proc/sys/kernel/random/boot_id", 100)
	if err != nil {
		return "", fmt.Errorf("cannot identify the boot: %w", untrusted.Cause(err))
	}
	id, err := cookie()
	if errors.Is(err, unix.ENOPROTOOPT) { // before Linux 5.14
		id, err = inodeAndStart()
	}
	if err != nil {
		return "", fmt.Errorf("cannot identify the network namespace: %w", err)
	}
	return id + " " + strings.TrimSpace(string(boot)), nil
}

// cookie is a number that the kernel gives to one network namespace only.
func cookie() (string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	id, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return fmt.Sprintf("cookie %d", id), err
}

// inodeAndStart is the inode of the network namespace and the start of process 1, in clock ticks since boot: a container that starts
// again has another one.
func inodeAndStart() (string, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return "", err
	}
	first, err := procfs.ReadStat(1)
	return fmt.Sprintf("inode %d:%d start %d", st.Dev, st.Ino, first.Start), err
}

// ErrLocked is the error of Apply when another process has not finished its own in time.
var ErrLocked = errors.New("another process changes the network")

// lock waits until no other process applies a plan with this state folder, and creates that. unlock can be called after an error too.
func lock(ctx context.Context, stateDir string) (unlock func(), err error) {
	unlock = func() {}
	if stateDir == "" {
		return unlock, nil
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return unlock, err
	}
	file, err := os.OpenFile(filepath.Join(stateDir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return unlock, err
	}
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { file.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			file.Close()
			return unlock, fmt.Errorf("cannot lock %s: %w", file.Name(), err)
		}
		select {
		case <-ctx.Done():
			file.Close()
			if errors.Is(ctx.Err(), context.Canceled) {
				return unlock, fmt.Errorf("%w while waiting for the lock %s", ErrInterrupted, file.Name())
			}
			return unlock, fmt.Errorf("cannot lock %s in time: %w", file.Name(), ErrLocked)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// pending returns the record to write before the changes: it has all that will be added, and all that was.
func (a *applier) pending(changes []change) *Record {
	r := *a.record
	r.Plan, r.Time, r.Namespace = a.plan, time.Now().UTC(), a.namespace
	for _, c := range changes {
		switch {
		case c.Verb != "add":
		case c.Object == "link":
			r.Links = append(slices.Clone(r.Links), c.Link)
		case c.Object == "address":
			// A link that does not exist yet is a VLAN: its name is known, and its MAC address is that of its parent.
			added := RecordedAddress{Link: c.Link, Prefix: c.prefix}
			if l := a.state.link(c.index); l != nil {
				added.MAC = l.mac
			}
			r.Addresses = append(slices.Clone(r.Addresses), added)
		}
	}
	r.Renamed = a.renamed()
	r.Resolv = a.savedResolv(true)
	return &r
}

// final returns the record to write after the changes. Addresses and links that have their mark need no record.
func (a *applier) final() *Record {
	r := Record{Plan: a.plan, Time: time.Now().UTC(), Namespace: a.namespace, Renamed: a.renamed(), Resolv: a.savedResolv(false)}
	for _, x := range a.state.addresses {
		if l := a.state.link(x.index); l != nil && !x.ours && !a.state.marks && a.owned.hasAddress(l, x.prefix) {
			r.Addresses = append(r.Addresses, RecordedAddress{l.name, l.mac, x.prefix})
		}
	}
	for _, l := range a.state.links {
		if l.kind == "vlan" && l.alias != alias && slices.Contains(a.owned.Links, l.name) {
			r.Links = append(r.Links, l.name)
		}
	}
	return &r
}

// renamed returns the links that the plan matches by name and renames.
func (a *applier) renamed() []RenamedLink {
	var list []RenamedLink
	for i, l := range a.plan.Links {
		if have := a.state.link(a.found[i]); have != nil && l.Rename != "" && l.Match.Name != "" {
			list = append(list, RenamedLink{l.Rename, have.index, have.mac})
		}
	}
	return list
}

// savedResolv returns the original of resolv.conf. While the change is pending, the file may have the content of the last run or of this.
func (a *applier) savedResolv(pending bool) *SavedFile {
	old := a.record.Resolv
	if old != nil && (old.Path != a.o.ResolvConf || !slices.Contains(old.Written, a.first.resolv)) {
		old = nil // another program has written it since
	}
	if a.o.ResolvConf == "" || a.plan.DNS.IsZero() {
		if pending {
			return old
		}
		return nil
	}
	saved := &SavedFile{Path: a.o.ResolvConf, Original: a.first.resolv, Written: []string{netinit.ResolvConf(a.plan.DNS)}}
	if old != nil {
		saved.Original = old.Original
		if pending {
			saved.Written = append(saved.Written, old.Written...)
		}
	}
	return saved
}

// writeRecord reports whether the record could be written.
func (a *applier) writeRecord(r *Record) {
	if a.o.StateDir == "" || a.unrecorded {
		return
	}
	if err := recordFile(a.o.StateDir).Write(r); err != nil {
		a.unrecorded = true
		a.warn("cannot record what is applied: %v", err)
	}
}

// samePlan reports whether two plans have the same content.
func samePlan(a, b *netinit.Plan) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}
