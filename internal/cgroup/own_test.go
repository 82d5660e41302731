package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// kernel does on a folder of files what the kernel does on its cgroups.
type kernel struct {
	disk
	t       *testing.T
	refuse  map[string]error // file or folder name -> what using it gives
	forking int              // processes that still appear while others move
	late    int              // processes that still appear when all have moved
	foreign int              // reads of a cgroup.procs that still show a process of another PID namespace
}

func (k *kernel) read(file string) (string, error) {
	text, err := k.disk.read(file)
	if k.foreign > 0 && path.Base(file) == "cgroup.procs" {
		k.foreign--
		text += "\n0"
	}
	return text, err
}

func (k *kernel) at(p string) string { return path.Join(k.root, p) }

func (k *kernel) put(file, text string) {
	k.t.Helper()
	os.MkdirAll(path.Dir(k.at(file)), 0o755)
	if err := os.WriteFile(k.at(file), []byte(text), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kernel) procs(dir string) []string {
	text, _ := k.read(path.Join(dir, "cgroup.procs"))
	return strings.Fields(text)
}

func (k *kernel) refused(file string) error {
	for name, err := range k.refuse {
		if strings.HasSuffix(file, name) {
			return &os.PathError{Op: "write", Path: file, Err: err}
		}
	}
	return nil
}

func (k *kernel) write(file, text string) error {
	dir, name := path.Split(file)
	dir = path.Clean(dir)
	if err := k.refused(file); err != nil {
		return err
	}
	if _, err := os.Stat(k.at(file)); err != nil {
		return err
	}
	switch name {
	case "cgroup.procs":
		if control, _ := k.read(dir + "/cgroup.subtree_control"); control != "" {
			return syscall.EBUSY
		}
		if text == "13" { // it has just ended
			k.drop(dir, text)
			return syscall.ESRCH
		}
		k.drop(dir, text)
		k.put(file, strings.Join(append(k.procs(dir), text), "\n")+"\n")
		if k.forking > 0 {
			k.forking--
			from := path.Dir(dir)
			k.put(from+"/cgroup.procs", strings.Join(append(k.procs(from), strconv.Itoa(1000+k.forking)), "\n"))
		}
	case "cgroup.subtree_control":
		if k.late > 0 && len(k.procs(dir)) == 0 {
			k.late--
			k.put(dir+"/cgroup.procs", strconv.Itoa(2000+k.late)+"\n")
		}
		if len(k.procs(dir)) > 0 && text[0] == '+' {
			return syscall.EBUSY
		}
		if text[0] == '-' {
			k.put(file, "")
			return nil
		}
		have, _ := k.read(file)
		k.put(file, strings.TrimSpace(have+" "+strings.ReplaceAll(text, "+", "")))
		children, _ := k.list(dir)
		for _, c := range children {
			k.limits(path.Join(dir, c), strings.ReplaceAll(text, "+", ""))
		}
	default:
		k.put(file, text)
	}
	return nil
}

// drop takes a process out of where it is.
func (k *kernel) drop(to, pid string) {
	for _, dir := range []string{to, path.Dir(to)} {
		if _, err := k.read(dir + "/cgroup.procs"); err != nil {
			continue
		}
		rest := slices.DeleteFunc(k.procs(dir), func(p string) bool { return p == pid })
		k.put(dir+"/cgroup.procs", strings.Join(rest, "\n"))
	}
	children, _ := k.list(to)
	for _, c := range children {
		rest := slices.DeleteFunc(k.procs(path.Join(to, c)), func(p string) bool { return p == pid })
		k.put(path.Join(to, c)+"/cgroup.procs", strings.Join(rest, "\n"))
	}
}

func (k *kernel) limits(dir, controllers string) {
	if containsWord(controllers, "memory") {
		k.put(dir+"/memory.max", "max")
	}
	if containsWord(controllers, "cpu") {
		k.put(dir+"/cpu.max", "max 100000")
	}
	if containsWord(controllers, "pids") {
		k.put(dir+"/pids.max", "max")
	}
}

func (k *kernel) mkdir(dir string) error {
	if err := k.refused(dir); err != nil {
		return err
	}
	if err := k.disk.mkdir(dir); err != nil {
		return err
	}
	k.put(dir+"/cgroup.procs", "")
	switch parent := path.Dir(dir); {
	case strings.Contains(dir, "/memory/"):
		k.put(dir+"/memory.limit_in_bytes", "9223372036854771712")
	case strings.Contains(dir, "/pids/"):
		k.put(dir+"/pids.max", "max")
	case strings.Contains(dir, "/cpu/"):
		k.put(dir+"/cpu.cfs_quota_us", "-1")
		k.put(dir+"/cpu.cfs_period_us", "100000")
	default:
		control, _ := k.read(parent + "/cgroup.subtree_control")
		k.put(dir+"/cgroup.controllers", control)
		k.put(dir+"/cgroup.subtree_control", "")
		k.limits(dir, control)
	}
	return nil
}

func (k *kernel) rmdir(dir string) error {
	if len(k.procs(dir)) > 0 {
		return syscall.EBUSY
	}
	if _, err := os.Stat(k.at(dir)); err != nil {
		return err
	}
	return os.RemoveAll(k.at(dir))
}

// tree is every file of the cgroups with its content.
func (k *kernel) tree() string {
	var out strings.Builder
	filepath.WalkDir(k.at("/sys"), func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			data, _ := os.ReadFile(p)
			fmt.Fprintf(&out, "%s: %s\n", strings.TrimPrefix(p, k.root), strings.Join(strings.Fields(string(data)), " "))
		}
		return nil
	})
	return strings.ReplaceAll(out.String(), strconv.Itoa(os.Getpid()), "US")
}

