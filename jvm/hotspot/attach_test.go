package hotspot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/procfs"
)

func TestParseStatus(t *testing.T) {
	const text = "Name:\tjava\nUid:\t0\t1000\t0\t1000\nGid:\t0\t1001\t0\t1001\nNSpid:\t4242\t17\nSigCgt:\t0000000000000004\n"
	for _, c := range []struct {
		text string
		want status
	}{
		{text, status{17, true, false, false}},
		{"Uid:\t5\t5\t5\t5\nSigCgt:\tfffffffffffffffb\n", status{7, false, false, false}}, // Linux 3.10
		{"State:\tT (stopped)\n", status{7, false, true, false}},
		{"State:\tt (tracing stop)\n", status{7, false, true, false}},
		{"State:\tZ (zombie)\n", status{7, false, false, true}},
		{"State:\tS (sleeping)\n", status{7, false, false, false}},
		{"", status{7, false, false, false}},
	} {
		if got, err := parseStatus(procfs.ParseStatus(c.text), 7); err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
	for _, bad := range []string{"NSpid:\tx\n"} {
		if _, err := parseStatus(procfs.ParseStatus(bad), 7); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// startJVM starts a JVM that waits, as another user where uid is not 0, and gives
// the Target that its parent has of it.
func startJVM(t *testing.T, classes string, uid uint32, options ...string) (Target, *syscall.Signal) {
	t.Helper()
	dir := t.TempDir()
	if uid != 0 {
		dir = "/" // it cannot even see that one
	}
	return startJVMIn(t, dir, classes, uid, options...)
}

// startJVMIn is startJVM with a working directory.
func startJVMIn(t *testing.T, dir, classes string, uid uint32, options ...string) (Target, *syscall.Signal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "java", append(append([]string{"-Xmx32m", "-cp", classes}, options...), "Eater", "wait")...)
	cmd.Dir = dir
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	socket := freshSocket(cmd.Process.Pid, begin)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(socket)
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("%q, %v", line, err)
	}
	sent := new(syscall.Signal)
	return Target{Pid: cmd.Process.Pid, Quit: func() error {
		*sent = syscall.SIGQUIT
		return cmd.Process.Signal(syscall.SIGQUIT)
	}}, sent
}

// freshSocket returns the path of a JVM's socket, and removes one that is older than begin: a killed JVM that had the pid has left it. A
// JVM with -Xrs may have made its own already.
func freshSocket(pid int, begin time.Time) string {
	path := fmt.Sprintf("/tmp/.java_pid%d", pid)
	if info, err := os.Lstat(path); err == nil && info.ModTime().Before(begin) {
		_ = os.Remove(path)
	}
	return path
}

// attachTime is enough for a busy machine.
func attachTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestAttachRealJVM(t *testing.T) {
	classes := compile(t)
	target, sent := startJVM(t, classes, 0, "-XX:+UseSerialGC")
	a, err := Attach(attachTime(t), target)
	if err != nil {
		t.Fatal(err)
	}
	if *sent != syscall.SIGQUIT {
		t.Error("it was not asked to listen")
	}
	text, err := a.Command(attachTime(t), "jcmd", "VM.flags -all")
	if err != nil {
		t.Fatal(err)
	}
	if flags := ParseFlags(text); flags["MaxHeapSize"].Value != "33554432" || flags["UseSerialGC"].Value != "true" || len(flags) < 400 {
		t.Errorf("%d flags, %+v", len(flags), flags["MaxHeapSize"])
	}
	if text, err := a.Command(attachTime(t), "threaddump"); err != nil || !strings.Contains(text, "at Eater.main") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := a.Command(attachTime(t), "jcmd", "No.such"); err == nil || !strings.Contains(err.Error(), "status") {
		t.Errorf("an unknown command: %v", err)
	}
	*sent = 0
	if _, err := Attach(attachTime(t), target); err != nil || *sent != 0 {
		t.Errorf("the second time: %v, signal %v", err, *sent)
	}
	if left, _ := os.ReadDir(fmt.Sprintf("/proc/%d/cwd", target.Pid)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A JVM is asked again where the socket did not come of the first signal: as
// with one that begins and removes it, here the signal itself is lost, or the
// socket after it was made.
func TestAttachAsksAgain(t *testing.T) {
	classes := compile(t)
	for _, how := range []string{"signal lost", "socket removed"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			target, _ := startJVM(t, classes, 0)
			quit, asked := target.Quit, 0
			socket := fmt.Sprintf("/tmp/.java_pid%d", target.Pid)
			target.Quit = func() error {
				switch asked++; {
				case asked > 1:
					return quit()
				case how == "socket removed": // before we have had a look at it
					if err := quit(); err != nil {
						return err
					}
					for limited := attachTime(t); os.Remove(socket) != nil; runtime.Gosched() {
						if limited.Err() != nil {
							return fmt.Errorf("the JVM has not made %s", socket)
						}
					}
				}
				return nil
			}
			a, err := Attach(attachTime(t), target)
			if err != nil || asked < 2 {
				t.Fatalf("asked %d times: %v", asked, err)
			}
			if _, err := a.Command(attachTime(t), "jcmd", "VM.version"); err != nil {
				t.Error(err)
			}
			if left, _ := os.ReadDir(fmt.Sprintf("/proc/%d/cwd", target.Pid)); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A stopped JVM gets no signal and is not waited for: it would dump its threads when it continues.
func TestAttachToStoppedJVM(t *testing.T) {
	target, sent := startJVM(t, compile(t), 0)
	if err := syscall.Kill(target.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for limited := attachTime(t); !Stopped(target.Pid); runtime.Gosched() {
		if limited.Err() != nil {
			t.Fatal("the JVM has not stopped")
		}
	}
	if _, err := Attach(attachTime(t), target); !errors.Is(err, ErrStopped) || *sent != 0 {
		t.Errorf("%v, signal %v", err, *sent)
	}
}

// A JVM cannot take the name of its socket from a file that another user has left
// there, and would dump its threads instead: it is not asked.
func TestAttachWhereTheNameIsTaken(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	target, sent := startJVM(t, compile(t), 0)
	socket := fmt.Sprintf("/tmp/.java_pid%d", target.Pid)
	if err := errors.Join(os.WriteFile(socket, nil, 0o600), os.Chown(socket, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(attachTime(t), target); !errors.Is(err, ErrNameTaken) || !strings.Contains(err.Error(), socket+" is of user 65534") ||
		*sent != 0 {
		t.Errorf("%v, signal %v", err, *sent)
	}
}

// A JVM whose /tmp is read-only, in a container with such a root, cannot make its socket: it is not asked.
func TestAttachWithoutTmp(t *testing.T) {
	if _, err := exec.LookPath("mount"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and mount")
	}
	cmd := exec.Command("sh", "-c", `mount -t tmpfs -o ro none /tmp && exec "$@"`, "sh", java(t), "-Xmx32m", "-cp", sharedClasses(t, "/var/tmp"),
		"Eater", "wait")
	cmd.Dir = "/dev/shm" // which can be written to
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Skip(err) // not permitted here
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = Attach(attachTime(t), Target{Pid: cmd.Process.Pid, Quit: func() error {
		t.Error("it was signalled")
		return nil
	}})
	if !errors.Is(err, ErrNoTmp) || !strings.HasSuffix(err.Error(), "cannot be written to: read-only file system") {
		t.Error(err)
	}
}

func TestAttachIsForbidden(t *testing.T) {
	classes := compile(t)
	for _, option := range []string{"-XX:+DisableAttachMechanism", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"} {
		t.Run(option, func(t *testing.T) {
			if strings.HasPrefix(option, "-") {
				t.Parallel()
			} else {
				t.Setenv(option, "-Dx=y -XX:+DisableAttachMechanism")
				option = "-Dz"
			}
			target, sent := startJVM(t, classes, 0, option)
			if _, err := Attach(attachTime(t), target); !errors.Is(err, ErrNoAttach) || *sent != 0 {
				t.Errorf("%v, signal %v", err, *sent)
			}
		})
	}
}

// With -Xrs a JVM listens from its start on, and SIGQUIT would end it.
func TestAttachWithoutSignals(t *testing.T) {
	classes := compile(t)
	for _, option := range []string{"-Xrs", "-XX:+ReduceSignalUsage"} {
		t.Run(option, func(t *testing.T) {
			t.Parallel()
			target, sent := startJVM(t, classes, 0, option)
			a, err := Attach(attachTime(t), target)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Command(attachTime(t), "jcmd", "VM.version"); err != nil || *sent != 0 {
				t.Errorf("%v, signal %v", err, *sent)
			}
			_ = os.Remove(fmt.Sprintf("/tmp/.java_pid%d", target.Pid)) // as a cleaner of /tmp does
			if _, err := Attach(attachTime(t), target); !errors.Is(err, ErrNoAttach) || *sent != 0 {
				t.Errorf("without its socket: %v, signal %v", err, *sent)
			}
		})
	}
}

// A JVM in its own PID namespace has another pid there.
func TestAttachInAnotherNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	cmd := exec.Command("java", "-Xmx32m", "-cp", compile(t), "Eater", "wait")
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err) // not permitted here
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove("/tmp/.java_pid1")
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("%q, %v", line, err)
	}
	a, err := Attach(attachTime(t), Target{Pid: cmd.Process.Pid, Quit: func() error { return cmd.Process.Signal(syscall.SIGQUIT) }})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(a.socket, "/.java_pid1") {
		t.Error(a.socket)
	}
	if _, err := a.Command(attachTime(t), "jcmd", "VM.version"); err != nil {
		t.Error(err)
	}
}

// A process without a handler, such as a JVM in its first milliseconds or another program, gets no signal.
func TestAttachDoesNotKill(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	freshSocket(cmd.Process.Pid, begin)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err := Attach(attachTime(t), Target{Pid: cmd.Process.Pid, Quit: func() error {
		t.Error("it was signalled")
		return nil
	}})
	if !errors.Is(err, ErrNotCaught) {
		t.Error(err)
	}
}

// A JVM survives attach requests from its first moment on. On a busy machine a JVM may be up before the first request.
func TestAttachToStartingJVM(t *testing.T) {
	classes := compile(t)
	for range 20 {
		if attachToStartingJVM(t, classes) > 1 || t.Failed() {
			return
		}
	}
	t.Error("it was never too early")
}

// attachToStartingJVM returns how many requests a new JVM was sent until it answered.
func attachToStartingJVM(t *testing.T, classes string) (tries int) {
	t.Helper()
	cmd := exec.Command("java", "-Xmx32m", "-cp", classes, "Eater", "wait")
	cmd.Dir = t.TempDir()
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	socket := freshSocket(cmd.Process.Pid, begin)
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(socket)
	}()
	target := Target{Pid: cmd.Process.Pid, Quit: func() error { return cmd.Process.Signal(syscall.SIGQUIT) }}
	ctx := attachTime(t)
	for {
		a, err := Attach(ctx, target)
		if tries++; errors.Is(err, ErrNotCaught) {
			continue
		}
		if err != nil {
			t.Fatalf("at the %d. time: %v", tries, err)
		}
		if _, err := a.Command(ctx, "jcmd", "VM.version"); err != nil {
			t.Error(err)
		}
		return tries
	}
}

// A JVM of another user: root's file and signal are taken.
func TestAttachToAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	target, _ := startJVM(t, sharedClasses(t, ""), 65534)
	a, err := Attach(attachTime(t), target)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := a.Command(attachTime(t), "jcmd", "VM.flags"); err != nil || !strings.Contains(text, "-XX:MaxHeapSize=33554432") {
		t.Errorf("%q, %v", text, err)
	}
}

// sharedClasses is a folder below dir, or below /tmp, with the class that another user can run too.
func sharedClasses(t *testing.T, dir string) string {
	t.Helper()
	classes, err := os.MkdirTemp(dir, "classes") // t.TempDir is for this user only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(classes) })
	class, err := os.ReadFile(compile(t) + "/Eater.class")
	if err == nil {
		err = errors.Join(os.Chmod(classes, 0o755), os.WriteFile(classes+"/Eater.class", class, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	return classes
}

// A JVM chooses the folder where it is asked: what its user could not write there, root
// does not write either, and what takes the file's name meanwhile is not removed.
func TestAttachWritesAsTheJVM(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	const app = 65534
	for _, c := range []struct {
		name string
		mode os.FileMode // of its working directory
		uid  int
		here bool // the file is there, and not in /tmp
	}{
		{"folder of root's", 0o755, 0, false},
		{"folder that it may not even see", 0o700, 1234, false},
		{"folder of its own", 0o755, app, true},
		{"folder of everybody's", 0o777 | os.ModeSticky, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "cwd")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			target, _ := startJVMIn(t, dir, sharedClasses(t, ""), app)
			if err := errors.Join(os.Chown(dir, c.uid, c.uid), os.Chmod(dir, c.mode)); err != nil {
				t.Fatal(err)
			}
			quit, file := target.Quit, fmt.Sprintf("/.attach_pid%d", target.Pid)
			target.Quit = func() error {
				info, err := os.Lstat(dir + file)
				if here := err == nil; here != c.here {
					t.Errorf("%s%s: there is %v", dir, file, here)
				} else if !here {
					info, err = os.Lstat("/tmp" + file)
				}
				if err != nil || info.Sys().(*syscall.Stat_t).Uid != app || info.Mode() != 0o600 {
					t.Errorf("%+v, %v", info, err)
				}
				return quit()
			}
			if _, err := Attach(attachTime(t), target); err != nil {
				t.Error(err)
			}
			for _, path := range []string{dir + file, "/tmp" + file} {
				if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is left: %v", path, err)
				}
			}
		})
	}
	t.Run("its name taken meanwhile", func(t *testing.T) {
		target, _ := startJVM(t, sharedClasses(t, ""), app)
		quit, file := target.Quit, fmt.Sprintf("/tmp/.attach_pid%d", target.Pid)
		t.Cleanup(func() { _ = os.Remove(file) })
		target.Quit = func() error {
			if err := quit(); err != nil {
				return err
			}
			return errors.Join(os.WriteFile(file+"-", []byte("kept"), 0o600), os.Chown(file+"-", app, app), os.Rename(file+"-", file))
		}
		if _, err := Attach(attachTime(t), target); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(file); string(text) != "kept" {
			t.Errorf("%q, %v", text, err)
		}
	})
	t.Run("its name taken before", func(t *testing.T) {
		target, sent := startJVM(t, sharedClasses(t, ""), app)
		file := fmt.Sprintf("/tmp/.attach_pid%d", target.Pid)
		t.Cleanup(func() { _ = os.Remove(file) })
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Chown(file, 1234, 1234)); err != nil {
			t.Fatal(err)
		}
		if _, err := Attach(attachTime(t), target); !errors.Is(err, ErrNameTaken) || *sent != 0 {
			t.Errorf("%v, signal %v", err, *sent)
		}
	})
}
