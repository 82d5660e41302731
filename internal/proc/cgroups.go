package proc

import (
	"os"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Cgroups are the directories of the process's own cgroup; none: it has none.
func (p *Process) Cgroups() []string { return p.rec.Dirs }

// inCgroups lists who is in the process's own cgroup, as far as can be seen.
func (p *Process) inCgroups() []int {
	var out []int
	for _, dir := range p.rec.Dirs {
		data, err := os.ReadFile(dir + "/cgroup.procs")
		if err == nil {
			out = append(out, procfs.ParsePids(strings.Fields(string(data)))...)
		}
	}
	return out
}

// killCgroups ends everybody in the process's own cgroup at once, where the
// kernel can (cgroup v2, Linux 5.14), and says whether it did: whoever looks
// afterwards may find them dead already.
func (p *Process) killCgroups() (killed bool) {
	members := p.inCgroups()
	if len(members) == 0 || slices.Contains(members, os.Getpid()) || slices.Contains(members, p.m.initPid) {
		return false // somebody put us there
	}
	for _, dir := range p.rec.Dirs {
		f, err := os.OpenFile(dir+"/cgroup.kill", os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		if _, err := f.WriteString("1"); err == nil { // what it does not reach, the sweep does
			killed = true
		}
		f.Close()
	}
	return killed
}

// removeCgroups removes the directories, unless somebody is in there: then they
// are the next start's to reuse or to remove.
func removeCgroups(dirs []string) {
	for _, dir := range slices.Backward(dirs) {
		_ = unix.Rmdir(dir)
	}
}