func newKernel(t *testing.T, version int) (*kernel, *Tree) {
	root := t.TempDir()
	k := &kernel{disk: disk{root}, t: t, refuse: map[string]error{}}
	k.put("/proc/meminfo", "MemTotal: 8388608 kB\n")
	us := strconv.Itoa(os.Getpid())
	const c = "/sys/fs/cgroup"
	if version == 2 {
		k.put("/proc/self/cgroup", "0::/\n")
		k.put("/proc/self/mountinfo", "30 20 0:25 / "+c+" rw - cgroup2 cgroup rw\n")
		k.put(c+"/cgroup.procs", "1\n7\n13\n"+us+"\n")
		k.put(c+"/cgroup.controllers", "cpuset cpu io memory pids")
		k.put(c+"/cgroup.subtree_control", "")
		k.put(c+"/memory.max", "1073741824")
		k.put(c+"/cpu.max", "150000 100000")
	} else {
		k.put("/proc/self/cgroup", "6:pids:/docker/x\n5:memory:/docker/x\n4:cpu:/docker/x\n")
		k.put("/proc/self/mountinfo", "30 20 0:25 /docker/x "+c+"/memory rw - cgroup cgroup rw,memory\n31 20 0:26 /docker/x "+c+
			"/cpu rw - cgroup cgroup rw,cpu\n32 20 0:27 /docker/x "+c+"/pids rw - cgroup cgroup rw,pids\n")
		k.put(c+"/pids/cgroup.procs", "1\n"+us+"\n")
		k.put(c+"/memory/cgroup.procs", "1\n"+us+"\n")
		k.put(c+"/memory/memory.use_hierarchy", "1")
		k.put(c+"/memory/memory.limit_in_bytes", "1073741824")
		k.put(c+"/cpu/cgroup.procs", "1\n"+us+"\n")
		k.put(c+"/cpu/cpu.cfs_quota_us", "75000")
		k.put(c+"/cpu/cpu.cfs_period_us", "50000")
	}
	tree := NewTree(root)
	tree.files = k
	return k, tree
}

func (k *kernel) want(file, text string) {
	k.t.Helper()
	if got, err := k.read(file); err != nil || got != text {
		k.t.Errorf("%s is %q (%v), want %q", file, got, err, text)
	}
}

