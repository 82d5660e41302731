// Package statefile stores stoker's state in files that outlive the container. Writes are atomic, reads verify a checksum, and a
// damaged file is kept as a backup.
package statefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// File is a state file.
type File struct {
	Path string
	Kind string // identifies the type of state
	Max  int64  // bytes
}

// DamagedError means that a state file exists but is unusable, so its state is unknown.
type DamagedError struct {
	Path string
	Why  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the state file %s is damaged: %v", e.Path, e.Why)
}

func (e *DamagedError) Unwrap() error { return e.Why }

// Encode returns the content of a state file:
//
//	{"stoker":"KIND","sha256":"CHECKSUM","data":DATA}
//
// It is valid JSON, and there is exactly one encoding of a state.
func Encode(kind string, v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return assemble(kind, data), nil
}

// assemble builds the content.
func assemble(kind string, data []byte) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s", kind, data))
	return fmt.Appendf(nil, `{"stoker":%q,"sha256":"%s","data":%s}`+"\n", kind, hex.EncodeToString(sum[:]), data)
}

// Decode is the inverse of Encode. Any change of the content is an error.
func Decode(kind string, content []byte, to any) error {
	const tail = "}\n"
	head := len(assemble(kind, nil)) - len(tail)
	if len(content) < head+len(tail) {
		return errors.New("it is too short")
	}
	data := content[head : len(content)-len(tail)]
	if !bytes.Equal(content, assemble(kind, data)) {
		return errors.New("its checksum is wrong")
	}
	return json.Unmarshal(data, to)
}

// Read reads the file. A missing file is fs.ErrNotExist.
func (f File) Read(to any) error {
	file, err := untrusted.Open(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fs.ErrNotExist
	case errors.Is(err, untrusted.ErrNotRegular), errors.Is(err, untrusted.ErrLink):
		return &DamagedError{f.Path, err}
	case err != nil:
		return fmt.Errorf("cannot read the state file %s: %w", f.Path, err)
	}
	defer file.Close()
	if err := CheckOwner(file); err != nil {
		return &DamagedError{f.Path, fmt.Errorf("others could have written it: %w", err)}
	}
	content, err := untrusted.ReadAll(file, f.Max)
	switch {
	case errors.Is(err, untrusted.ErrTooLarge):
		return &DamagedError{f.Path, err}
	case err != nil:
		return fmt.Errorf("cannot read the state file %s: %w", f.Path, err)
	}
	if err := Decode(f.Kind, content, to); err != nil {
		return &DamagedError{f.Path, err}
	}
	return nil
}

// CheckOwner rejects a file that other users could have written. If stoker is not root, a group-writable file passes: Kubernetes'
// fsGroup makes all files of a volume group-writable, and the group is that of the pod.
func CheckOwner(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if us := os.Geteuid(); us != 0 && ok && int(st.Uid) == us && info.Mode().Perm()&0o002 == 0 {
		return nil
	}
	return trust.File(file, os.Geteuid())
}

// Write replaces the file and syncs it to disk. A damaged old file is kept as PATH.bad, and the previous one as PATH.bad.1. The folder
// must exist.
func (f File) Write(v any) (err error) {
	content, err := Encode(f.Kind, v)
	switch {
	case err != nil:
		return err
	case int64(len(content)) > f.Max:
		return fmt.Errorf("cannot write the state file %s: %w: more than %d bytes", f.Path, untrusted.ErrTooLarge, f.Max)
	}
	dir := filepath.Dir(f.Path)
	file, err := os.CreateTemp(dir, ".new-*") // mode 0600: it may hold secrets
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // a leftover is harmless
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", file.Name(), untrusted.Cause(err))
	}
	if before := f.Read(new(json.RawMessage)); before == nil || errors.Is(before, fs.ErrNotExist) {
		err = os.Rename(file.Name(), f.Path)
	} else {
		err = replaceDamaged(file.Name(), f.Path)
	}
	if err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// replaceDamaged replaces a damaged file by a rename exchange, so that there is always a file: a missing one would mean that no state
// was ever written.
func replaceDamaged(from, path string) error {
	bad := path + ".bad"
	if err := os.Rename(bad, bad+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	if err == nil {
		return os.Rename(from, bad)
	}
	if err := os.Rename(path, bad); err != nil { // the file system does not support the exchange
		return err
	}
	return os.Rename(from, path)
}
