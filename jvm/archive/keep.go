package archive

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/internal/wholefile"
	"golang.org/x/sys/unix"
)

// keepNewest is how many archives of a service are kept: of the present image, of the one before, and one for a trial.
const keepNewest = 3

// readable is the mode of archives and descriptions: the service's user reads the first, a stoker without root the second.
const readable = 0o644

// Keep copies file, which a JVM of user uid has written, into the folder dir as the archive of a service, and removes all but the 3
// newest of the service. dir is created. file stays.
func Keep(dir, service string, id Identity, file string, uid int, t Times) error {
	if err := wholefile.MakeFolder(dir, 0o755); err != nil {
		return fmt.Errorf("cannot keep the archive: %w", err)
	}
	from, err := openWritten(file, uid)
	if err != nil {
		return fmt.Errorf("cannot keep the archive: %w", err)
	}
	defer from.Close()
	desc := description(dir, service, id.Key())
	// Until the new description is there, no file is taken for the one that the old one describes.
	if err := os.Remove(desc.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot replace the archive: %w", err)
	}
	d := Description{Identity: id, Made: time.Now().UTC(), Times: t}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	err = wholefile.Write(strings.TrimSuffix(desc.Path, ".json")+id.suffix(), readable, func(w io.Writer) (err error) {
		d.Size, err = io.Copy(io.MultiWriter(w, sum), from)
		return err
	})
	if err == nil && d.Size == 0 {
		err = errors.New("the JVM has written nothing")
	}
	if err == nil {
		d.CRC = sum.Sum32()
		err = desc.Write(d)
	}
	if err == nil {
		err = os.Chmod(desc.Path, readable)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the archive: %w", err)
	}
	prune(dir, service)
	return nil
}

// openWritten opens a file for a copy that everybody may read. A file of another user is refused, and a hard link, which the service may
// have made to one.
func openWritten(file string, uid int) (*os.File, error) {
	f, err := untrusted.Open(file)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && (int(st.Uid) != uid || st.Nlink != 1) {
		err = fmt.Errorf("%s is of user %d and has %d names, and a file of user %d with one is wanted", file, st.Uid, st.Nlink, uid)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// prune removes all but the newest archives of a service, and files without a description. What cannot be removed stays.
func prune(dir, service string) {
	all, made := keys(dir, service), map[string]time.Time{}
	for _, key := range all {
		var d Description
		_ = description(dir, service, key).Read(&d) // one that cannot be read is the oldest
		made[key] = d.Made
	}
	slices.SortFunc(all, func(a, b string) int { return made[b].Compare(made[a]) })
	all = all[:min(len(all), keepNewest)]
	entries, _ := untrusted.ReadDir(dir, maxNames)
	for _, e := range entries {
		key, ok := keyOf(e.Name(), service)
		if !ok || slices.Contains(all, key) {
			continue
		}
		info, err := e.Info()
		if err == nil && (strings.HasSuffix(e.Name(), ".json") || time.Since(info.ModTime()) > time.Hour) { // another process may be writing it
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