func TestOwnV2(t *testing.T) {
	k, tree := newKernel(t, 2)
	k.forking, k.late = 3, 2
	const c = "/sys/fs/cgroup"
	o, err := tree.Make("web", OwnLimits{CPUs: 0.5, Memory: 512 << 20})
	if err != nil {
		t.Fatal(err)
	}
	dir := c + "/stoker.service.web.0"
	if got := o.Dirs(); len(got) != 1 || got[0] != k.root+dir {
		t.Errorf("directories %v", got)
	}
	k.want(dir+"/memory.max", "536870912")
	k.want(dir+"/cpu.max", "50000 100000")
	k.want(c+"/cgroup.procs", "")
	k.want(c+"/cgroup.subtree_control", "cpu memory")
	k.want(c+"/stoker.init/memory.max", "1073741824") // for the JVM that has none of its own
	k.want(c+"/stoker.init/cpu.max", "150000 100000")
	if got := len(k.procs(c + "/stoker.init")); got != 8 { // 1, 7, us, three that were forked, two that were late; 13 had ended
		t.Errorf("%d processes in the leaf", got)
	}
	// The supervisor after this one lives in the leaf.
	k.put("/proc/self/cgroup", "0::/stoker.init\n")
	again, err := tree.Make("api", OwnLimits{})
	if err != nil {
		t.Fatal(err)
	}
	k.want(again.Dirs()[0][len(k.root):]+"/memory.max", "1073741824")
	k.want(again.Dirs()[0][len(k.root):]+"/cpu.max", "150000 100000")
	if big, err := tree.Make("big", OwnLimits{Memory: 4 << 30, CPUs: 8}); err != nil {
		t.Error(err)
	} else { // more than the container has
		k.want(big.Dirs()[0][len(k.root):]+"/memory.max", "1073741824")
		k.want(big.Dirs()[0][len(k.root):]+"/cpu.max", "150000 100000")
	}
	few, err := tree.Make("few", OwnLimits{PIDs: 7}) // its controller is enabled later
	if err != nil {
		t.Fatal(err)
	}
	k.want(few.Dirs()[0][len(k.root):]+"/pids.max", "7")
	o.Remove()
	if _, err := k.read(dir + "/memory.max"); err == nil {
		t.Error("it is still there")
	}
}

func TestOwnV1(t *testing.T) {
	k, tree := newKernel(t, 1)
	o, err := tree.Make("web", OwnLimits{Memory: 512 << 20})
	if err != nil {
		t.Fatal(err)
	}
	const m, c = "/sys/fs/cgroup/memory/stoker.service.web.0", "/sys/fs/cgroup/cpu/stoker.service.web.0"
	k.want(m+"/memory.limit_in_bytes", "536870912")
	k.want(c+"/cpu.cfs_quota_us", "150000")
	k.want(c+"/cpu.cfs_period_us", "100000")
	if len(o.Dirs()) != 2 {
		t.Errorf("directories %v", o.Dirs())
	}
	k.want("/sys/fs/cgroup/memory/cgroup.procs", "1\n"+strconv.Itoa(os.Getpid()))
	few, err := tree.Make("few", OwnLimits{PIDs: 7})
	if err != nil || len(few.Dirs()) != 3 {
		t.Fatalf("%v, directories %v", err, few.Dirs())
	}
	k.want("/sys/fs/cgroup/pids/stoker.service.few.0/pids.max", "7")
}

