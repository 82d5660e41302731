package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
	"golang.org/x/sys/unix"
)

// heapDump is a requested heap dump.
type heapDump struct {
	service string
	want    api.JVMTool
	p       supervisor.Process
	at      *hotspot.Attached
	// folder is kept open: the service's user may change where its path leads before a partial dump is removed.
	folder *os.File
	name   string // of the file in folder
}

// path returns the path of the file as requested.
func (d *heapDump) path() string { return filepath.Join(d.folder.Name(), d.name) }

// maxDumpTime bounds how long an abandoned dump blocks further dumps of its JVM.
const maxDumpTime = time.Hour

// heapDump makes the JVM write its heap to a new file. A dump cannot be cancelled: it continues after a timeout, and blocks another one
// until it is done.
func (j *Tools) heapDump(ctx context.Context, d *heapDump) (io.ReadCloser, error) {
	if err := d.checkCompression(ctx); err != nil {
		return nil, err
	}
	if err := j.openFolder(d); err != nil {
		return nil, err
	}
	file, err := d.path(), d.checkRoom(ctx)
	if err == nil {
		if _, busy := j.dumps.LoadOrStore(d.p.Pid(), file); busy {
			err = notNow("it answers when that is done", "the JVM of %s writes another heap dump", d.service)
		}
	}
	if err != nil {
		_ = d.folder.Close()
		return nil, err
	}
	var size int64
	done := make(chan error, 1)
	go func() { // ends with the dump, the JVM, or maxDumpTime
		defer d.folder.Close()
		ctx, cancel := context.WithTimeout(context.Background(), maxDumpTime)
		defer cancel()
		var err error
		size, err = d.write(ctx)
		j.dumps.Delete(d.p.Pid()) // before the reply, since the next request may follow at once
		done <- err
	}()
	select {
	case err := <-done:
		return io.NopCloser(strings.NewReader(fmt.Sprintf("%s: %d bytes\n", file, size))), err
	case <-ctx.Done():
		return nil, apiError(http.StatusGatewayTimeout, api.CodeTimeout, "ls -l "+file+" shows how far it is; --timeout waits longer",
			"the heap dump of %s is not done after %v, and the JVM goes on with it", d.service, d.want.Timeout)
	}
}

// compressionRelease is the first feature release that compresses dumps; older ones ignore the option.
const compressionRelease = 15

// checkCompression returns an error if the JVM cannot compress a dump as requested.
func (d *heapDump) checkCompression(ctx context.Context) error {
	if !d.want.GZ {
		return nil
	}
	text, err := d.at.Command(ctx, "jcmd", "VM.version")
	if err != nil {
		return err
	}
	_, version, _ := strings.Cut("\n"+text, "\nJDK ")
	version, _, _ = strings.Cut(version, "\n")
	if major := hotspot.ParseMajor(strings.TrimSpace(version)); major > 0 && major < compressionRelease {
		return apiError(http.StatusUnprocessableEntity, "not-supported", "leave --gz out, and compress the file afterwards",
			"the JVM of %s is a Java %d, and compresses heap dumps from %d on", d.service, major, compressionRelease)
	}
	return nil
}

// otherFolder is the hint for a folder that cannot be used.
const otherFolder = "name a file in a folder that the service's user may write"

// openFolder opens the folder of the dump and checks that the file does not exist.
func (j *Tools) openFolder(d *heapDump) error {
	file := filepath.Clean(d.want.File)
	if d.want.File == "" {
		if j.folder == "" {
			return apiError(http.StatusUnprocessableEntity, "not-supported", "stoker jvm heapdump "+d.service+" FILE",
				"stoker has no folder to keep heap dumps in")
		}
		if err := makeDumpFolder(j.folder); err != nil {
			return noRoom("stoker jvm heapdump "+d.service+" FILE writes to another place", "cannot make the folder for heap dumps: %v", err)
		}
		file = filepath.Join(j.folder, d.service+"-"+time.Now().UTC().Format("20060102T150405.000Z")+".hprof")
		if d.want.GZ {
			file += ".gz"
		}
	}
	d.name = filepath.Base(file)
	var there unix.Stat_t
	err := d.at.As().Do(func() (err error) {
		if d.folder, err = untrusted.OpenDir(filepath.Dir(file)); err == nil {
			err = unix.Fstatat(int(d.folder.Fd()), d.name, &there, unix.AT_SYMLINK_NOFOLLOW)
		}
		return err
	})
	switch {
	case err == nil && there.Mode&unix.S_IFMT == unix.S_IFDIR:
		err = apiError(http.StatusConflict, api.CodeFileExists, "name a file in it that is not there yet", "%s is a folder", file)
	case err == nil:
		err = apiError(http.StatusConflict, api.CodeFileExists, "name another file, or remove it", "%s exists, and is not overwritten", file)
	case d.folder != nil && errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		err = noRoom(otherFolder, "cannot write %s: %v", file, err)
	}
	if d.folder != nil {
		_ = d.folder.Close()
	}
	return err
}

