// Package inplace reads and edits small text files such as resolv.conf, which in a container are bind mounts: they cannot be replaced.
package inplace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// Max bounds the files that are read and written, in bytes.
const Max = 1 << 20

// openText opens a regular file, through links. Without O_NONBLOCK the open of a FIFO would wait.
func openText(path string, flags int) (*os.File, error) {
	file, err := os.OpenFile(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0o644)
	if err != nil {
		return nil, untrusted.Cause(err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = untrusted.ErrNotRegular
	}
	if err != nil {
		file.Close()
		return nil, untrusted.Cause(err)
	}
	return file, nil
}

// Read returns the content of a regular file of at most 1 MiB. A missing file is empty.
func Read(path string) (string, error) {
	file, err := openText(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer file.Close()
	data, err := untrusted.ReadAll(file, Max)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", path, err)
	}
	return string(data), nil
}

// Edit replaces the content of a regular file by what edit makes of it. The file stays the same inode, because the resolv.conf and
// hosts of a container are bind mounts, which cannot be replaced by rename(2). A missing file is created. After an error the file has its
// old content, unless the error says otherwise.
func Edit(path string, edit func(now string) string) error {
	file, err := openText(path, os.O_RDWR)
	created := errors.Is(err, fs.ErrNotExist)
	if created {
		file, err = openText(path, os.O_RDWR|os.O_CREATE)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer file.Close()
	if created {
		if err := file.Chmod(0o644); err != nil { // whatever the umask: every user resolves names
			return fmt.Errorf("cannot make %s readable for all users: %w", path, untrusted.Cause(err))
		}
	}
	data, err := untrusted.ReadAll(file, Max)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	before := string(data)
	content := edit(before)
	if before == content {
		return nil
	}
	if err := overwrite(file, content); err != nil {
		err = fmt.Errorf("cannot write %s: %w", path, untrusted.Cause(err))
		if again := overwrite(file, before); again != nil {
			err = fmt.Errorf("%w; nor can its old content be restored: %w", err, untrusted.Cause(again))
		}
		return err
	}
	return nil
}

// overwrite writes first and truncates then, so that a reader never finds an empty file. Until then empty lines are in the place of the
// rest of a longer content: they mean nothing to a reader, nor if the process is killed.
func overwrite(file *os.File, content string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	padding := strings.Repeat("\n", max(0, int(info.Size())-len(content)))
	if _, err := file.WriteAt([]byte(content+padding), 0); err != nil {
		return err
	}
	return file.Truncate(int64(len(content)))
}
