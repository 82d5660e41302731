package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// isolation is the environment variable that tells a process of the tests where it runs: "new" is in namespaces that are to be prepared,
// "yes" in prepared ones, and anything else is the reason why there are none.
const isolation = "STOKER_TEST_NAMESPACES"

// TestMain runs the tests in private network, mount and UTS namespaces, so that they never touch the machine. Tests that need them call
// isolated. Processes that the tests start from this program stay in them.
func TestMain(m *testing.M) {
	switch os.Getenv(isolation) {
	case "":
		os.Exit(runIsolated(m))
	case "new":
		if err := errors.Join(furnish(), os.Setenv(isolation, "yes")); err != nil {
			fmt.Fprintln(os.Stderr, "cannot prepare the namespaces of the tests:", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// runIsolated executes this program again in new namespaces. Where the kernel refuses them, the tests that need them are skipped.
func runIsolated(m *testing.M) int {
	runtime.LockOSThread() // the signal comes when this thread ends
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), isolation+"=new")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		os.Setenv(isolation, "the kernel refuses new namespaces: "+err.Error())
		return m.Run()
	}
	err := cmd.Wait()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// furnish makes the namespaces like a container's: lo is up, and resolv.conf and hosts are bind mounts, which rename() cannot replace.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link set lo up: %w: %s", err, out)
	}
	dir, err := os.MkdirTemp("", "netinit")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // the mounts keep the files
	for path, content := range map[string]string{"/etc/resolv.conf": "nameserver 192.0.2.1\n", "/etc/hosts": "127.0.0.1\tlocalhost\n"} {
		from := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(from, []byte(content), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(from, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount a private %s: %w", path, err)
		}
	}
	return nil
}

// isolated skips a test where there are no private namespaces. With STOKER_CI=1 that is a failure.
func isolated(t *testing.T) {
	t.Helper()
	switch reason := os.Getenv(isolation); {
	case reason == "yes":
	case os.Getenv("STOKER_CI") == "1":
		t.Fatal(reason)
	default:
		t.Skip(reason)
	}
}