// The former process's cgroup is about to be removed when its end is seen, and
// that must not hit the new one's.
func TestOwnHasAnotherNameWhileTheFormerIsThere(t *testing.T) {
	k, tree := newKernel(t, 2)
	names := func(o *Own, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return path.Base(o.Dirs()[0])
	}
	first, err := tree.Make("web", OwnLimits{})
	if got := names(first, err); got != "stoker.service.web.0" {
		t.Errorf("first %s", got)
	}
	k.put("/sys/fs/cgroup/stoker.service.web.0/cgroup.procs", "55\n")
	if got := names(tree.Make("web", OwnLimits{})); got != "stoker.service.web.1" {
		t.Errorf("beside one in use: %s", got)
	}
	k.put("/sys/fs/cgroup/stoker.service.web.0/cgroup.procs", "")
	if got := names(tree.Make("web", OwnLimits{})); got != "stoker.service.web.2" {
		t.Errorf("beside two: %s", got)
	}
	if got, _ := k.list("/sys/fs/cgroup"); len(got) != 2 { // the leaf, and the last one
		t.Errorf("left over: %v", got)
	}
	if got := names(tree.Make("web.2", OwnLimits{})); got != "stoker.service.web.2.0" {
		t.Errorf("a service with such a name: %s", got)
	}
}

