package main

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
	"github.com/stoker-init/stoker/internal/hotspot"
	"github.com/stoker-init/stoker/supervisor"
	"golang.org/x/sys/unix"
)

// heapDump is one that is wanted.
type heapDump struct {
	service string
	want    api.JVMTool
	p       supervisor.Process
	at      *hotspot.Attached
}

// heapDumpFolder is where heap dumps go that nobody gave a path for.
func heapDumpFolder(state string) string {
	if state == "" {
		return ""
	}
	return filepath.Join(state, "heapdumps")
}

// longestDump bounds how long a JVM is believed to write a dump that nobody waits
// for any more.
const longestDump = time.Hour

// heapDump has the JVM write its heap into a file that is not there yet. A JVM
// cannot be kept from what it has begun: it goes on where nobody waits any more, and
// until it is done it is not asked again.
func (j *jvmTools) heapDump(ctx context.Context, d *heapDump) (io.ReadCloser, error) {
	if d.want.GZ {
		if err := d.compresses(ctx); err != nil {
			return nil, err
		}
	}
	file, err := j.dumpFile(d)
	if err != nil {
		return nil, err
	}
	if err := d.checkRoom(ctx, filepath.Dir(file)); err != nil {
		return nil, err
	}
	if !j.begin(d.p.Pid(), file) {
		return nil, refusal(http.StatusConflict, notNow, "it answers when that is done", "the JVM of %s writes another heap dump", d.service)
	}
	done := make(chan error, 1)
	go func() { // ends with the dump, with the JVM, or with its time limit
		ctx, cancel := context.WithTimeout(context.Background(), longestDump)
		defer cancel()
		err := d.write(ctx, file)
		j.end(d.p.Pid()) // whoever has the answer may ask for the next
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, refusal(http.StatusGatewayTimeout, timedOut, "ls -l "+file+" shows how far it is; --timeout waits longer",
			"the heap dump of %s is not done after %v, and the JVM goes on with it", d.service, d.want.Timeout)
	}
	info, err := os.Lstat(file)
	if err != nil {
		return nil, fmt.Errorf("cannot find the heap dump that the JVM says it has written: %w", err)
	}
	return io.NopCloser(strings.NewReader(fmt.Sprintf("%s: %d bytes\n", file, info.Size()))), nil
}

func (j *jvmTools) begin(pid int, file string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dumps[pid] != "" {
		return false
	}
	j.dumps[pid] = file
	return true
}

func (j *jvmTools) end(pid int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.dumps, pid)
}

// firstToCompress is the feature release from which on a JVM compresses its dumps;
// older ones take no notice of the wish.
const firstToCompress = 15

// compresses says whether the JVM can.
func (d *heapDump) compresses(ctx context.Context) error {
	text, err := d.at.Command(ctx, "jcmd", "VM.version")
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		if version, ok := strings.CutPrefix(line, "JDK "); ok {
			if major := hotspot.ParseMajor(strings.TrimSpace(version)); major > 0 && major < firstToCompress {
				return refusal(http.StatusUnprocessableEntity, "not-supported", "leave --gz out, and compress the file afterwards",
					"the JVM of %s is a Java %d, and compresses heap dumps from %d on", d.service, major, firstToCompress)
			}
		}
	}
	return nil
}

// dumpFile is the path of the dump, where nothing is yet.
func (j *jvmTools) dumpFile(d *heapDump) (string, error) {
	file := filepath.Clean(d.want.File)
	if d.want.File == "" {
		if j.folder == "" {
			return "", refusal(http.StatusUnprocessableEntity, "not-supported", "stoker jvm heapdump "+d.service+" FILE", "stoker has no folder to keep heap dumps in")
		}
		if err := makeDumpFolder(j.folder); err != nil {
			return "", refusal(http.StatusInsufficientStorage, noRoom, "stoker jvm heapdump "+d.service+" FILE writes to another place", "cannot make the folder for heap dumps: %v", err)
		}
		file = filepath.Join(j.folder, d.service+"-"+time.Now().UTC().Format("20060102T150405.000Z")+".hprof")
		if d.want.GZ {
			file += ".gz"
		}
	}
	folder := false
	err := asUserOf(d.p)(func() error {
		info, err := os.Lstat(file)
		folder = err == nil && info.IsDir()
		return err
	})
	switch {
	case folder:
		return "", refusal(http.StatusConflict, exists, "name a file in it that is not there yet", "%s is a folder", file)
	case err == nil:
		return "", refusal(http.StatusConflict, exists, "name another file, or remove this one", "%s exists, and is not overwritten", file)
	case !errors.Is(err, fs.ErrNotExist):
		return "", refusal(http.StatusInsufficientStorage, noRoom, "name a file in a folder that the service's user may write", "cannot write %s: %v", file, err)
	}
	return file, nil
}