// makeDumpFolder creates the folder with the sticky bit, so that every service's user can add files and remove only his own, and makes its
// parents searchable. It changes nothing where other users could redirect the path.
func makeDumpFolder(dir string) error {
	if os.Geteuid() != 0 {
		return os.MkdirAll(dir, 0o700)
	}
	state := filepath.Dir(dir)
	around := filepath.Dir(state)
	for _, err := os.Lstat(around); errors.Is(err, fs.ErrNotExist); _, err = os.Lstat(around) {
		around = filepath.Dir(around)
	}
	if err := trust.Path(around, 0); err != nil {
		return err
	}
	if err := os.MkdirAll(state, 0o711); err != nil {
		return err
	}
	above, err := openRootFolder(unix.AT_FDCWD, state, 0o111)
	if err != nil {
		return err
	}
	defer above.Close()
	name := filepath.Base(dir)
	if err := unix.Mkdirat(int(above.Fd()), name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := openRootFolder(int(above.Fd()), name, fs.ModeSticky|0o777)
	if err != nil {
		return err
	}
	return f.Close()
}

// openRootFolder opens a folder owned by root and adds to its mode if needed.
func openRootFolder(at int, path string, mode fs.FileMode) (*os.File, error) {
	fd, err := unix.Openat(at, path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	info, err := f.Stat()
	if err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 {
			err = fmt.Errorf("%s is not a folder of root's", path)
		} else if info.Mode()&mode != mode {
			err = f.Chmod(info.Mode() | mode)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// checkRoom rejects a dump that may not fit: its size is about that of the used heap.
func (d *heapDump) checkRoom(ctx context.Context) error {
	if d.want.Force {
		return nil
	}
	used, err := usedHeap(ctx, d.at)
	if err != nil {
		return err
	}
	var fsInfo unix.Statfs_t
	dir := d.folder.Name()
	if err := unix.Fstatfs(int(d.folder.Fd()), &fsInfo); err != nil {
		return noRoom(otherFolder, "cannot write to %s: %v", dir, err)
	}
	if fsInfo.Type == unix.TMPFS_MAGIC {
		return noRoom("name a file on a disk or a volume; --force writes it all the same",
			"%s is in memory (tmpfs): a heap dump there counts as memory of the container", dir)
	}
	free, need := int64(fsInfo.Bavail)*fsInfo.Bsize, used+used/5
	if free < need {
		return noRoom("name a file on a larger volume; --force writes it all the same",
			"a heap dump of %s may need %d MiB, and %s has %d MiB free", d.service, need>>20+1, dir, free>>20)
	}
	return nil
}

// usedHeap returns the used heap of a JVM in bytes, or the maximum heap if that is unknown.
func usedHeap(ctx context.Context, at *hotspot.Attached) (int64, error) {
	if text, err := at.Command(ctx, "jcmd", "GC.heap_info"); err == nil {
		if used, ok := hotspot.UsedHeap(text); ok {
			return used, nil
		}
	} else if status := new(hotspot.StatusError); !errors.As(err, &status) { // unsupported by Java 8
		return 0, err
	}
	text, err := at.Command(ctx, "jcmd", "VM.flags -all")
	if err != nil {
		return 0, err
	}
	most, err := strconv.ParseInt(hotspot.ParseFlags(text)["MaxHeapSize"].Value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("cannot find out how much of the heap is used: %w", err)
	}
	return most, nil
}

// write makes the JVM write the dump and returns its size. A partial file is removed.
func (d *heapDump) write(ctx context.Context) (size int64, err error) {
	objects, level := "-live", ""
	if d.want.All {
		objects = "-all"
	}
	if d.want.GZ {
		level = "1"
	}
	answer, err := d.at.Command(ctx, "dumpheap", d.path(), objects, level)
	why, ok := hotspot.DumpedTo(answer)
	switch {
	case err == nil && ok:
		if size, err = d.stat(func() error { return nil }); err != nil {
			return 0, fmt.Errorf("cannot find the heap dump that the JVM says it has written: %w", err)
		}
		return size, nil
	case err != nil && ctx.Err() != nil: // it may still be writing
		return 0, err
	case err == nil && strings.HasPrefix(why, "Unable to create "): // the file may belong to someone else: the JVM does not overwrite
		return 0, noRoom(otherFolder, "the JVM of %s says: %s", d.service, why)
	}
	if err != nil { // the error of an exiting JVM varies
		select {
		case <-d.p.Exited():
			err = errors.New("it ended")
		case <-time.After(exitWait):
		}
	}
	left := "; the part that was written is removed"
	if _, removeErr := d.stat(func() error { return unix.Unlinkat(int(d.folder.Fd()), d.name, 0) }); errors.Is(removeErr, fs.ErrNotExist) {
		left = ""
	} else if removeErr != nil {
		left = "; a part is left: " + removeErr.Error()
	}
	if err != nil {
		return 0, failed("stoker status "+d.service+" shows its state", "the JVM of %s did not end the heap dump: %v%s", d.service, err, left)
	}
	return 0, noRoom("name a file on a larger volume", "the JVM of %s says: %s%s", d.service, why, left)
}

// stat returns the size of the dump and calls then with the rights of the JVM. A file of another user is rejected: the JVM may have put
// that there by a link.
func (d *heapDump) stat(then func() error) (size int64, err error) {
	as := d.at.As()
	err = as.Do(func() error {
		var st unix.Stat_t
		if err := unix.Fstatat(int(d.folder.Fd()), d.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if size = st.Size; st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != as.UID {
			return fmt.Errorf("%s is not a file of user %d", d.path(), as.UID)
		}
		return then()
	})
	return size, err
}
