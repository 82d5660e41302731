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

// inCgroups lists the processes in the process's own cgroup, as far as it can be read.
func (p *Process) inCgroups() map[int]bool {
	out := map[int]bool{}
	for _, dir := range p.rec.Dirs {
		data, _ := os.ReadFile(dir + "/cgroup.procs")
		for _, pid := range procfs.ParsePids(strings.Fields(string(data))) {
			out[pid] = true
		}
	}
	return out
}

// killCgroups kills all in the process's own cgroup at once where the kernel can (cgroup v2,
// Linux 5.14), and says whether it did.
func (p *Process) killCgroups() (killed bool) {
	members := p.inCgroups()
	if len(members) == 0 || members[os.Getpid()] || members[p.m.init.Pid] {
		return false // stoker itself was moved there
	}
	for _, dir := range p.rec.Dirs {
		f, err := os.OpenFile(dir+"/cgroup.kill", os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		if _, err := f.WriteString("1"); err == nil { // killEscaped gets what it does not reach
			killed = true
		}
		f.Close()
	}
	return killed
}

// removeCgroups removes the directories. One that has processes stays, for the next start to
// reuse or remove.
func removeCgroups(dirs []string) {
	for _, dir := range slices.Backward(dirs) {
		_ = unix.Rmdir(dir)
	}
}
