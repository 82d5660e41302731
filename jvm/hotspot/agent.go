package hotspot

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// LoadAgent has the JVM load an agent, the bytes of a jar, and returns when its agentmain has, or ctx is done. The jar is in the JVM's /tmp
// meanwhile, as a file of the JVM's user: every JVM that one can attach to reads and writes there.
func (a *Attached) LoadAgent(ctx context.Context, jar []byte, args string) error {
	name := ".stoker-agent-" + rand.Text() + ".jar"
	dir, err := a.writeTmp(name, jar)
	if err != nil {
		return fmt.Errorf("cannot write the agent for JVM %d to /tmp: %w", a.target.Pid, err)
	}
	defer func() {
		_ = a.as.Do(func() error { return unix.Unlinkat(dir, name, 0) }) // what is left is a small file in /tmp
		_ = unix.Close(dir)
	}()
	answer, err := a.Command(ctx, "load", "instrument", "false", "/tmp/"+name+"="+args)
	if err != nil {
		return err
	}
	// Java 8 answers with the number alone.
	if code := strings.TrimSpace(strings.TrimPrefix(answer, "return code: ")); code != "0" {
		return fmt.Errorf("JVM %d did not load the agent: it answered %q", a.target.Pid, clip(strings.TrimSpace(answer)))
	}
	return nil
}

// writeTmp creates a file in the JVM's /tmp. The caller closes dir, which is that folder.
func (a *Attached) writeTmp(name string, data []byte) (dir int, err error) {
	err = a.as.Do(func() (err error) {
		if dir, err = unix.Open(procfs.Path(a.target.Pid, "root/tmp"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err == nil {
			_, err = unix.Write(fd, data) // a regular file takes all of it, or the disk is full
			if closeErr := unix.Close(fd); err == nil {
				err = closeErr
			}
			if err != nil {
				_ = unix.Unlinkat(dir, name, 0)
			}
		}
		if err != nil {
			_ = unix.Close(dir)
		}
		return err
	})
	return dir, err
}

// Property returns a system property of the JVM as java.util.Properties writes it: some characters have a backslash. False: it is not set.
func (a *Attached) Property(ctx context.Context, name string) (value string, ok bool, err error) {
	text, err := a.Command(ctx, "properties")
	if err != nil {
		return "", false, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			return strings.TrimSpace(value), true, nil
		}
	}
	return "", false, nil
}
