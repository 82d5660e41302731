package kernel

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/netinit"
	"golang.org/x/sys/unix"
)

// rewrite is the change of files by a plan, as Apply makes it.
type rewrite struct {
	*applier
	t *testing.T
}

// newRewrite reads the files, whose content is that of the first parameters.
func newRewrite(t *testing.T, resolv, hosts string, plan netinit.Plan) rewrite {
	dir := t.TempDir()
	o := Options{StateDir: dir, Files: netinit.Files{ResolvConf: dir + "/resolv.conf", HostsFile: dir + "/hosts"}}
	must(t, os.WriteFile(o.ResolvConf, []byte(resolv), 0o600))
	must(t, os.WriteFile(o.HostsFile, []byte(hosts), 0o600))
	ns, err := namespace()
	must(t, err)
	r := rewrite{&applier{plan: &plan, o: o, namespace: ns, record: &Record{}, skipped: map[Change]bool{}}, t}
	r.read()
	return r
}

func (r rewrite) read() {
	r.state, r.done = &state{}, nil
	r.readRecord()
	must(r.t, r.state.readFiles(r.plan, r.o))
	r.first = r.state
}

// change finds the differences and removes them, and calls meanwhile in between.
func (r rewrite) change(meanwhile func()) {
	r.t.Helper()
	changes := diff(r.plan, nil, r.state, r.record, r.o).changes
	r.owned = r.pending(changes)
	r.writeRecord(r.owned)
	meanwhile()
	for _, c := range changes {
		must(r.t, r.make(c))
	}
}

func (r rewrite) undo() {
	r.t.Helper()
	slices.Reverse(r.done)
	if failed, why := r.applier.undo(r.done); len(failed) > 0 {
		r.t.Error(why)
	}
}

func (r rewrite) append(path, line string) {
	r.t.Helper()
	must(r.t, os.WriteFile(path, []byte(readFile(r.t, path)+line), 0o600))
}

func (r rewrite) want(step, resolv, hosts string) {
	r.t.Helper()
	if got := readFile(r.t, r.o.ResolvConf); got != resolv {
		r.t.Errorf("%s: resolv.conf is %q, want %q", step, got, resolv)
	}
	if got := readFile(r.t, r.o.HostsFile); got != hosts {
		r.t.Errorf("%s: hosts is %q, want %q", step, got, hosts)
	}
}

const (
	block1 = netinit.HostsBegin + "\n192.0.2.1\ta\n" + netinit.HostsEnd + "\n"
	block2 = netinit.HostsBegin + "\n192.0.2.2\tb\n" + netinit.HostsEnd + "\n"
)

// filesPlan has something for both files: block2 for that of the hosts.
func filesPlan() netinit.Plan {
	host := netinit.Host{Address: prefixes("192.0.2.2/32")[0].Addr(), Names: []string{"b"}}
	return netinit.Plan{DNS: netinit.DNS{Search: []string{"new"}}, Hosts: []netinit.Host{host}}
}

// What others write into the files between the look at them and the change, and between the change and its undo, is kept.
func TestFilesChangedMeanwhile(t *testing.T) {
	plan := filesPlan()
	ours := netinit.ResolvConf(plan.DNS)
	r := newRewrite(t, "first\n", "x\n"+block1, plan)
	r.change(func() { r.append(r.o.HostsFile, "y\n"); r.append(r.o.ResolvConf, "second\n") })
	r.want("changed", ours, "x\n"+block2+"y\n")
	record, err := ReadRecord(r.o.StateDir)
	must(t, err)
	if record.Resolv.Original != "first\nsecond\n" || r.final().Resolv.Original != "first\nsecond\n" {
		t.Errorf("the original of resolv.conf is recorded as %q, then %q", record.Resolv.Original, r.final().Resolv.Original)
	}
	r.append(r.o.HostsFile, "z\n")
	r.append(r.o.ResolvConf, "third\n")
	r.undo()
	r.want("undone", ours+"third\n", "x\n"+block1+"y\nz\n")

	const noNewline = "x"
	r = newRewrite(t, noNewline, noNewline, plan)
	r.change(func() {})
	r.undo()
	r.want("undone without others", noNewline, noNewline)
}

// A file that cannot be written is no missing capability.
func TestFileThatCannotBeWritten(t *testing.T) {
	r := newRewrite(t, "first\n", "x\n", filesPlan())
	must(t, os.Chmod(r.o.ResolvConf, 0o400))
	c := diff(r.plan, nil, r.state, r.record, r.o).changes[0]
	withoutCapability(t, unix.CAP_DAC_OVERRIDE, func() {
		err := r.make(c)
		if _, hint := errors.AsType[*HintError](err); errors.Is(err, ErrNotPermitted) || !hint || !strings.Contains(err.Error(), r.o.ResolvConf) {
			t.Errorf("%v, want one with a hint", err)
		}
	})
}

// A run that is killed between the write and the truncation leaves nothing that has a meaning, and the original of resolv.conf is known.
func TestKilledBeforeTruncation(t *testing.T) {
	plan := filesPlan()
	r := newRewrite(t, "first\n", "x\n", plan)
	r.change(func() {})
	r.append(r.o.ResolvConf, strings.Repeat("\n", 20))
	r.record = &Record{}
	r.read()
	r.change(func() {})
	r.want("the next run", netinit.ResolvConf(plan.DNS), "x\n"+block2)
	r.writeRecord(r.final())
	r.plan = &netinit.Plan{}
	r.read()
	r.change(func() {})
	r.want("without a plan", "first\n", "x\n")
}