// makeDumpFolder makes the folder, in which every service's user may put a file and
// take away none but his own, and lets him pass through what is above it.
func makeDumpFolder(dir string) error {
	if os.Geteuid() != 0 {
		return os.MkdirAll(dir, 0o700)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0) // the folder itself, whatever takes its name
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || st.Uid != 0 {
		return fmt.Errorf("%s is not a folder of root's", dir)
	}
	if above, err := os.Stat(filepath.Dir(dir)); err == nil && above.Mode()&0o011 != 0o011 {
		if err := os.Chmod(filepath.Dir(dir), above.Mode().Perm()|0o111); err != nil {
			return err
		}
	}
	return f.Chmod(0o777 | os.ModeSticky)
}

// checkRoom refuses a dump that may not fit: it is about as large as what is used
// of the heap.
func (d *heapDump) checkRoom(ctx context.Context, dir string) error {
	if d.want.Force {
		return nil
	}
	used, err := usedHeap(ctx, d.at)
	if err != nil {
		return err
	}
	var fsInfo unix.Statfs_t
	if err := asUserOf(d.p)(func() error { return unix.Statfs(dir, &fsInfo) }); err != nil {
		return refusal(http.StatusInsufficientStorage, noRoom, "name a file in a folder that the service's user may write", "cannot write to %s: %v", dir, err)
	}
	if fsInfo.Type == unix.TMPFS_MAGIC {
		return refusal(http.StatusInsufficientStorage, noRoom, "name a file on a disk or a volume; --force writes it all the same",
			"%s is in memory (tmpfs): a heap dump there counts as memory of the container", dir)
	}
	free, need := int64(fsInfo.Bavail)*fsInfo.Bsize, used+used/5 //nolint:unconvert // their types differ by machine
	if free < need {
		return refusal(http.StatusInsufficientStorage, noRoom, "name a file on a larger volume; --force writes it all the same",
			"a heap dump of %s may need %d MiB, and %s has %d MiB free", d.service, need>>20+1, dir, free>>20)
	}
	return nil
}

// usedHeap is what is used of a JVM's heap in bytes; where it does not say, the most
// that may be.
func usedHeap(ctx context.Context, at *hotspot.Attached) (int64, error) {
	if text, err := at.Command(ctx, "jcmd", "GC.heap_info"); err == nil {
		if used, ok := hotspot.UsedHeap(text); ok {
			return used, nil
		}
	} else if status := new(hotspot.StatusError); !errors.As(err, &status) { // Java 8 does not know it
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

// write has the JVM write the dump. What was begun and cannot be ended is removed.
func (d *heapDump) write(ctx context.Context, file string) error {
	objects, level := "-live", ""
	if d.want.All {
		objects = "-all"
	}
	if d.want.GZ {
		level = "1"
	}
	answer, err := d.at.Command(ctx, "dumpheap", file, objects, level)
	why, ok := "", false
	if err == nil {
		why, ok = hotspot.DumpedTo(answer)
	}
	switch {
	case ok:
		return nil
	case err != nil && ctx.Err() != nil: // it may still write
		return err
	case strings.HasPrefix(why, "Unable to create "): // perhaps another's: the JVM does not overwrite
		return refusal(http.StatusInsufficientStorage, noRoom, "name a new file in a folder that the service's user may write", "the JVM of %s says: %s", d.service, why)
	}
	if err != nil { // whatever the words of one that ends
		select {
		case <-d.p.Exited():
			err = errors.New("it ended")
		case <-time.After(endTime):
		}
	}
	left := ""
	if _, statErr := os.Lstat(file); statErr == nil {
		left = "; the part that was written is removed"
		if err := os.Remove(file); err != nil {
			left = "; a part is left: " + err.Error()
		}
	}
	if err != nil {
		return refusal(http.StatusInternalServerError, "failed", "stoker status "+d.service+" tells whether it lives", "the JVM of %s did not end the heap dump: %v%s", d.service, err, left)
	}
	return refusal(http.StatusInsufficientStorage, noRoom, "name a file on a larger volume", "the JVM of %s says: %s%s", d.service, why, left)
}
