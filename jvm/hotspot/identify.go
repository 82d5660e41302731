package hotspot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Errors of Identify.
var (
	// ErrNotJVM is returned for a process that runs no JVM.
	ErrNotJVM = errors.New("it is no JVM")
	// ErrOpenJ9 is returned for a JVM that does not speak HotSpot's protocol.
	ErrOpenJ9 = errors.New("it is an OpenJ9 JVM, which does not take HotSpot's commands")
	// ErrStarting is returned for a java process that has not loaded its JVM yet.
	ErrStarting = errors.New("it has just started")
)

// maxMaps bounds what is read of the list of a process's mappings; that of a JVM
// with 10 000 threads has 3 MiB.
const maxMaps = 64 << 20

// Identify checks that a process is a HotSpot JVM, by its mapped libraries. Attach needs
// this: SIGQUIT ends other programs, such as nginx. os.ErrProcessDone: it has ended.
func Identify(pid int) error {
	var verdict error
	err := asuser.RetryAs(pid, func() error {
		f, err := os.Open(procfs.Path(pid, "maps"))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		verdict, err = identifyMaps(io.LimitReader(f, maxMaps))
		return err
	})
	if errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("cannot see what process %d runs: %w", pid, err)
	}
	if errors.Is(verdict, ErrNotJVM) {
		if s, err := readStatus(pid); err != nil || s.ended { // it has no mappings any more
			return os.ErrProcessDone
		}
		argv, _ := procfs.Cmdline(pid) // of a process that has ended it is empty
		if len(argv) > 0 && filepath.Base(argv[0]) == "java" {
			return ErrStarting
		}
	}
	return verdict
}

// identifyMaps reads the paths in /proc/PID/maps. OpenJ9 has a libjvm.so too, that
// leads on to its own.
func identifyMaps(maps io.Reader) (verdict, err error) {
	verdict = ErrNotJVM
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		_, path, found := strings.Cut(lines.Text(), "/")
		name := strings.TrimSuffix(filepath.Base(path), " (deleted)")
		switch {
		case !found:
		case strings.HasPrefix(name, "libj9vm"):
			return ErrOpenJ9, nil
		case name == "libjvm.so":
			verdict = nil
		}
	}
	return verdict, lines.Err()
}