func TestOwnIsOffWithTheReason(t *testing.T) {
	for _, tc := range []struct {
		name    string
		version int
		wish    OwnLimits
		change  func(*kernel)
		err     string
	}{
		{"read-only", 2, OwnLimits{}, func(k *kernel) { k.refuse["subtree_control"] = syscall.EROFS },
			`cannot write "+cpu +memory" to /sys/fs/cgroup/cgroup.subtree_control: read-only file system`},
		{"no right", 2, OwnLimits{}, func(k *kernel) { k.refuse["stoker.init"] = syscall.EACCES },
			"cannot make /sys/fs/cgroup/stoker.init: permission denied"},
		{"cannot move", 2, OwnLimits{}, func(k *kernel) { k.refuse["stoker.init/cgroup.procs"] = syscall.EACCES },
			`cannot write "1" to /sys/fs/cgroup/stoker.init/cgroup.procs: permission denied`},
		{"a stranger", 2, OwnLimits{}, func(k *kernel) {
			k.put("/sys/fs/cgroup/cgroup.procs", strconv.Itoa(os.Getpid())+"\n0\n")
		}, "a process of another PID namespace is in /sys/fs/cgroup"},
		{"cannot limit the leaf", 2, OwnLimits{}, func(k *kernel) { k.refuse["stoker.init/memory.max"] = syscall.EINVAL },
			`cannot write "1073741824" to /sys/fs/cgroup/stoker.init/memory.max: invalid argument`},
		{"no controller", 2, OwnLimits{Memory: 1 << 20}, func(k *kernel) { k.put("/sys/fs/cgroup/cgroup.controllers", "cpu pids") },
			"the controller memory is not in /sys/fs/cgroup/cgroup.controllers"},
		{"of another container", 2, OwnLimits{}, func(k *kernel) { k.put("/sys/fs/cgroup/cgroup.procs", "1\n") },
			"/sys/fs/cgroup is not our own cgroup"},
		{"outside the namespace", 2, OwnLimits{}, func(k *kernel) { k.put("/proc/self/cgroup", "0::/../x\n") },
			"own cgroup /../x is outside the cgroup namespace"},
		{"no cgroups", 2, OwnLimits{}, func(k *kernel) { k.put("/proc/self/mountinfo", "20 1 0:2 / / rw - ext4 x rw\n") },
			"no cgroup file system is mounted"},
		{"v1 read-only", 1, OwnLimits{}, func(k *kernel) { k.refuse["cpu/stoker.service.web.0"] = syscall.EROFS },
			"cannot make /sys/fs/cgroup/cpu/stoker.service.web.0: read-only file system"},
		{"v1 refuses a limit", 1, OwnLimits{CPUs: 1}, func(k *kernel) { k.refuse["cpu.cfs_quota_us"] = syscall.EINVAL },
			`cannot write "100000" to /sys/fs/cgroup/cpu/stoker.service.web.0/cpu.cfs_quota_us: invalid argument`},
		{"v1 without a hierarchy", 1, OwnLimits{}, func(k *kernel) { k.put("/sys/fs/cgroup/memory/memory.use_hierarchy", "0") },
			"/sys/fs/cgroup/memory/memory.use_hierarchy is 0: the container's limit would not hold in it"},
		{"v1 without cpu", 1, OwnLimits{CPUs: 1}, func(k *kernel) {
			k.put("/proc/self/mountinfo", "30 20 0:25 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
		}, "the controller cpu is not mounted"},
		{"no pids", 2, OwnLimits{PIDs: 1}, func(k *kernel) { k.put("/sys/fs/cgroup/cgroup.controllers", "cpu memory") },
			"the controller pids is not in /sys/fs/cgroup/cgroup.controllers"},
		{"v1 without pids", 1, OwnLimits{PIDs: 1}, func(k *kernel) {
			k.put("/proc/self/mountinfo", "30 20 0:25 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
		}, "the controller pids is not mounted"},
		{"refused limit of pids", 1, OwnLimits{PIDs: 1}, func(k *kernel) { k.refuse["pids.max"] = syscall.EINVAL },
			`cannot write "1" to /sys/fs/cgroup/pids/stoker.service.web.0/pids.max: invalid argument`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, tree := newKernel(t, tc.version)
			tc.change(k)
			before := k.tree()
			_, err := tree.Make("web", tc.wish)
			if err == nil || !strings.HasPrefix(err.Error(), tc.err) {
				t.Errorf("error %v, want %s", err, tc.err)
			}
			// The one that ends while it is moved is gone for good.
			if after := k.tree(); sortWords(after) != sortWords(strings.Replace(before, " 13", "", 1)) && sortWords(after) != sortWords(before) {
				t.Errorf("changed:\n%s\nfrom:\n%s", after, before)
			}
		})
	}
}

// A process that is about to enter the container is waited for.
func TestForeignProcessEnters(t *testing.T) {
	k, tree := newKernel(t, 2)
	k.foreign = 10
	if _, err := tree.Make("web", OwnLimits{Memory: 1 << 20}); err != nil || k.foreign > 0 {
		t.Errorf("%v, %d reads left", err, k.foreign)
	}
}

// sortWords makes what does not depend on the order of processes.
func sortWords(text string) string {
	words := strings.Fields(text)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// TestOwnOnThisKernel makes a real cgroup. On v2 it moves everything out of
// the cgroup that the test runs in, so there it must be asked for, as root, in a
// machine or container of its own: STOKER_TEST_CGROUP=1 cgroup.test -test.run
// OwnOnThisKernel -test.v
func TestOwnOnThisKernel(t *testing.T) {
	version := Read("/").Version
	if os.Getuid() != 0 || version != 1 && os.Getenv("STOKER_TEST_CGROUP") == "" {
		t.Skip("needs root, and on cgroup v2 STOKER_TEST_CGROUP=1")
	}
	tree := NewTree("/")
	o, err := tree.Make("test-own", OwnLimits{CPUs: 0.5, Memory: 64 << 20})
	if err != nil {
		if os.Getenv("STOKER_TEST_CGROUP") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	defer o.Remove()
	t.Logf("cgroup v%d: %v", version, o.Dirs())
	enter := ""
	for _, dir := range o.Dirs() {
		enter += "echo 0 >" + dir + "/cgroup.procs && "
	}
	cmd := exec.Command("sh", "-c", enter+"echo in && exec sleep 300")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if n, err := out.Read(make([]byte, 8)); n == 0 {
		t.Errorf("cannot enter: %v", err)
	}
	for _, dir := range o.Dirs() {
		if procs, err := os.ReadFile(dir + "/cgroup.procs"); strings.TrimSpace(string(procs)) != strconv.Itoa(cmd.Process.Pid) {
			t.Errorf("in %s: %q, %v", dir, procs, err)
		}
		if err := syscall.Rmdir(dir); !errors.Is(err, syscall.EBUSY) {
			t.Errorf("removed although it has a process: %v", err)
		}
	}
	if n, _, ok := OOMKills("/", o.Dirs()...); !ok || n != 0 {
		t.Errorf("OOM kills: %d %v", n, ok)
	}
	cmd.Process.Kill()
	cmd.Wait()
	o.Remove()
	for _, dir := range o.Dirs() {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is still there", dir)
		}
	}
}
