//go:build container

package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// machine is a virtual machine with the distribution's kernel and cgroup v2. It is emulated, so its
// speed means little. The script of a test runs in it with the functions of vm/lib.sh and reports
// values by `tell NAME VALUE`.
type machine struct {
	t       testing.TB
	console string
	values  map[string][]string
}

// The time limits of a machine that prints nothing, and of any. Its first process prints each 5 s. On a busy host all is many times
// slower.
const (
	silenceLimit = 90 * time.Second
	machineLimit = 6 * time.Minute
)

// errSilent means that the emulated kernel hangs: not even its first process goes on.
var errSilent = fmt.Errorf("it has printed nothing for %v", silenceLimit)

// heard restarts a timer with each write.
type heard struct {
	capture
	silence *time.Timer
}

func (h *heard) Write(p []byte) (int, error) {
	h.silence.Reset(silenceLimit)
	return h.capture.Write(p)
}

// boot runs a script as root in a new machine with 512 MiB.
func boot(t *testing.T, script string) *machine {
	t.Helper()
	return bootWith(t, 512, func(*archive) {}, script)
}

// bootWith runs a script in a new machine of some MiB with more files.
func bootWith(t *testing.T, mib int, more func(*archive), script string) *machine {
	t.Helper()
	kernel, busybox := needsMachine(t)
	dir := t.TempDir()
	initrd := filepath.Join(dir, "initrd")
	enter := filepath.Join(dir, "enter")
	if out, err := exec.Command("gcc", "-O2", "-Wall", "-static", "-o", enter, "vm/enter.c").CombinedOutput(); err != nil {
		t.Fatalf("cannot compile vm/enter.c: %v: %s", err, out)
	}
	a := new(archive)
	for _, name := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "run", "root", "usr", "usr/bin", "usr/sbin", "sbin"} {
		a.add(t, name, 0o040755, nil)
	}
	for name, from := range map[string]string{"init": "vm/init.sh", "lib.sh": "vm/lib.sh", "bin/busybox": busybox, "bin/sh": busybox,
		"bin/stoker": stoker(t), "bin/enter": enter} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		a.add(t, name, 0o100755, data)
	}
	a.addModules(t, kernel+".modules")
	a.add(t, "etc/passwd", 0o100644, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	a.add(t, "etc/group", 0o100644, []byte("root:x:0:\n"))
	a.add(t, "test.sh", 0o100644, []byte(script))
	more(a)
	a.add(t, "TRAILER!!!", 0, nil)
	write(t, initrd, a.String(), 0o600)
	m := &machine{t: t, values: map[string][]string{}}
	m.run(mib, kernel, initrd)
	return m
}

// needsMachine requires the kernel of scripts/vm.sh and qemu.
func needsMachine(t testing.TB) (kernel, busybox string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		lacking(t, err.Error())
	}
	kernel = filepath.Join(cache, "stoker", "vmlinuz")
	if _, err := os.Stat(kernel); err != nil || runtime.GOARCH != "amd64" {
		lacking(t, "there is no kernel for a virtual machine: scripts/vm.sh provides one")
	}
	for _, name := range []string{"qemu-system-x86_64", "busybox", "gcc"} {
		path, err := exec.LookPath(name)
		if err != nil {
			lacking(t, name+" is missing: scripts/vm.sh installs it")
		}
		if name == "busybox" {
			busybox = path
		}
	}
	return kernel, busybox
}

func (m *machine) run(mib int, kernel, initrd string) {
	m.t.Helper()
	from := time.Now()
	err := m.emulate(mib, kernel, initrd)
	if errors.Is(err, errSilent) {
		m.t.Logf("the machine hangs, booting again: %v\n%s", err, lastOf(m.console, 1000))
		err = m.emulate(mib, kernel, initrd)
	}
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Logf("the machine's console ended with:\n%s", lastOf(m.console, 6000))
		}
	})
	if err != nil {
		m.t.Fatalf("the virtual machine did not end by itself within %v: %v", time.Since(from), err)
	}
	for _, line := range strings.Split(strings.ReplaceAll(m.console, "\r", ""), "\n") {
		if rest, ok := strings.CutPrefix(line, "=="); ok {
			name, value, _ := strings.Cut(rest, " ")
			m.values[name] = append(m.values[name], strings.TrimSpace(value))
		}
	}
	m.t.Logf("the machine ran for %v", time.Since(from).Round(100*time.Millisecond))
	if code := m.values["code"]; len(code) != 1 || code[0] != "0" {
		m.t.Fatalf("the script in the virtual machine ended with %q", code)
	}
}

// emulate boots the machine, and returns when it has ended.
func (m *machine) emulate(mib int, kernel, initrd string) error {
	limited, end := context.WithTimeout(context.Background(), machineLimit)
	defer end()
	ctx, cancel := context.WithCancelCause(limited)
	defer cancel(nil)
	// A panic ends the machine too; on a busy host the check of the timer would panic. KVM would be faster, but with a broken KVM the
	// machine hangs.
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-m", strconv.Itoa(mib), "-smp", "2", "-nodefaults", "-no-user-config",
		"-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
		"-append", "console=ttyS0 quiet loglevel=1 panic=-1 random.trust_cpu=1 mitigations=off no_timer_check")
	console := &heard{silence: time.AfterFunc(silenceLimit, func() { cancel(errSilent) })}
	defer console.silence.Stop()
	cmd.Stdout, cmd.Stderr = console, console
	err := cmd.Run()
	m.console = console.String()
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}

// want compares a reported value with a regular expression for the whole of it.
func (m *machine) want(name, pattern string) {
	m.t.Helper()
	got := strings.Join(m.values[name], "\n")
	if !regexp.MustCompile(`^(?s:` + pattern + `)$`).MatchString(got) {
		m.t.Errorf("%s is %q, want %s", name, got, pattern)
	}
}

// seconds returns a value reported in hundredths of a second.
func (m *machine) seconds(name string) []float64 {
	m.t.Helper()
	var out []float64
	for _, line := range m.values[name] {
		for _, f := range strings.Fields(line) {
			n, err := strconv.Atoi(f)
			if err != nil {
				m.t.Fatalf("%s is told to be %q", name, line)
			}
			out = append(out, float64(n)/100)
		}
	}
	return out
}

// below checks a reported duration against its limit.
func (m *machine) below(name string, most float64) {
	m.t.Helper()
	if s := m.seconds(name); len(s) != 1 || s[0] > most {
		m.t.Errorf("%s took %v s, want one of at most %v", name, s, most)
	}
}

// archive is an initramfs: cpio's "newc" format, see the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst.
type archive struct {
	bytes.Buffer
	files int
}

func (a *archive) add(t testing.TB, name string, mode int, data []byte) {
	t.Helper()
	a.files++
	fields := []int{a.files, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0}
	a.WriteString("070701")
	for _, f := range fields {
		fmt.Fprintf(a, "%08X", f)
	}
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(data)
	a.pad()
}

// addModules adds the kernel's modules, which init.sh does not load.
func (a *archive) addModules(t testing.TB, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil {
		t.Fatal(err)
	}
	a.add(t, "modules", 0o040755, nil)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a.add(t, "modules/"+filepath.Base(file), 0o100644, data)
	}
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}
